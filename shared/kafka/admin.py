"""The topics as the table wants them: what is missing or different, and making it so. Doing it twice changes nothing.

Auto-creation by a broker is never triggered here. Names in a Change are the broker's, with the prefix.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from contracts.catalog import Topic
from shared.backoff import Backoff
from shared.kafka.connection import connection, topic_name
from shared.settings import Settings

log = logging.getLogger(__name__)

LOG_APPEND_TIME = "LogAppendTime"
_OF_THE_TOPIC = 1  # source of a value that was set on the topic itself


class DoorError(Exception):
    """A door does not stamp the broker's time, or cannot be asked whether it does: what comes in has no time to trust."""


@dataclass(frozen=True)
class Change:
    """One thing to do, and after `apply` whether it was done: `error` is empty or says what the brokers answered."""

    topic: str
    kind: Literal["create", "configure", "partitions", "ask"]
    detail: str  # for people: "retention.ms 604800000 → -1"
    partitions: int = 0
    replication: int = 0
    configs: Mapping[str, str] | None = None  # all that is set on the topic afterwards
    error: str = ""

    def __str__(self) -> str:
        return f"{self.topic}: {self.kind} {self.detail}" + (f" (refused: {self.error})" if self.error else "")


@dataclass(frozen=True)
class _Found:
    partitions: int
    replication: int
    values: Mapping[str, str] | None  # None: may not be asked
    set_here: Mapping[str, str]
    refusal: str = ""


async def plan(settings: Settings) -> list[Change]:
    """What differs from the table, in its order; what this principal may not do has its `error` already.

    Raises KafkaError or OSError when the brokers are away.
    """
    async with _admin(settings) as admin:
        return await _plan(admin, settings)


async def apply(settings: Settings, changes: Sequence[Change] | None = None, *, dry_run: bool = False) -> list[Change]:
    """Does these changes (None: what `plan` finds) and waits until new topics can be used; each says how it went.

    What is refused has its `error` and stops nothing else. `dry_run` does nothing and returns them. Raises as `plan`.
    """
    async with _admin(settings) as admin:
        planned = await _plan(admin, settings) if changes is None else list(changes)
        if dry_run:
            return planned
        done = [change if change.error else await _do(admin, change) for change in planned]
        with suppress(TimeoutError):
            await asyncio.wait_for(_seen(admin, settings, {change.topic for change in done if not change.error}), 30)
        return done


async def check_doors(settings: Settings) -> None:
    """Returns when every door is there and stamps the broker's time. Waits for brokers and topics that are not there yet.

    Raises DoorError, which says what to do, when a door does not or may not be asked.
    """
    doors = [topic_name(settings, topic.name) for topic in settings.topics.all if topic.door]
    backoff, told = Backoff(), ""
    while True:
        try:
            async with _admin(settings) as admin:
                found = await _find(admin, doors)
            missing = [door for door in doors if door not in found]
            trouble = f"there is no topic {', '.join(missing)}: create it with `hansard topics`" if missing else ""
        except (KafkaError, OSError, TimeoutError) as away:
            trouble = f"Kafka is away: {away!r}"
        if not trouble:
            _refuse(found)
            return
        if trouble != told:
            log.warning("waiting: %s", trouble)
            told = trouble
        await backoff.wait()


def _refuse(doors: Mapping[str, _Found]) -> None:
    wrong = []
    for door, found in doors.items():
        if found.values is None:
            wrong.append(
                f"Topic {door}: whether it stamps the broker's time cannot be asked ({found.refusal}). "
                "Grant DescribeConfigs on it."
            )
        elif (kind := found.values.get("message.timestamp.type")) != LOG_APPEND_TIME:
            wrong.append(
                f"Topic {door} has message.timestamp.type={kind}, and a door needs {LOG_APPEND_TIME}: senders could "
                "choose the time on the record. Put it right with `hansard topics`."
            )
    if wrong:
        raise DoorError("\n".join(wrong))


def configs(topic: Topic, settings: Settings, replication: int) -> dict[str, str]:
    """What is set on this topic."""
    wanted = {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(max(1 << 20, settings.max_message_bytes + (1 << 17))),
        "min.insync.replicas": "2" if replication >= 3 else "1",
    }
    if topic.recorded:
        wanted["retention.bytes"] = "-1"
    else:
        wanted["segment.ms"] = str(topic.retention_ms)  # only what is in a segment that is closed is ever deleted
    if topic.door:
        wanted["message.timestamp.type"] = LOG_APPEND_TIME
        # The broker unpacks what senders compress: no codec that we lack, no bomb that inflates in our memory
        wanted["compression.type"] = "uncompressed"
    return wanted


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**connection(settings), client_id="hansard.topics")
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _plan(admin: AIOKafkaAdminClient, settings: Settings) -> list[Change]:
    brokers = len((await admin.describe_cluster())["brokers"])
    replication = settings.replication or min(3, brokers)
    table = {topic_name(settings, topic.name): topic for topic in settings.topics.all}
    found = await _find(admin, list(table))
    partitions = _partitions(settings, found.values())
    changes: list[Change] = []
    for name, topic in table.items():
        if name in found:
            changes += _differences(name, found[name], settings, topic, partitions)
        else:
            changes.append(
                Change(
                    name,
                    "create",
                    f"{partitions} partitions, {replication} replicas",
                    partitions,
                    replication,
                    configs(topic, settings, replication),
                )
            )
    return await _allowed(admin, changes)


