"""Publishes messages that are not stored: one may be lost, and nobody waits for it."""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaProducer

from shared.backoff import Backoff
from shared.eventstore.model import StoredMessage
from shared.kafka.connection import client_name, connection, topic_name
from shared.kafka.producer import headers
from shared.settings import Settings
from shared.tasks import end, within

log = logging.getLogger(__name__)

WAITING = 2_000  # messages in the queue; further ones are dropped


class EphemeralProducer:
    """A producer of its own, so that no failure here touches that of stored messages. Opened when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queue: asyncio.Queue[tuple[str, StoredMessage]] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    async def __aenter__(self) -> "EphemeralProducer":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._task is not None:
            await end([self._task])

    def publish_ephemeral(self, topic: str, stored: StoredMessage) -> None:
        """Queues the message, or drops it if too many wait."""
        self._task = self._task or asyncio.create_task(self._run())
        try:
            self._queue.put_nowait((topic_name(self._settings, topic), stored))
        except asyncio.QueueFull:
            self.dropped += 1

    async def _run(self) -> None:
        backoff = Backoff()
        name = client_name(self._settings, "ephemeral")
        while True:
            producer = AIOKafkaProducer(**connection(self._settings), client_id=name, acks=1, linger_ms=0)
            try:
                await producer.start()
                while True:
                    topic, stored = await self._queue.get()
                    key = stored.stream.workflow.encode()
                    sent: Any = await producer.send(topic, stored.data, key=key, headers=headers(stored))
                    sent.add_done_callback(_log_failure)
            except Exception as failed:  # KafkaError, OSError, any error of aiokafka's tasks
                log.info("ephemeral messages are not published: %r", failed)
            finally:
                with suppress(Exception):  # aiokafka waits for ever for undeliverable messages; nobody waits here
                    await within(2, producer.stop())
                await producer.client.close()
            await backoff.wait()


def _log_failure(sent: "asyncio.Future[Any]") -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.debug("an ephemeral message was lost: %r", error)
