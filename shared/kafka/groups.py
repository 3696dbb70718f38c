"""Consumer groups seen from outside: their state, their lag, and partitions that none of their members reads."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, for_code

from shared.kafka.connection import connection, group_name
from shared.kafka.internals import request_rejoin
from shared.settings import Settings
from shared.tasks import within

log = logging.getLogger(__name__)

COORDINATOR_TRIES = 40  # half a second apart
REJOIN_EVERY = 20.0  # seconds between two requests for a rebalance: a leader may take a while to learn of new partitions


async def describe_group(connection: Mapping[str, Any], group: str) -> tuple[str, set[TopicPartition]]:
    """The group's state ("Stable", "Empty", …) and the partitions assigned to its members. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    ((code, _, state, _, _, members, *_),) = answer.groups
    if code:
        raise for_code(code)(group)
    assignments = [ConsumerProtocolMemberAssignment.decode(member[-1]) for member in members if member[-1]]
    return state, {partition for assignment in assignments for partition in assignment.partitions()}


async def lag(settings: Settings, service: str) -> int:
    """The number of messages that the group of this service has still to process. Raises KafkaError or OSError."""
    options = connection(settings) | {"request_timeout_ms": 3000}
    admin = AIOKafkaAdminClient(**options)
    consumer = AIOKafkaConsumer(**options)
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(group_name(settings, service))
        if not committed:  # aiokafka raises CancelledError if a consumer is stopped right after its start
            return 0
        await consumer.start()
        ends = await consumer.end_offsets(list(committed))
        return sum(max(ends[partition] - max(known.offset, 0), 0) for partition, known in committed.items())
    finally:
        await consumer.stop()
        await admin.close()


async def committed_offsets(settings: Settings, services: Iterable[str]) -> dict[tuple[str, int], int]:
    """By topic (without the prefix) and partition, the largest offset that the group of one of these services has committed.

    Raises KafkaError or OSError.
    """
    found: dict[tuple[str, int], int] = {}
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        for service in sorted(services):
            for partition, known in (await _offsets(admin, group_name(settings, service))).items():
                place = partition.topic.removeprefix(settings.topic_prefix), partition.partition
                found[place] = max(known.offset, found.get(place, 0))
    finally:
        await admin.close()
    return found


async def _offsets(admin: AIOKafkaAdminClient, group: str) -> Mapping[TopicPartition, Any]:
    for _ in range(COORDINATOR_TRIES):
        with suppress(GroupCoordinatorNotAvailableError):  # brokers that no group has ever asked make its topic first
            found: Mapping[TopicPartition, Any] = await admin.list_consumer_group_offsets(group)
            return found
        await asyncio.sleep(0.5)
    raise GroupCoordinatorNotAvailableError(group)


class UnreadPartitions:
    """Asks for a rebalance if the group is stable and some partition of its topics has no reader.

    Danger: without KIP-814 (aiokafka) a returning static leader is not told that it leads. Then no member notices partitions
    that are added.
    """

    def __init__(self, connection: Mapping[str, Any], group: str, service: str) -> None:
        self._connection, self._group, self._service = connection, group, service
        self._checked: Mapping[str, int] = {}  # partitions by topic at the last complete check
        self._asked = float("-inf")

    def reset(self) -> None:
        """Makes `check` look at the group again, after a rebalance."""
        self._checked = {}

    async def check(self, consumer: AIOKafkaConsumer, sizes: Mapping[str, int]) -> None:
        """Looks at the group if these sizes are new. `sizes`: the number of partitions of each topic."""
        if sizes != self._checked and await self._rejoin_where_unread(consumer, sizes):
            self._checked = sizes

    async def _rejoin_where_unread(self, consumer: AIOKafkaConsumer, sizes: Mapping[str, int]) -> bool:
        """Whether no further look is needed for these sizes."""
        try:
            state, read = await within(5, describe_group(self._connection, self._group))
        except (KafkaError, TimeoutError):
            return False
        if state != "Stable":
            return False
        unread = {TopicPartition(topic, n) for topic, size in sizes.items() for n in range(size)} - read
        if unread:
            if time.monotonic() - self._asked < REJOIN_EVERY:
                return False
            self._asked = time.monotonic()
            log.warning("%s: no member of the group reads %s, a rebalance is requested", self._service, sorted(unread))
            request_rejoin(consumer)
        return True
