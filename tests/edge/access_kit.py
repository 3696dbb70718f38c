"""Tries what a principal may do at a broker with access rules: one real request for every cell of a table."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaClient, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest

from infra.cli.access import with_login
from infra.servers import principals
from shared.kafka.connection import connection
from shared.settings import Settings

REFUSED = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)
OPERATIONS = ("Read", "Write", "Describe", "DescribeConfigs", "Create", "Delete", "Alter", "AlterConfigs")


def as_principal(settings: Settings, home: Path, principal: str) -> Settings:
    """The settings with this principal's login at the Kafka of this home."""
    return with_login(settings, principals.login(home, principal))


def allowed(code: int) -> bool:
    """Whether an error code of the protocol is another refusal than one for lack of rights. Other failures are no answer."""
    return not issubclass(for_code(code), REFUSED)


class Attempts:
    """The requests of one principal. Each returns, for each of these topics, whether the brokers let it."""

    def __init__(self, settings: Settings, client: AIOKafkaClient, admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
        self._settings, self._client, self._admin, self._names = settings, client, admin, names

    async def every(self) -> dict[tuple[str, str], bool]:
        """Every cell: (operation, topic's name at the broker)."""
        tries = (self.read, self.write, self.describe, self.describe_configs, self.create, self.delete, self.alter)
        found = [await attempt() for attempt in (*tries, self.alter_configs)]
        return {(operation, name): may for operation, row in zip(OPERATIONS, found, strict=True) for name, may in row.items()}

    async def read(self) -> dict[str, bool]:
        request = FetchRequest(10, 0, 1 << 20, 0, [(name, [(0, 0, 1 << 20)]) for name in self._names])
        answer = await self._send(request)
        return {name: allowed(partitions[0][1]) for name, partitions in answer.topics}

    async def write(self) -> dict[str, bool]:
        producer = AIOKafkaProducer(**connection(self._settings), acks="all")
        await producer.start()
        found = {}
        for name in self._names:
            try:
                await producer.send_and_wait(name, b"tried", partition=0)
                found[name] = True
            except TopicAuthorizationFailedError:
                found[name] = False
        await producer.stop()
        return found

    async def describe(self) -> dict[str, bool]:
        answer = await self._send(MetadataRequest(list(self._names), allow_auto_topic_creation=False))
        return {topic[1]: allowed(topic[0]) for topic in answer.topics}

    async def describe_configs(self) -> dict[str, bool]:
        answers = await self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in self._names])
        return {name: allowed(code) for answer in answers for code, _, _, name, _ in answer.resources}

    async def create(self) -> dict[str, bool]:
        answer = await self._admin.create_topics([NewTopic(name, 1, 1) for name in self._names])
        return {name: allowed(code) for name, code, *_ in answer.topic_errors}

    async def delete(self) -> dict[str, bool]:
        answer = await self._admin.delete_topics(list(self._names))
        return {name: allowed(code) for name, code, *_ in answer.topic_error_codes}

    async def alter(self) -> dict[str, bool]:
        found = {}
        for name in self._names:  # one by one: the first refusal ends the request
            try:
                await self._admin.create_partitions({name: NewPartitions(64)})
                found[name] = True
            except TopicAuthorizationFailedError:
                found[name] = False
        return found

    async def alter_configs(self) -> dict[str, bool]:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "1"}) for name in self._names]
        answers = await self._admin.alter_configs(resources)
        return {name: allowed(code) for answer in answers for code, _, _, name in answer.resources}

    async def join(self, groups: Iterable[str]) -> dict[str, bool]:
        """Whether it may be a member of these groups: a heartbeat asks for the right first."""
        found = {}
        for group in groups:
            answer = await self._send(HeartbeatRequest(group, -1, ""))
            found[group] = allowed(answer.error_code)
        return found

    async def see(self, groups: Iterable[str]) -> dict[str, bool]:
        """Whether it may ask about these groups."""
        found = {}
        for group in groups:
            (answer,) = await self._admin.describe_consumer_groups([group], self._client.get_random_node())
            ((code, *_),) = answer.groups
            found[group] = allowed(code)
        return found

    async def _send(self, request: Any) -> Any:
        return await self._client.send(self._client.get_random_node(), request)


@asynccontextmanager
async def attempts(settings: Settings, names: Sequence[str]) -> AsyncIterator[Attempts]:
    """Connected with the login of these settings."""
    client, admin = AIOKafkaClient(**connection(settings)), AIOKafkaAdminClient(**connection(settings))
    try:
        await client.bootstrap()
        await admin.start()
        yield Attempts(settings, client, admin, names)
    finally:
        await admin.close()
        await client.close()


__all__ = ["OPERATIONS", "Attempts", "KafkaError", "allowed", "as_principal", "attempts"]