def _partitions(settings: Settings, found: Iterable[_Found]) -> int:
    """As many on each topic: what was asked for, else what the largest of those has that are there."""
    if "partitions" in settings.model_fields_set:
        return settings.partitions
    return max((each.partitions for each in found), default=settings.partitions)


def _differences(name: str, found: _Found, settings: Settings, topic: Topic, partitions: int) -> Iterable[Change]:
    if found.partitions < partitions:
        yield Change(name, "partitions", f"{found.partitions} → {partitions}", partitions)
    if found.values is None:
        yield Change(name, "ask", "for its configuration", error=found.refusal)
        return
    values = found.values
    wanted = configs(topic, settings, found.replication)
    if int(values.get("max.message.bytes") or 0) > int(wanted["max.message.bytes"]):
        del wanted["max.message.bytes"]  # more is no harm, and may be another user's wish
    other = {key: value for key, value in wanted.items() if values.get(key) != value}
    if other:
        detail = ", ".join(f"{key} {values.get(key)} → {value}" for key, value in other.items())
        yield Change(name, "configure", detail, configs={**found.set_here, **wanted})


async def _find(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, _Found]:
    # All topics are asked for: a request that names one that is missing may create it
    listed = {each["topic"]: each["partitions"] for each in await admin.describe_topics() if not each["error_code"]}
    there = [name for name in names if name in listed]
    if not there:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
    found = {}
    for answer in await admin.describe_configs(asked):
        for code, message, _, name, entries in answer.resources:
            parts = listed[name]
            values = None if code else {entry[0]: entry[1] for entry in entries}
            found[name] = _Found(
                len(parts),
                min(len(part["replicas"]) for part in parts),
                values,
                {entry[0]: entry[1] for entry in entries if entry[3] == _OF_THE_TOPIC},
                message or for_code(code).__name__,
            )
    return found


async def _allowed(admin: AIOKafkaAdminClient, changes: Sequence[Change]) -> list[Change]:
    """The same, with an error where the brokers say that a topic could not be created."""
    refused = await _create(admin, [change for change in changes if change.kind == "create"], validate_only=True)
    return [replace(change, error=refused.get(change.topic, change.error)) for change in changes]


async def _create(admin: AIOKafkaAdminClient, changes: Sequence[Change], validate_only: bool) -> dict[str, str]:
    """What was refused, by topic, and why."""
    if not changes:
        return {}
    answer = await admin.create_topics(
        [NewTopic(each.topic, each.partitions, each.replication, topic_configs=dict(each.configs or {})) for each in changes],
        validate_only=validate_only,
    )
    return {
        topic: message or for_code(code).__name__
        for topic, code, message in answer.topic_errors
        if code and for_code(code) is not TopicAlreadyExistsError
    }


async def _do(admin: AIOKafkaAdminClient, change: Change) -> Change:
    try:
        if change.kind == "create":
            error = (await _create(admin, [change], validate_only=False)).get(change.topic, "")
        elif change.kind == "partitions":
            await admin.create_partitions({change.topic: NewPartitions(change.partitions)})
            error = ""
        else:
            error = await _configure(admin, change)
    except KafkaError as refused:
        error = str(refused) or type(refused).__name__
    return replace(change, error=error)


async def _configure(admin: AIOKafkaAdminClient, change: Change) -> str:
    # aiokafka has only the request that forgets what it does not name: so `configs` holds what was set before too
    resource = ConfigResource(ConfigResourceType.TOPIC, change.topic, configs=dict(change.configs or {}))
    for answer in await admin.alter_configs([resource]):
        for code, message, *_ in answer.resources:
            if code:
                return str(message or for_code(code).__name__)
    return ""


async def _seen(admin: AIOKafkaAdminClient, settings: Settings, names: Set[str]) -> None:
    """Until the brokers have all that was changed on these topics, and a leader for every partition."""
    while names:
        leaderless = {
            topic["topic"] for topic in await admin.describe_topics() if any(part["leader"] < 0 for part in topic["partitions"])
        }
        changes = {change.topic for change in await _plan(admin, settings) if not change.error}
        if not names & (leaderless | changes):
            return
        await asyncio.sleep(0.05)
