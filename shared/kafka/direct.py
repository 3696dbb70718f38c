"""Publishes messages that no service has stored: requests and reviews at a door, and replayed messages."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from shared.kafka.connection import connection, topic_name
from shared.settings import Settings

Headers = Sequence[tuple[str, bytes]]


class DirectProducer:
    """Opened when it is first used. Its methods raise KafkaError or OSError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> "asyncio.Future[Any]":
        """Sends in the order of the calls. The returned future is done when every broker in sync has the message."""
        async with self._opening:
            client = self._client = self._client or await self._open()
        sent: asyncio.Future[Any] = await client.send(topic_name(self._settings, topic), value, key=key, headers=list(headers))
        return sent

    async def close(self) -> None:
        """Waits until all sent messages are acknowledged."""
        if self._client is not None:
            await self._client.stop()

    async def _open(self) -> AIOKafkaProducer:
        options = {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 2,
            "max_request_size": 8 << 20,
            "max_batch_size": 1 << 18,
        }
        client = AIOKafkaProducer(**connection(self._settings), **options)
        await client.start()
        return client
