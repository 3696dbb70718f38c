"""A reviewer's clock, a service's and the broker's, an hour apart: expiry and single use hold, by the store's clock (rule 8).

Each test makes three payments that wait for a person. One is approved by the command, under a clock that is an hour off the other
way; one by the same review sent three times, whose stated times are an hour too late; one expires, and its review, whose stated
times are an hour too early, comes after that.
"""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.approval import (
    ActionApproved,
    ActionAssessed,
    ActionProposed,
    ActionRejected,
    ReviewAccepted,
    ReviewAction,
    ReviewRefused,
)
from infra.servers import Servers
from services.ledger import book
from tests.chaos.clocks import HOUR, faked, needs_faketime, wrong_clock
from tests.chaos.conftest import LARGE
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json, envelope
from tests.spec.approval_kit import Someone

pytestmark = needs_faketime

SERVED = ("router", "planner", "approval", "ledger")
EVERY = [(name, off) for name in ("approval", "planner") for off in (HOUR, -HOUR)]
FEW = [("approval", HOUR)]
DOOR = "approvals.reviews"
NOWHERE = "http://127.0.0.1:1/v1"
ALICE = "alice@example.org"
EXPIRES, LATER = 5, 1800  # seconds: of the one that expires, and of the others, which an hour would end
SLACK = timedelta(minutes=2)
STORED = "select data, at from messages where workflow = $1 and kind = $2 order by version"
AT_THE_DOOR = """select body, headers, at, broker_at from door_messages where workflow = $1 and topic like '%approvals.reviews'
                 order by position"""
EARLIER = """select workflow, stream from (select workflow, stream, at, lag(at) over (
                 partition by tenant, workflow, stream order by sequence) as before from inbox) h where at < before"""


def named(cases: list[tuple[str, int]]) -> list[str]:
    return [f"{name} {'ahead' if off > 0 else 'behind'}" for name, off in cases]


CASES, BROKER = (EVERY, [HOUR, -HOUR]) if LARGE else (FEW, [HOUR])


@pytest.mark.parametrize(("name", "off"), CASES, ids=named(CASES))
async def test_a_service_and_a_reviewer_with_clocks_an_hour_off_change_nothing(
    servers: Servers, tmp_path: Path, name: str, off: int
) -> None:
    async with Deployment.open(servers, NOWHERE, HANSARD_LEDGER=str(tmp_path / "book.sqlite3")) as deployment:
        one = deployment.serve(name, **faked(off))
        deployment.serve(*(other for other in SERVED if other != name), key="rest")
        await deployment.ready()
        assert ("ahead of" if off > 0 else "behind") in json.loads(one.health()[1])[name]["clock"]
        await expiry_and_single_use_hold(deployment, await registered(deployment, tmp_path), -off)


@pytest.mark.skipif(not LARGE, reason="the broker's clock is one of `make chaos`")
@pytest.mark.parametrize("off", BROKER, ids=named([("broker", off) for off in BROKER]))
async def test_a_broker_and_a_reviewer_with_clocks_an_hour_off_change_nothing(own: Servers, tmp_path: Path, off: int) -> None:
    async with Deployment.open(own, NOWHERE, HANSARD_LEDGER=str(tmp_path / "book.sqlite3")) as deployment:
        alice = await registered(deployment, tmp_path)
        deployment.serve(*SERVED, key="all")
        await deployment.ready()
        async with broker_off(own, off):
            await deployment.ready()
            workflows = await expiry_and_single_use_hold(deployment, alice, -off)
            for workflow in workflows:
                for _, _, at, broker_at in await deployment.rows(AT_THE_DOOR, workflow):
                    assert abs(broker_at - at - timedelta(seconds=off)) < SLACK, "the broker's clock was wrong"


