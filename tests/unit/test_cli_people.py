"""`people add|list|show|remove`, on a record in memory: what is registered, by what, and which key is whose."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.approval import Person, PersonKey, PersonRegistered, PersonRemoved
from hansard.decider import Decider
from hansard.identity import PEOPLE, person_stream
from hansard.private_keys import read_key
from hansard.reviews import BadKey, key_of, new_key
from hansard.service import Service
from infra.audit.people import registrations
from infra.audit.verify import verify
from infra.cli import app, base, people
from infra.cli.problem import Problem
from services.approval.facts import RegistrationGiven, RemovalGiven
from services.approval.people import Registered, decide, evolve
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.settings import Settings
from tests.unit.toy import NOON

APPROVAL: Service[Registered] = Service(
    "approval",
    Decider(Registered(), decide, evolve),
    receives={RegistrationGiven: lambda _: None, RemovalGiven: lambda _: None},
)
ALICE, ISSUER = "alice@example.org", "https://id.example.org"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InMemoryEventStore:
    store = InMemoryEventStore(lambda: NOON)

    @asynccontextmanager
    async def record(_: Settings) -> AsyncIterator[InMemoryEventStore]:
        yield store

    monkeypatch.setattr(base, "record", record)
    monkeypatch.setattr(people, "load", lambda *_: APPROVAL)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HANSARD_HOME", str(tmp_path / "hansard"))
    monkeypatch.setenv("HANSARD_POSTGRES", "postgresql://nobody@127.0.0.1:1/none")
    return store


def typed(*words: str) -> str:
    """What the command prints. Raises Problem as the command does."""
    done = CliRunner().invoke(app, ["people", *words], env={"COLUMNS": "200"})
    if isinstance(done.exception, Problem):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def person(name: str = ALICE) -> Person | None:
    found = json.loads(typed("show", name, "--json").splitlines()[-1])
    return None if "removed" in found else Person.model_validate(found)


def messages(store: InMemoryEventStore, name: str = ALICE) -> list[Any]:
    stream = person_stream("default", name)
    kinds = {kind.kind: kind for kind in (PersonRegistered, PersonRemoved)}
    return [kinds[one.kind].model_validate_json(one.data) for one in asyncio.run(store.load([stream]))[stream].messages]


def test_a_new_person_gets_a_key_whose_private_half_is_in_a_file_for_them_alone(
    store: InMemoryEventStore, tmp_path: Path
) -> None:
    printed = typed("add", ALICE, "--role", "reviewer", "--role", "senior", "--by", "ops")
    file = tmp_path / "home/.config/hansard/alice@example.org.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    key = key_of(read_key(file))
    assert messages(store) == [
        PersonRegistered(name=ALICE, roles=("reviewer", "senior"), keys=(PersonKey.model_validate(key),), by="ops")
    ]
    assert key["id"] in printed
    secret = file.read_text().splitlines()[1]
    assert secret not in printed
    assert not any(secret.encode() in one.data for one in store._log)


def test_what_is_registered_is_decided_on_record_and_an_audit_decides_it_again(store: InMemoryEventStore) -> None:
    typed("add", ALICE, "--role", "reviewer")
    typed("add", ALICE, "--role", "senior")
    typed("remove", ALICE)
    report = asyncio.run(verify(store, {"approval": APPROVAL}, Settings().topics, "default", PEOPLE))
    assert (report.differences, report.decided, report.outcomes) == ([], 3, 3)
    assert {one.topic for one in store._log} == {"approval.events"}
    unpublished = asyncio.run(store.unpublished("approval", 0, 10))
    assert [one.version for one in unpublished] == [1, 2, 3]


def test_more_is_added_to_what_is_registered_and_nothing_is_lost(store: InMemoryEventStore) -> None:
    typed("add", ALICE, "--role", "reviewer")
    before = person()
    assert before
    other = new_key()[1]
    words = ("--role", "senior", "--key", other["public"], "--identity", f"{ISSUER} anna", "--topic", "approvals.reviews.alice")
    typed("add", "ALICE@example.org ", *words)
    assert person() == Person(
        name=ALICE,
        roles=("reviewer", "senior"),
        keys=(*before.keys, PersonKey.model_validate(other)),
        identities=(f"{ISSUER} anna",),
        topics=("approvals.reviews.alice",),
    )
    assert len(messages(store)) == 2
    typed("add", ALICE, "--role", "senior")
    assert len(messages(store)) == 2


def test_what_is_named_is_taken_away_and_a_key_is_revoked(store: InMemoryEventStore, tmp_path: Path) -> None:
    typed("add", ALICE, "--role", "reviewer", "--role", "senior")
    typed("add", ALICE, "--new-key", str(tmp_path / "second.pem"))
    first, second = person().keys  # type: ignore[union-attr]
    typed("remove", ALICE, "--key", first.id, "--role", "senior")
    assert person() == Person(name=ALICE, roles=("reviewer",), keys=(second,))
    with pytest.raises(Problem, match=f"has no {first.id}"):
        typed("remove", ALICE, "--key", first.id)


def test_a_person_who_is_removed_is_no_longer_listed_and_can_come_back(store: InMemoryEventStore) -> None:
    typed("add", ALICE, "--role", "reviewer")
    typed("add", "bob", "--role", "reviewer", "--identity", f"{ISSUER} bob")
    typed("remove", "Alice@Example.ORG", "--by", "ops")
    listed = [json.loads(line)["name"] for line in typed("list", "--json").splitlines()]
    assert (listed, person()) == (["bob"], None)
    assert messages(store)[-1] == PersonRemoved(name=ALICE, by="ops")
    with pytest.raises(Problem, match="not registered"):
        typed("remove", ALICE)
    typed("add", ALICE, "--role", "senior", "--identity", f"{ISSUER} alice")
    assert person() == Person(name=ALICE, roles=("senior",), identities=(f"{ISSUER} alice",))
    assert typed("show", ALICE).count("registered by") == 2


def test_each_tenant_has_people_of_its_own(store: InMemoryEventStore) -> None:
    typed("add", ALICE, "--role", "reviewer", "--tenant", "acme")
    assert typed("list", "--json") == ""
    assert json.loads(typed("list", "--json", "--tenant", "acme"))["tenant"] == "acme"


def test_nothing_proves_two_people(store: InMemoryEventStore) -> None:
    typed("add", ALICE, "--identity", f"{ISSUER} anna", "--topic", "approvals.reviews.a")
    typed("add", ALICE, "--key", (key := new_key()[1])["public"])
    for words in (("--identity", f"{ISSUER} anna"), ("--topic", "approvals.reviews.a"), ("--key", key["public"])):
        with pytest.raises(Problem, match=f"{ALICE} has the (identity|topic|key) .* already"):
            typed("add", "mallory", *words)
    typed("remove", ALICE)
    typed("add", "anna", "--identity", f"{ISSUER} anna")


def test_a_key_is_given_as_base64_or_in_a_file_whichever_half_that_holds(store: InMemoryEventStore, tmp_path: Path) -> None:
    pem, key = new_key()
    (tmp_path / "mine.pem").write_bytes(pem)
    typed("add", ALICE, "--key", str(tmp_path / "mine.pem"))
    typed("add", ALICE, "--key", key["public"])
    assert [PersonKey.model_validate(key)] == list(person().keys)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--key", "AAAA"), "--key: a public key is PEM"),
        (("--key", "A" * 43 + "="), "small order"),
        (("--key", "/dev/null"), "--key: "),
        (("--identity", "anna"), "ISSUER SUBJECT"),
        (("--identity", f"{ISSUER} anna smith"), "ISSUER SUBJECT"),
        (("--topic", "requests"), "approvals.reviews.NAME"),
        (("--role", "two words"), "roles.0"),
        (("--key", "AAAA", "--new-key", "x"), "Give --key, or"),
    ],
)
def test_what_proves_nobody_is_refused_in_a_sentence(store: InMemoryEventStore, words: tuple[str, ...], why: str) -> None:
    with pytest.raises(Problem, match=why):
        typed("add", ALICE, *words)
    assert store._log == []


def test_a_file_that_is_there_is_never_overwritten(store: InMemoryEventStore, tmp_path: Path) -> None:
    file = tmp_path / "mine.pem"
    file.write_text("dear to me")
    with pytest.raises(Problem, match="is there already, and is not overwritten"):
        typed("add", ALICE, "--new-key", str(file))
    (tmp_path / "link.pem").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Problem, match="is there already"):
        typed("add", ALICE, "--new-key", str(tmp_path / "link.pem"))
    assert file.read_text() == "dear to me" and store._log == []


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine.pem").write_bytes(new_key()[0])
    (tmp_path / "mine.pem").chmod(0o640)
    with pytest.raises(BadKey, match="others may read"):
        read_key(tmp_path / "mine.pem")
    with pytest.raises(BadKey, match="there is no file"):
        read_key(tmp_path / "other.pem")


def test_a_stream_that_another_name_makes_is_no_registration(store: InMemoryEventStore) -> None:
    typed("add", ALICE, "--role", "reviewer")
    histories = asyncio.run(store.load_workflow("default", PEOPLE))
    ((stream, history),) = histories.items()
    assert list(registrations({stream: history})) == [ALICE]
    assert registrations({Stream("default", PEOPLE, "approval/person:bob"): history}) == {}
