"""Makes topics as the catalogue wants them: finds missing and different ones and changes them. Twice changes nothing more.

Nothing here makes a broker create a topic by itself. Names in a Change are the broker's, with the prefix.
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
from hansard.refusals import why_away
from shared.backoff import Backoff
from shared.kafka.connection import connection, topic_name
from shared.settings import Settings
from shared.tasks import within

log = logging.getLogger(__name__)

LOG_APPEND_TIME = "LogAppendTime"
_SET_ON_TOPIC = 1  # config_source of a value that was set on the topic itself


class DoorError(Exception):
    """A door does not stamp the broker's time, or this user may not ask whether it does: senders could choose their time."""


@dataclass(frozen=True)
class Change:
    """One thing to do. After `apply`, `error` is empty or says why the brokers refused it."""

    topic: str
    kind: Literal["create", "configure", "partitions", "ask"]
    detail: str  # for people: "retention.ms 604800000 → -1"
    partitions: int = 0
    replication: int = 0
    configs: Mapping[str, str] | None = None  # every config that is set on the topic afterwards
    error: str = ""

    def __str__(self) -> str:
        return f"{self.topic}: {self.kind} {self.detail}" + (f" (refused: {self.error})" if self.error else "")


@dataclass(frozen=True)
class _Found:
    partitions: int
    replication: int
    configs: Mapping[str, str] | None  # None: this principal may not ask for them
    set_on_topic: Mapping[str, str]  # the configs that are not the broker's defaults
    refusal: str = ""


async def plan(settings: Settings) -> list[Change]:
    """The changes that the catalogue asks for, in its order. A change that this principal may not make has its `error` already.

    Raises KafkaError or OSError if the brokers do not answer.
    """
    async with _admin(settings) as admin:
        return await _plan(admin, settings)


async def apply(settings: Settings, changes: Sequence[Change] | None = None, *, dry_run: bool = False) -> list[Change]:
    """Makes these changes (None: those of `plan`) and waits until new topics can be used. Returns each with its `error`.

    A refused change stops no other. `dry_run` changes nothing and returns the plan. Raises the errors of `plan`.
    """
    async with _admin(settings) as admin:
        planned = await _plan(admin, settings) if changes is None else list(changes)
        if dry_run:
            return planned
        done = [change if change.error else await _do(admin, change) for change in planned]
        with suppress(TimeoutError):
            await within(30, _visible(admin, settings, {change.topic for change in done if not change.error}))
        return done


async def create_topic(settings: Settings, name: str, partitions: int) -> bool:
    """Creates a topic of exactly this name (no prefix), outside the catalogue. False if it exists. Raises KafkaError, OSError."""
    async with _admin(settings) as admin:
        if name in await admin.list_topics():
            return False
        await admin.create_topics([NewTopic(name, partitions, await _replication(admin, settings))])
        return True


async def partition_counts(settings: Settings, topics: Iterable[str]) -> dict[str, int]:
    """The number of partitions of each of these topics (without the prefix) that exists. Raises KafkaError, OSError."""
    async with _admin(settings) as admin:
        listed = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics() if not each["error_code"]}
    return {topic: listed[name] for topic in topics if (name := topic_name(settings, topic)) in listed}


async def check_doors(settings: Settings, services: Iterable[str] = ()) -> None:
    """Returns when every door (of these services, if they are named) exists and stamps the broker's time. Waits for brokers and
    for topics that do not exist yet.

    Raises DoorError, which says what to do, if a door does not stamp it, or if this user may not ask.
    """
    mine = set(services)
    ours = (topic for topic in settings.topics.all if not mine or mine & set(topic.consumers))
    doors = [topic_name(settings, topic.name) for topic in ours if topic.door]
    backoff, logged = Backoff(), ""
    while True:
        try:
            async with _admin(settings) as admin:
                found = await _find(admin, doors)
            missing = [door for door in doors if door not in found]
            here = f"there is no topic {', '.join(missing)}, or {settings.kafka_username or 'this client'} may not use it"
            trouble = f"{here}: `hansard topics` creates it" if missing else ""
        except (KafkaError, OSError, TimeoutError) as failed:
            trouble = f"Kafka does not answer: {await why_away(connection(settings)) or repr(failed)}"
        if not trouble:
            _refuse_other_clocks(found)
            return
        if trouble != logged:
            log.warning("waiting: %s", trouble)
            logged = trouble
        await backoff.wait()


def _refuse_other_clocks(doors: Mapping[str, _Found]) -> None:
    wrong = []
    for door, found in doors.items():
        if found.configs is None:
            wrong.append(
                f"Topic {door}: this user may not ask whether it stamps the broker's time ({found.refusal}). "
                "Grant DescribeConfigs on it."
            )
        elif (kind := found.configs.get("message.timestamp.type")) != LOG_APPEND_TIME:
            wrong.append(
                f"Topic {door} has message.timestamp.type={kind}, and a door needs {LOG_APPEND_TIME}: otherwise senders "
                "choose the recorded time. Correct it with `hansard topics`."
            )
    if wrong:
        raise DoorError("\n".join(wrong))