@asynccontextmanager
async def broker_off(own: Servers, off: int) -> AsyncIterator[None]:
    clock = wrong_clock(own, "kafka-1", off)
    await asyncio.to_thread(clock.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(clock.__exit__, None, None, None)


async def registered(deployment: Deployment, folder: Path) -> tuple[Someone, Path]:
    """A reviewer, and the file of their key."""
    key = folder / "alice.pem"
    await deployment.hansard("people", "add", ALICE, "--role", "reviewer", "--role", "senior", "--new-key", str(key))
    return Someone(ALICE, private=await asyncio.to_thread(key.read_bytes)), key


def payment(n: int, seconds: int) -> Json:
    action = {"tool": "ledger", "about": f"Pay invoice {n}", "amount": f"{n}.25", "recipient": f"acct-{n}"}
    gate: Json = {"approval": "always", "action": action, "seconds": seconds}
    return {"text": f"Pay invoice {n}", "plan": {"steps": [{"id": "pay", "worker": "ledger", "verify": "none", "gate": gate}]}}


async def expiry_and_single_use_hold(deployment: Deployment, who: tuple[Someone, Path], off: int) -> list[str]:
    """Returns the workflows. `off`: of the reviewer's clock; what comes after the expiry states a time before it."""
    alice, key = who
    began = await now(deployment)
    workflows = await deployment.ask(payment(1, LATER), payment(2, LATER), payment(3, EXPIRES))
    by_command, repeated, silent = workflows
    for workflow in workflows:
        [(assessed, at)] = await stored(deployment, workflow, ActionAssessed.kind)
        seconds = EXPIRES if workflow == silent else LATER
        assert began <= at <= await now(deployment), "the proposal has a time of the store"
        assert datetime.fromisoformat(assessed["expires_at"]) == at + timedelta(seconds=seconds)

    await deployment.hansard("approvals", "approve", by_command, "--as", ALICE, "--key", str(key), "--yes", more=faked(off))
    await one_counts_of_three(deployment, alice, repeated)
    await expires_in_time_and_takes_no_review_afterwards(deployment, alice, silent)

    for workflow, lie in ((by_command, off), (repeated, HOUR), (silent, -HOUR)):
        for _, headers, at, _ in await deployment.rows(AT_THE_DOOR, workflow):
            stated = datetime.fromisoformat(dict(headers_of(headers))["ce_time"])
            assert abs(stated - at - timedelta(seconds=lie)) < SLACK, "the review stated a wrong time"
    await what_ran(deployment, by_command, repeated, silent)
    return workflows


async def one_counts_of_three(deployment: Deployment, alice: Someone, workflow: str) -> None:
    """The same review, as the same message twice and as another one; it states that it came after the expiry."""
    review = await review_of(deployment, alice, workflow)
    for id_ in ("r-1", "r-1", "r-2"):
        await send(deployment, workflow, review, id_, timedelta(seconds=HOUR))
    [(accepted, _)] = await stored(deployment, workflow, ReviewAccepted.kind)
    [(refused, _)] = await stored(deployment, workflow, ReviewRefused.kind)
    assert accepted["review"]["review"] == refused["review"] == review.review
    assert refused["reason"] in ("used", "not-open")


async def expires_in_time_and_takes_no_review_afterwards(deployment: Deployment, alice: Someone, workflow: str) -> None:
    [(assessed, _)] = await stored(deployment, workflow, ActionAssessed.kind)
    [(rejected, at)] = await stored(deployment, workflow, ActionRejected.kind)
    expires_at = datetime.fromisoformat(assessed["expires_at"])
    assert rejected["because"] == "expired"
    assert expires_at <= at <= expires_at + SLACK, "by the store's clock, never before and not an hour later"
    await send(deployment, workflow, await review_of(deployment, alice, workflow), "r-1", -timedelta(seconds=HOUR))
    [(refused, _)] = await stored(deployment, workflow, ReviewRefused.kind)
    assert refused["reason"] == "not-open"
    assert await deployment.rows(STORED, workflow, ActionApproved.kind) == []


async def what_ran(deployment: Deployment, by_command: str, repeated: str, silent: str) -> None:
    """What was approved, once each; and the record is sound."""
    results = await deployment.answered([by_command, repeated, silent])
    ends = {workflow: result.kind.split(".")[2] for workflow, result in results.items()}
    assert ends == {by_command: "completed", repeated: "completed", silent: "failed"}
    decided = [data["sha256"] for one in (by_command, repeated) for data, _ in await stored(deployment, one, ActionApproved.kind)]
    assert len(decided) == 2
    assert Counter(entry.sha256 for entry in book.entries(deployment.settings.ledger_file)) == Counter(decided)
    await deployment.at_rest()
    await deployment.is_whole()
    assert await deployment.rows(EARLIER) == []
    report = await deployment.verified()
    assert report.differences == [] and report.forged == []


async def review_of(deployment: Deployment, who: Someone, workflow: str) -> ReviewAction:
    [(assessed, _)] = await stored(deployment, workflow, ActionAssessed.kind)
    [(proposed, _)] = await stored(deployment, workflow, ActionProposed.kind)
    fields = {"review": secrets.token_hex(8), "action_id": "pay.1", "sha256": assessed["sha256"], "decision": "approve"}
    return who.signed(
        ReviewAction.model_validate(fields | {"expires_at": proposed["expires_at"], "reviewer": who.name}), workflow
    )


async def send(deployment: Deployment, workflow: str, review: ReviewAction, id_: str, off: timedelta) -> None:
    """Publishes it with times of its sender that are so far off, in the envelope and of the Kafka record."""
    at = await now(deployment) + off
    headers = envelope(f"{workflow}-{id_}", review.kind, workflow=workflow, time=at.isoformat())
    producer = await deployment.producer()
    await producer.send_and_wait(
        deployment.settings.topic_prefix + DOOR,
        json.dumps(review.model_dump(mode="json")).encode(),
        key=workflow.encode(),
        headers=headers,
        timestamp_ms=int(at.timestamp() * 1000),
    )


async def now(deployment: Deployment) -> datetime:
    """By the store's clock."""
    [(at,)] = await deployment.rows("select clock_timestamp()")
    return at  # type: ignore[no-any-return]


async def stored(deployment: Deployment, workflow: str, kind: str) -> list[tuple[Json, datetime]]:
    """Waits until there are messages of this kind: their data, and when they were recorded."""
    found: list[tuple[Any, ...]] = []

    async def is_stored() -> bool:
        found[:] = await deployment.rows(STORED, workflow, kind)
        return bool(found)

    await until(is_stored, f"{workflow} has a {kind}")
    return [(json.loads(data), at) for data, at in found]


def headers_of(stored: str) -> list[tuple[str, str]]:
    """Of a message at the door."""
    return [(name, value) for name, value in json.loads(stored)]
