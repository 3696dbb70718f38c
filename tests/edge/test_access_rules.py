"""Access rules on a real Kafka with its own authorizer: every principal tries every operation on every topic."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from contracts.catalog import OURS, Topic
from infra.access_rules import differences, of_services, rules
from infra.access_rules import principals as all_principals
from infra.cli.access import with_login
from infra.cli.identity_checks import identities
from infra.servers import Servers, principals
from shared.eventstore.model import StoredMessage
from shared.kafka.access import (
    AccessRefused,
    OthersMayWrite,
    Rule,
    add_rules,
    check_reviewers,
    found_rules,
    remove_rules,
    set_passwords,
    writable,
)
from shared.kafka.admin import apply
from shared.kafka.connection import principal_name
from shared.kafka.errors import NotAllReadable
from shared.runtime import tail
from shared.settings import Settings
from tests.edge.access_kit import OPERATIONS, as_principal, attempts

OWN, OUTSIDE_WORKER = "counter", "shouter"  # a service of a user's own, and a program that is none
FUSED = ("router", "verifier")
STRANGER = "stranger"  # has a password, and no rule
PEOPLE = ("person:alice", "person:bob_2-B")  # each has a topic of their own for reviews
WHO = (*OURS, OWN, OUTSIDE_WORKER, *PEOPLE, "console", "outside", STRANGER, "+".join(FUSED))


@pytest.fixture(scope="module")
def home(secure_servers: Servers) -> Iterator[Path]:
    yield secure_servers.home


@pytest.fixture
async def settings(secure_servers: Servers) -> Settings:
    """As an administrator: topics under a prefix of this test's own, their rules, and a password for each principal."""
    found, prefix = secure_servers.up(postgres=False, model=False, secure=True), f"t{secrets.token_hex(4)}."
    login = principals.login(secure_servers.home, principals.ADMINISTRATOR)
    topics = tuple(f"approvals.reviews.{person.removeprefix('person:')}" for person in PEOPLE)
    own = {"workers": (OWN,), "outside_workers": (OUTSIDE_WORKER,), "reviewer_topics": topics}
    made = with_login(Settings.model_validate({"kafka": found.kafka, "topic_prefix": prefix, "partitions": 1, **own}), login)
    assert not [change for change in await apply(made) if change.error]
    await add_rules(made, [*rules(made), *of_services(made, FUSED)])
    names = {*all_principals(made), *(principal_name(made, *who.split("+")) for who in WHO)}
    await set_passwords(made, {name: principals.password(secure_servers.home, name) for name in names})
    return made


def expected(who: str, operation: str, topic: Topic) -> bool:
    """By the catalogue alone, in other words than `infra.access_rules` has for it."""
    if "+" in who:
        return any(expected(one, operation, topic) for one in who.split("+"))
    open_to_all = topic.door and topic.producers == ()
    published, received = who in topic.producers, who in topic.consumers
    match operation:
        case "Write":
            handed_on = (who, topic.name) == ("edge", "requests")  # what came over HTTP
            return published or handed_on or (open_to_all and who in ("console", "outside"))
        case "Read":
            repaired = published and not topic.door and topic.retention_ms < 0
            return received or repaired or who == "console" or (who == "outside" and topic.name == "results")
        case "Describe":
            return expected(who, "Read", topic) or expected(who, "Write", topic)
        case "DescribeConfigs":
            return (topic.door and received) or who == "console"
        case _:  # Create, Delete, Alter, AlterConfigs
            return False


@pytest.mark.parametrize("who", WHO)
async def test_a_principal_may_do_what_the_catalogue_says_of_it_and_nothing_else(
    who: str, settings: Settings, home: Path
) -> None:
    topics = {settings.topic_prefix + topic.name: topic for topic in settings.topics.all}
    principal = as_principal(settings, home, principal_name(settings, *who.split("+")))
    async with attempts(principal, list(topics)) as attempt:
        tried = await attempt.every()
    assert len(tried) == len(OPERATIONS) * len(topics)
    wanted = {(operation, name): expected(who, operation, topic) for name, topic in topics.items() for operation in OPERATIONS}
    assert {cell: may for cell, may in tried.items() if may != wanted[cell]} == {}


def seen(who: str, settings: Settings) -> set[str]:
    """The services whose groups this principal may ask about: its own, and those that receive what it publishes."""
    services = {*OURS, OWN, OUTSIDE_WORKER}
    if who in ("outside", STRANGER):
        return set()
    if who == "console":
        return services
    internal = (topic for topic in settings.topics.all if not topic.door and topic.retention_ms < 0)
    receivers = {consumer for topic in internal if {*who.split("+")} & {*topic.producers} for consumer in topic.consumers}
    return services & (receivers | {*who.split("+")})


@pytest.mark.parametrize("who", WHO)
async def test_a_principal_may_see_how_far_those_are_that_receive_what_it_publishes(
    who: str, settings: Settings, home: Path
) -> None:
    groups = {f"{settings.topic_prefix}hansard.{name}": name for name in (*OURS, OWN, OUTSIDE_WORKER)}
    async with attempts(as_principal(settings, home, principal_name(settings, *who.split("+"))), ()) as attempt:
        found = await attempt.see(groups)
    assert {groups[group] for group, may in found.items() if may} == seen(who, settings)