def configs(topic: Topic, settings: Settings, replication: int) -> dict[str, str]:
    """The configs that this topic needs."""
    wanted = {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(max(1 << 20, settings.max_message_bytes + (1 << 17))),
        "min.insync.replicas": "2" if replication >= 3 else "1",
    }
    if topic.recorded:
        wanted["retention.bytes"] = "-1"
    else:
        wanted["segment.ms"] = str(topic.retention_ms)  # Kafka deletes closed segments only
    # The broker decompresses what senders compress, and refuses what is too large then: no codec is missing here, and nothing
    # inflates in this process's memory. Ours compress nothing.
    wanted["compression.type"] = "uncompressed"
    if topic.door:
        wanted["message.timestamp.type"] = LOG_APPEND_TIME
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
    replication = await _replication(admin, settings)
    catalogue = {topic_name(settings, topic.name): topic for topic in settings.topics.all}
    found = await _find(admin, list(catalogue))
    partitions = _partitions(settings, found.values())
    changes: list[Change] = []
    for name, topic in catalogue.items():
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
    return await _validated(admin, changes)


async def _replication(admin: AIOKafkaAdminClient, settings: Settings) -> int:
    return settings.replication or min(3, len((await admin.describe_cluster())["brokers"]))


def _partitions(settings: Settings, found: Iterable[_Found]) -> int:
    """The number for all topics: the setting, else that of the largest existing topic."""
    if "partitions" in settings.model_fields_set:
        return settings.partitions
    return max((each.partitions for each in found), default=settings.partitions)


def _differences(name: str, found: _Found, settings: Settings, topic: Topic, partitions: int) -> Iterable[Change]:
    if found.partitions < partitions:
        yield Change(name, "partitions", f"{found.partitions} → {partitions}", partitions)
    if found.configs is None:
        yield Change(name, "ask", "for its configuration", error=found.refusal)
        return
    wanted = configs(topic, settings, found.replication)
    if int(found.configs.get("max.message.bytes") or 0) > int(wanted["max.message.bytes"]):
        del wanted["max.message.bytes"]  # a larger limit does no harm, and another user may need it
    different = {key: value for key, value in wanted.items() if found.configs.get(key) != value}
    if different:
        detail = ", ".join(f"{key} {found.configs.get(key)} → {value}" for key, value in different.items())
        yield Change(name, "configure", detail, configs={**found.set_on_topic, **wanted})


async def _find(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, _Found]:
    # Asks for all topics: a request that names a missing topic may create it
    listed = {each["topic"]: each["partitions"] for each in await admin.describe_topics() if not each["error_code"]}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names if name in listed]
    if not resources:
        return {}
    found = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            partitions = listed[name]
            found[name] = _Found(
                len(partitions),
                min(len(partition["replicas"]) for partition in partitions),
                None if code else {key: value for key, value, *_ in entries},
                {key: value for key, value, _, source, *_ in entries if source == _SET_ON_TOPIC},
                message or for_code(code).__name__,
            )
    return found


async def _validated(admin: AIOKafkaAdminClient, changes: Sequence[Change]) -> list[Change]:
    """The same changes, with an error if the brokers say that they would not create the topic."""
    refused = await _create(admin, [change for change in changes if change.kind == "create"], validate_only=True)
    return [replace(change, error=refused.get(change.topic, change.error)) for change in changes]


async def _create(admin: AIOKafkaAdminClient, changes: Sequence[Change], validate_only: bool) -> dict[str, str]:
    """Creates topics. Returns the reason for each refused one, by topic."""
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
    # Danger: aiokafka has only AlterConfigs, which resets unnamed configs: so `configs` also holds those set before
    resource = ConfigResource(ConfigResourceType.TOPIC, change.topic, configs=dict(change.configs or {}))
    for answer in await admin.alter_configs([resource]):
        for code, message, *_ in answer.resources:
            if code:
                return str(message or for_code(code).__name__)
    return ""


async def _visible(admin: AIOKafkaAdminClient, settings: Settings, names: Set[str]) -> None:
    """Waits until the brokers show all changes to these topics, and a leader for every partition."""
    while names:
        leaderless = {
            topic["topic"] for topic in await admin.describe_topics() if any(part["leader"] < 0 for part in topic["partitions"])
        }
        changes = {change.topic for change in await _plan(admin, settings) if not change.error}
        if not names & (leaderless | changes):
            return
        await asyncio.sleep(0.05)
