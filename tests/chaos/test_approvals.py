"""kill -9 of approval, planner and executor around the moment of approval: what was approved ran exactly once, nothing else ran.

Each round asks for three payments. One is approved, one rejected, one expires; meanwhile one of the three services is killed.
"""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from contracts.approval import ActionApproved, ActionRejected, ReviewAction
from contracts.ledger import PostingStarted
from hansard.codec import encode
from hansard.reviews import key_of, sign, statement
from infra.servers import Servers
from services.ledger import book
from tests.chaos.conftest import LARGE
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json, envelope

KILLS = 500 if LARGE else 20
SERVED = ("router", "planner", "approval", "ledger", "notifier")
VICTIMS = ("approval", "planner", "ledger")
ALICE = "alice@example.org"
EXPIRES = 2.0  # seconds
NOWHERE = "http://127.0.0.1:1/v1"
WAITING = """select a.workflow, a.data->>'sha256' as sha256, p.data->>'expires_at' as expires_at
    from messages a join messages p using (tenant, workflow, stream)
    where a.kind = 'hansard.approval.assessed.v1' and p.kind = 'hansard.approval.proposed.v1' and workflow = any($1)"""
STORED = "select 1 from messages where workflow = $1 and kind = $2"
DECISIONS = "select workflow, id::text, data->>'sha256' from messages where kind = $1"
REFUSALS = "select workflow, data->>'because' from messages where kind = $1"

Moment = Callable[[Deployment, str, random.Random], Awaitable[None]]


async def before_the_review(*_: object) -> None:
    """The victim is away when the review arrives."""


async def as_the_review_arrives(_: Deployment, __: str, chance: random.Random) -> None:
    await asyncio.sleep(chance.random() * 0.2)


async def once_it_is_approved(deployment: Deployment, workflow: str, _: random.Random) -> None:
    await stored(deployment, workflow, ActionApproved.kind)


async def once_it_is_begun(deployment: Deployment, workflow: str, _: random.Random) -> None:
    await stored(deployment, workflow, PostingStarted.kind)


async def once_it_is_done(deployment: Deployment, workflow: str, chance: random.Random) -> None:
    await once_it_is_approved(deployment, workflow, chance)
    decisions = {id_ for of, id_, _ in await deployment.rows(DECISIONS, ActionApproved.kind) if of == workflow}
    path = deployment.settings.ledger_file
    await until(lambda: any(entry.decision in decisions for entry in book.entries(path)), "its entry is there", every=0.002)


MOMENTS: tuple[Moment, ...] = (
    before_the_review,
    as_the_review_arrives,
    once_it_is_approved,
    once_it_is_begun,
    once_it_is_done,
)


async def stored(deployment: Deployment, workflow: str, kind: str) -> None:
    async def is_stored() -> bool:
        return bool(await deployment.rows(STORED, workflow, kind))

    await until(is_stored, f"{kind} is stored", every=0.002)


def payment(n: int, seconds: float | None = None) -> Json:
    action = {"tool": "ledger", "about": f"Pay invoice {n}", "amount": f"{n}.25", "recipient": f"acct-{n}"}
    gate: Json = {"approval": "always", "action": action} | ({"seconds": seconds} if seconds else {})
    return {"text": f"Pay invoice {n}", "plan": {"steps": [{"id": "pay", "worker": "ledger", "verify": "none", "gate": gate}]}}


async def review(deployment: Deployment, private: bytes, workflow: str, waiting: dict[str, str], decision: str) -> None:
    """Sends a signed review, twice."""
    made = ReviewAction.model_validate(
        {
            "review": secrets.token_hex(8),
            "action_id": "pay.1",
            **waiting,
            "decision": decision,
            "reviewer": ALICE,
            "key": key_of(private)["id"],
        }
    )
    signature = sign(private, statement(made.model_dump(mode="json"), "default", workflow))
    body = encode(made.model_copy(update={"signature": signature}))
    for _ in range(2):
        headers = envelope(made.review, ReviewAction.kind, workflow=workflow)
        await deployment.put("approvals.reviews", body, headers, workflow.encode())


async def one_round(deployment: Deployment, private: bytes, n: int, chance: random.Random) -> tuple[str, str, str]:
    """The workflows of the payments that are approved, rejected, and left to expire."""
    victim, moment = chance.choice(VICTIMS), chance.choice(MOMENTS)
    approved, rejected, expired = await deployment.ask(payment(3 * n), payment(3 * n + 1), payment(3 * n + 2, EXPIRES))
    waiting: dict[str, dict[str, str]] = {}

    async def both_wait() -> bool:
        rows = await deployment.rows(WAITING, [approved, rejected])
        waiting.update({workflow: {"sha256": sha256, "expires_at": expiry} for workflow, sha256, expiry in rows})
        return len(waiting) == 2

    await until(both_wait, lambda: f"round {n}: {len(waiting)} of 2 actions wait for a decision", every=0.02)
    if moment is before_the_review:
        await deployment.kill(f"{victim}/1")
    await review(deployment, private, approved, waiting[approved], "approve")
    await review(deployment, private, rejected, waiting[rejected], "reject")
    if moment is not before_the_review:
        await moment(deployment, approved, chance)
        await deployment.kill(f"{victim}/1")
    deployment.restart(f"{victim}/1")
    return approved, rejected, expired


@pytest.mark.timeout(600 + 60 * KILLS)  # a bound, not an expectation
async def test_what_was_approved_runs_exactly_once_whoever_is_killed(servers: Servers, tmp_path: Path) -> None:
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with Deployment.open(servers, NOWHERE, HANSARD_LEASE_SECONDS="2") as deployment:
        key = tmp_path / "alice.pem"
        await deployment.hansard("people", "add", ALICE, "--role", "reviewer", "--new-key", str(key))
        private = await asyncio.to_thread(key.read_bytes)
        deployment.serve_all(*SERVED)
        asked: list[tuple[str, str, str]] = []
        for n in range(KILLS):
            await deployment.ready()
            asked.append(await one_round(deployment, private, n, chance))
        approved, rejected, expired = (set(part) for part in zip(*asked, strict=True))
        results = await deployment.answered(approved | rejected | expired, 180)
        ends = {workflow: result.kind.split(".")[2] for workflow, result in results.items()}
        assert ends == dict.fromkeys(approved, "completed") | dict.fromkeys(rejected | expired, "failed")
        await ran_exactly_once(deployment, approved)
        refused = dict(await deployment.rows(REFUSALS, ActionRejected.kind))
        assert refused == dict.fromkeys(rejected, "reviewed") | dict.fromkeys(expired, "expired")
        await deployment.at_rest()
        await deployment.is_whole()
        report = await deployment.verified()
        assert report.differences == [] and report.forged == []


async def ran_exactly_once(deployment: Deployment, approved: set[str]) -> None:
    """One row in the ledger for each decision to approve, of the approved bytes; and no other row."""
    decisions = {id_: (workflow, sha256) for workflow, id_, sha256 in await deployment.rows(DECISIONS, ActionApproved.kind)}
    assert Counter(workflow for workflow, _ in decisions.values()) == Counter(approved)
    rows = [(entry.decision, entry.sha256) for entry in book.entries(deployment.settings.ledger_file)]
    assert Counter(rows) == Counter((id_, sha256) for id_, (_, sha256) in decisions.items())