@pytest.mark.parametrize("who", WHO)
async def test_a_principal_may_join_the_groups_of_its_services_alone(who: str, settings: Settings, home: Path) -> None:
    groups = [f"{settings.topic_prefix}hansard.{name}" for name in (*OURS, OWN, OUTSIDE_WORKER)]
    outside = [f"{settings.topic_prefix}outside.{name}" for name in ("mine", "yours")]
    async with attempts(as_principal(settings, home, principal_name(settings, *who.split("+"))), ()) as attempt:
        joined = {group for group, may in (await attempt.join([*groups, *outside, "any"])).items() if may}
    without = ("console", "outside", STRANGER, *PEOPLE)
    own = {f"{settings.topic_prefix}hansard.{name}" for name in who.split("+") if name not in without}
    assert joined == (set(outside) if who == "outside" else own)


async def test_to_a_persons_own_topic_that_person_alone_may_write(settings: Settings, home: Path) -> None:
    topics = dict(zip(PEOPLE, settings.reviewer_topics, strict=True))
    for who in WHO:
        principal = as_principal(settings, home, principal_name(settings, *who.split("+")))
        assert await writable(principal, settings.reviewer_topics) == ([topics[who]] if who in PEOPLE else [])
    for who in ("outside", "approval", *PEOPLE):  # and a message is refused as the brokers say
        principal = as_principal(settings, home, principal_name(settings, who))
        async with attempts(principal, [settings.topic_prefix + topic for topic in topics.values()]) as attempt:
            assert list((await attempt.write()).values()) == [who == person for person in PEOPLE]


async def test_approval_starts_where_nobody_else_may_write_to_a_persons_own_topic(settings: Settings, home: Path) -> None:
    approval = as_principal(settings, home, principal_name(settings, "approval"))
    assert approval.environment == "production"
    await check_reviewers(approval, ["approval"])
    [finding] = await identities(as_principal(settings, home, principal_name(settings, "console")))
    assert finding.ok and "(2 of these)" in finding.found

    too_much = Rule(approval.kafka_username, "Write", "topic", f"{settings.topic_prefix}{settings.reviewer_topics[0]}")
    await add_rules(settings, [too_much])
    with pytest.raises(OthersMayWrite, match=f"{approval.kafka_username} may write to {settings.reviewer_topics[0]}, so"):
        await check_reviewers(approval, ["approval"])
    await check_reviewers(approval, ["router"])  # it receives no reviews
    assert differences(settings, await found_rules(settings) or ()).surplus == (too_much,)
    await remove_rules(settings, [too_much])
    await check_reviewers(approval, ["approval"])


async def test_approval_does_not_start_in_production_where_kafka_has_no_access_rules(kafka: str) -> None:
    own = {"topic_prefix": f"t{secrets.token_hex(4)}.", "partitions": 1, "reviewer_topics": "approvals.reviews.alice"}
    bare = Settings.model_validate({"kafka": kafka, **own})
    assert not [change for change in await apply(bare) if change.error]
    with pytest.raises(OthersMayWrite, match=r"whoever reaches Kafka may write to approvals\.reviews\.alice, so") as refused:
        await check_reviewers(bare, ["approval"])
    assert "hansard up --secure" in str(refused.value)
    [finding] = await identities(bare)
    assert not finding.ok and "whoever reaches Kafka may write to approvals.reviews.alice" in finding.found
    await check_reviewers(bare.model_copy(update={"environment": "development"}), ["approval"])


async def test_the_rules_of_the_cluster_are_compared_with_the_catalogue(settings: Settings) -> None:
    found = await found_rules(settings)
    assert found is not None
    there = differences(settings, found)
    assert (there.missing, there.surplus) == ((), ())
    assert there.fused == (principal_name(settings, *FUSED),)

    gone = Rule(principal_name(settings, "gone"), "Read", "topic", f"{settings.topic_prefix}results")
    lacking = rules(settings)[0]
    await add_rules(settings, [gone])
    await remove_rules(settings, [lacking])
    there = differences(settings, await found_rules(settings) or ())
    assert (there.missing, there.surplus) == ((lacking,), (gone,))

    await add_rules(settings, there.missing)
    await remove_rules(settings, there.surplus)
    there = differences(settings, await found_rules(settings) or ())
    assert (there.missing, there.surplus) == ((), ())


class Empty:
    """A record without messages."""

    async def read_published_back(self, *, batch: int) -> AsyncIterator[list[StoredMessage]]:
        pages: list[list[StoredMessage]] = []
        for page in pages:
            yield page

    async def find_messages(self, ids: Sequence[UUID]) -> dict[UUID, StoredMessage]:
        return {}


async def test_who_may_not_read_everything_does_not_find_that_all_is_on_the_record(settings: Settings, home: Path) -> None:
    record: Any = Empty()
    router = as_principal(settings, home, principal_name(settings, "router"))
    with pytest.raises(NotAllReadable, match="`hansard epoch compare`"):
        await tail.unknown(router, record)
    assert await tail.lost(router, record, "router") == [], "for what it publishes itself it may look"
    console = as_principal(settings, home, principal_name(settings, "console"))
    assert (await tail.unknown(console, record)).count == 0


async def test_brokers_without_an_authorizer_have_no_rules(kafka: str) -> None:
    assert await found_rules(Settings(kafka=kafka)) is None


async def test_a_principal_without_rights_may_not_even_read_the_rules(settings: Settings, home: Path) -> None:
    console: Any = await found_rules(as_principal(settings, home, principal_name(settings, "console")))
    assert set(rules(settings)) <= console, "the people who operate it may read them"
    router = as_principal(settings, home, principal_name(settings, "router"))
    with pytest.raises(AccessRefused, match="cannot be read"):
        await found_rules(router)
    with pytest.raises(AccessRefused):
        await add_rules(router, [Rule(router.kafka_username, "Write", "topic", f"{settings.topic_prefix}results")])
    with pytest.raises(AccessRefused):
        await set_passwords(router, {router.kafka_username: "another"})
