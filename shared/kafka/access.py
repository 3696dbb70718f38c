"""Access rules and passwords at the brokers: found, added and removed. `infra.access_rules` makes the rules of the catalogue.

aiokafka's admin client has neither: its requests for rules are sent here as they are, and the one for passwords is defined here.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1, DeleteAclsRequest_v1, DescribeAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

from shared.backoff import Backoff
from shared.kafka.connection import connection, topic_name
from shared.settings import Settings

log = logging.getLogger(__name__)

# The numbers of Kafka's protocol
RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
OPERATIONS = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Delete": 6,
    "Alter": 7,
    "Describe": 8,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
}
ANY, LITERAL, PREFIXED, ALLOW = 1, 3, 4, 3
SECURITY_DISABLED = 54
SCRAM_SHA_512 = 2
ITERATIONS = 4096  # the least that Kafka takes; the passwords are random
CLUSTER = "kafka-cluster"


class Rule(NamedTuple):
    """One permission, from any host. `name` is the broker's, with the prefix; `prefixed`: of all that begin with it."""

    principal: str  # hansard-router
    operation: str  # Read, Write, …
    resource: str  # topic, group, cluster
    name: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.principal} may {self.operation} {self.resource} {self.name}{'*' if self.prefixed else ''}"


class AccessRefused(KafkaError):  # type: ignore[misc]
    """The brokers take no rules or passwords from this principal, or not these."""


async def found_rules(settings: Settings) -> set[Rule] | None:
    """All rules of the cluster that allow something from any host; None where it has no authorizer, and everyone may do
    everything.

    Raises AccessRefused where this principal may not ask (Describe on the cluster), KafkaError or OSError.
    """
    async with _client(settings) as client:
        answer = await client.send(client.get_random_node(), DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY))
    if answer.error_code == SECURITY_DISABLED:
        return None
    if answer.error_code:
        raise AccessRefused(f"the access rules cannot be read: {answer.error_message or for_code(answer.error_code).__name__}")
    return set(_rules_of(answer.resources))


async def add_rules(settings: Settings, rules: Sequence[Rule]) -> None:
    """Adds these rules; one that is there already stays. Raises AccessRefused, KafkaError, OSError."""
    if rules:
        answer = await _sent(settings, _CreateAcls([(*_numbers(rule), ALLOW) for rule in rules]))
        _refuse((code, message) for code, message in answer.creation_responses)


async def remove_rules(settings: Settings, rules: Sequence[Rule]) -> None:
    """Removes exactly these rules. Raises AccessRefused, KafkaError, OSError."""
    if rules:
        answer = await _sent(settings, _DeleteAcls([(*_numbers(rule), ALLOW) for rule in rules]))
        _refuse((code, message) for code, message, _ in answer.filter_responses)


async def set_passwords(settings: Settings, passwords: Mapping[str, str]) -> None:
    """Sets the SCRAM-SHA-512 password of each principal; connections that are open stay. Raises AccessRefused, KafkaError,
    OSError."""
    if passwords:
        answer = await _sent(settings, _AlterScram([_credential(name, password) for name, password in passwords.items()]))
        _refuse((code, message) for _, code, message, _ in answer.results)


async def writable(settings: Settings, topics: Sequence[str]) -> list[str]:
    """Those of these topics (without the prefix) to which this very principal may write, as the brokers see it: they count rules,
    and their absence too. Nothing is written. Raises KafkaError, OSError."""
    if not topics:
        return []
    names = [topic_name(settings, topic) for topic in topics]
    answer = await _sent(settings, _Rights(names))
    may = {name for code, name, _, _, rights in answer.topics if not code and rights >> OPERATIONS["Write"] & 1}
    return [topic for topic, name in zip(topics, names, strict=True) if name in may]


class OthersMayWrite(Exception):
    """A topic that proves whose reviews it has may be written to by somebody else."""


async def check_reviewers(settings: Settings, services: Iterable[str]) -> None:
    """Returns if these services may not write to any topic of one person's reviews that they consume: if they may, so may others,
    and such a topic proves nothing. In development that is for `doctor` to say. Waits for brokers. Raises OthersMayWrite."""
    consumed = {topic.name for service in services for topic in settings.topics.consumed_by(service)}
    topics = [topic for topic in settings.reviewer_topics if topic in consumed]
    if settings.environment == "production" and topics and (open_ := await _asked_until_answered(settings, topics)):
        raise OthersMayWrite(f"HANSARD_REVIEWER_TOPICS: {others_may_write(settings, open_)}. {RULES_NEEDED}.")


