"""People on a real Postgres: registered by the command with the owner's address, decided by approval, found by an audit."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from contracts.approval import Person, PersonRegistered, PersonRemoved
from hansard.identity import PEOPLE, person_stream
from hansard.message import Message, Outcome
from infra.audit.people import registered, registrations
from infra.audit.verify import verify
from infra.cli import app
from services.approval.app import build
from services.approval.facts import RegistrationGiven, RemovalGiven
from shared.eventstore.postgres import PostgresEventStore
from shared.runtime.giving import NotTaken, give
from shared.settings import Settings

ALICE = "alice@example.org"


@pytest.fixture
def deployment(postgres_dsn: str, service_dsn: str, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As its operator's environment names it."""
    given = {
        "HANSARD_POSTGRES": service_dsn,
        "HANSARD_POSTGRES_OWNER": postgres_dsn,
        "HANSARD_POSTGRES_SCHEMA": schema,
        "HANSARD_HOME": str(tmp_path / "hansard"),
        "HOME": str(tmp_path),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return Settings(postgres=SecretStr(service_dsn), postgres_owner=SecretStr(postgres_dsn), postgres_schema=schema)


async def typed(*words: str) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, app, ["people", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.stdout


async def test_a_registration_is_on_record_waits_to_be_published_and_holds_in_an_audit(
    deployment: Settings, store: PostgresEventStore
) -> None:
    await typed("add", ALICE, "--role", "reviewer", "--by", "ops")
    await typed("add", ALICE, "--role", "senior", "--topic", "approvals.reviews.alice", "--by", "ops")
    await typed("add", "bob", "--role", "reviewer", "--by", "ops")
    await typed("remove", "bob", "--by", "ops")
    found = registrations(await store.load_workflow("default", PEOPLE))
    alice, bob = found[ALICE], found["bob"]
    assert [one.person and one.person.roles for one in alice] == [("reviewer",), ("reviewer", "senior")]
    assert ([bool(one.person) for one in bob], {one.by for one in (*alice, *bob)}) == ([True, False], {"ops"})
    waiting = await store.unpublished("approval", 0, 10)
    assert {(one.stream.name, one.kind) for one in waiting} == {
        (f"approval/person:{ALICE}", PersonRegistered.kind),
        ("approval/person:bob", PersonRegistered.kind),
        ("approval/person:bob", PersonRemoved.kind),
    }
    report = await verify(store, {"approval": build(deployment)}, deployment.topics, "default", PEOPLE)
    assert (report.differences, report.decided) == ([], 4)


async def test_two_operators_at_once_lose_nothing(deployment: Settings, store: PostgresEventStore) -> None:
    approval, stream = build(deployment), person_stream("default", ALICE)

    async def add(role: str) -> None:
        def fact(messages: Sequence[Message]) -> Outcome:
            known = registered(messages)
            roles = (*(known.roles if known else ()), role)
            return RegistrationGiven(attempt=1, person=Person(name=ALICE, roles=roles), by="ops")

        await give(store, approval, deployment, stream, fact, f"registration/{uuid.uuid4()}")

    roles = [f"role-{n}" for n in range(8)]
    await asyncio.gather(*map(add, roles))
    histories = await store.load_workflow("default", PEOPLE)
    assert set(registrations(histories)[ALICE][-1].person.roles) == set(roles)  # type: ignore[union-attr]


async def test_a_fact_is_given_once_under_its_name_and_one_that_is_refused_leaves_no_trace(
    deployment: Settings, store: PostgresEventStore
) -> None:
    approval, stream = build(deployment), person_stream("default", ALICE)
    removal = RemovalGiven(attempt=1, name=ALICE, by="ops")
    person = Person(name=ALICE, roles=("reviewer",))
    one = RegistrationGiven(attempt=1, person=person, by="ops")
    first = await give(store, approval, deployment, stream, lambda _: one, "registration/1")
    assert first == [PersonRegistered(**person.model_dump(), by="ops")]
    assert await give(store, approval, deployment, stream, lambda _: removal, "registration/1") == []
    assert await give(store, approval, deployment, stream, lambda _: None, "registration/2") == []
    weak = Person.model_validate({"name": ALICE, "keys": [{"id": "0" * 16, "public": "A" * 43 + "="}]})
    bad = RegistrationGiven(attempt=1, person=weak, by="ops")
    with pytest.raises(NotTaken, match="small order"):
        await give(store, approval, deployment, stream, lambda _: bad, "registration/3")
    assert (await store.load([stream]))[stream].processed == 1


async def test_what_was_registered_cannot_be_changed(deployment: Settings, raw: asyncpg.Connection) -> None:
    await typed("add", ALICE, "--role", "reviewer")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await raw.execute("update messages set data = '{}'")
