"""Whether a consumer reaches its brokers: checked every second, and each change logged once."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError, KafkaError

from hansard.refusals import not_allowed
from shared.kafka.groups import UnreadPartitions
from shared.kafka.offsets import Offsets

log = logging.getLogger(__name__)

CHECK_EVERY = 1.0  # seconds
SILENT = 3.0  # seconds without a fetch after which the brokers are asked
ANSWER = 3.0  # seconds that they get to answer
UNASSIGNED = 10.0  # seconds without partitions after which the group counts as unavailable


class HealthCheck:
    """Asks the brokers. On the way it notes the positions of idle partitions and looks for partitions without a reader."""

    def __init__(
        self,
        service: str,
        topics: Sequence[str],
        offsets: Offsets,
        unread: UnreadPartitions,
        assigned: asyncio.Event,
        client: Callable[[], AIOKafkaConsumer | None],
        user: str = "",
    ) -> None:
        self.healthy = False
        self._user = user
        self._service, self._topics = service, topics
        self._offsets, self._unread, self._assigned, self._client = offsets, unread, assigned, client
        self.trouble = ""  # the last failure, as it was logged

    async def run(self) -> None:
        unassigned = 0.0
        while True:
            await asyncio.sleep(CHECK_EVERY)
            unassigned = 0.0 if self._assigned.is_set() else unassigned + CHECK_EVERY
            client = self._client()
            try:
                if self._assigned.is_set() and client is not None:
                    await self._check(client)
                    self._works()
                elif unassigned > UNASSIGNED and self.healthy:
                    raise TimeoutError("the group assigns no partitions")
            except IllegalStateError:
                continue  # a rebalance came in between
            except (KafkaError, TimeoutError) as failed:
                self.failed(failed)

    async def _check(self, client: AIOKafkaConsumer) -> None:
        """Raises KafkaError or TimeoutError if the brokers do not answer. A recent fetch counts as an answer."""
        assigned = self._offsets.assigned
        for partition in assigned:
            if self._offsets.is_idle(partition):
                self._offsets.advance(partition, await asyncio.wait_for(client.position(partition), ANSWER))
        fetched = max((client.last_poll_timestamp(partition) or 0 for partition in assigned), default=0)
        if time.time() * 1000 - fetched > SILENT * 1000:
            await asyncio.wait_for(client.end_offsets([*assigned][:1]) if assigned else client.topics(), ANSWER)
        await self._unread.check(client, {name: len(client.partitions_for_topic(name) or ()) for name in self._topics})

    def failed(self, error: BaseException) -> None:
        self.healthy = False
        if (trouble := not_allowed(error, self._user) or f"{type(error).__name__}: {error}") != self.trouble:
            log.warning("%s cannot consume from Kafka: %s", self._service, trouble)
            self.trouble = trouble

    def _works(self) -> None:
        if not self.healthy:
            log.info("%s consumes from Kafka", self._service)
        self.healthy, self.trouble = True, ""