async def _asked_until_answered(settings: Settings, topics: list[str]) -> list[str]:
    backoff = Backoff()
    while True:
        try:
            return await writable(settings, topics)
        except (KafkaError, OSError) as failed:
            log.warning("waiting: Kafka does not answer: %r", failed)
        await backoff.wait()


RULES_NEEDED = (
    "Give the brokers access rules (`hansard up --secure`, or an authorizer and `hansard topics`) and each service a user of its"
    " own, or unset HANSARD_REVIEWER_TOPICS"
)


def others_may_write(settings: Settings, topics: Sequence[str]) -> str:
    """In one sentence, without its full stop."""
    who = settings.kafka_username or "whoever reaches Kafka"
    return f"{who} may write to {', '.join(topics)}, so a review on it is not proven to be its person's"


def _rules_of(resources: Iterable[Any]) -> Iterable[Rule]:
    kinds, operations = ({number: name for name, number in table.items()} for table in (RESOURCES, OPERATIONS))
    for kind, name, pattern, permissions in resources:
        for principal, host, operation, permission in permissions:
            known = kind in kinds and operation in operations and pattern in (LITERAL, PREFIXED)
            if known and permission == ALLOW and host == "*":
                yield Rule(principal.removeprefix("User:"), operations[operation], kinds[kind], name, pattern == PREFIXED)


def _numbers(rule: Rule) -> tuple[int, str, int, str, str, int]:
    pattern = PREFIXED if rule.prefixed else LITERAL
    return RESOURCES[rule.resource], rule.name, pattern, f"User:{rule.principal}", "*", OPERATIONS[rule.operation]


def _credential(name: str, password: str) -> tuple[Any, ...]:
    """What Kafka stores: the password itself is not sent."""
    salt = secrets.token_bytes(32)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    assert len(salted) == hmac.new(salted, b"", "sha512").digest_size
    return name, SCRAM_SHA_512, ITERATIONS, salt, salted, {}


def _refuse(answers: Iterable[tuple[int, str | None]]) -> None:
    if wrong := [message or for_code(code).__name__ for code, message in answers if code]:
        raise AccessRefused("; ".join(dict.fromkeys(wrong)))


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**connection(settings), client_id="hansard.access")
    try:
        await client.bootstrap()
        yield client
    finally:
        await client.close()


async def _sent(settings: Settings, request: "Request[Any]") -> Any:
    """The answer of any broker: it passes the request on to the controller."""
    async with _client(settings) as client:
        return await client.send(client.get_random_node(), request)


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, rules: list[tuple[Any, ...]]) -> None:
        self._rules = rules

    def build(self, form: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return form(self._rules)


class _DeleteAcls(Request[DeleteAclsRequest_v1]):  # type: ignore[misc]
    API_KEY = DeleteAclsRequest_v1.API_KEY

    def __init__(self, rules: list[tuple[Any, ...]]) -> None:
        self._rules = rules

    def build(self, form: type[DeleteAclsRequest_v1]) -> DeleteAclsRequest_v1:
        return form(self._rules)


class _RightsResponse_v8(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 3, 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _Rights_v8(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION = 3, 8
    RESPONSE_TYPE = _RightsResponse_v8
    SCHEMA = Schema(("topics", Array(String("utf-8"))), ("create", Boolean), ("of_cluster", Boolean), ("of_topics", Boolean))


class _Rights(Request[_Rights_v8]):  # type: ignore[misc]
    """Metadata, with what this principal may do with each topic (KIP-430): aiokafka's own has no such version."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, form: type[_Rights_v8]) -> _Rights_v8:
        return form(self._topics, False, False, True)


class _AlterScramResponse_v0(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 51, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScram_v0(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY, API_VERSION = 51, 0
    RESPONSE_TYPE = _AlterScramResponse_v0
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScram(Request[_AlterScram_v0]):  # type: ignore[misc]
    """AlterUserScramCredentials (KIP-554)."""

    API_KEY = 51

    def __init__(self, credentials: list[tuple[Any, ...]]) -> None:
        self._credentials = credentials

    def build(self, form: type[_AlterScram_v0]) -> _AlterScram_v0:
        return form([], self._credentials, {})
