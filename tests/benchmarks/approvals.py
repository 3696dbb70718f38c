"""Gated workflows: how many the policy decides a second, and how long an action takes from a person's review to its effect.

Every workflow is one step of the ledger behind a gate: request, proposal, assessment, approval, task, entry in the book, result.
"""

import asyncio
import os
import secrets
import subprocess
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer

from contracts.approval import ReviewAction
from hansard.codec import encode
from hansard.reviews import key_of, sign, statement
from tests.benchmarks.deployments import Caller, Deployment, Ours, deployed
from tests.benchmarks.kit import Bench, Run, rounds
from tests.benchmarks.tables import Cell, Section, Table, compared, figure, percentiles
from tests.benchmarks.trees import TODAY, Failed

SERVICES = ("router", "planner", "approval", "ledger")
AT = {1: 60, 32: 320, 256: 1024}
CELLS = [Cell("decided", c, n, max(c, 20)) for c, n in AT.items()]
TRUSTING = "rules: {unproven-requester: nobody}"  # its requests are unsigned, as those of the other benchmarks
REVIEWER, REVIEWS = "alice@example.org", 100
ACTION = {"tool": "ledger", "about": "Send the monthly statement", "amount": "12", "recipient": "customer 4711"}
WAITING = """select a.workflow, a.data->>'sha256' as sha256, p.data->>'expires_at' as expires_at
    from {0}.messages a join {0}.messages p using (tenant, workflow, stream)
    where a.kind = 'hansard.approval.assessed.v1' and p.kind = 'hansard.approval.proposed.v1' and workflow = any($1)"""
ACTED = """select d.broker_at, m.at from {0}.messages m join {0}.door_messages d using (tenant, workflow)
    where m.kind = 'hansard.ledger.posting-started.v1' and d.topic = 'approvals.reviews' and workflow = any($1)"""


def body(approval: str) -> dict[str, Any]:
    gate = {"approval": approval, "action": ACTION, "confidence": 0.95}
    return {"text": ACTION["about"], "plan": {"steps": [{"id": "pay", "worker": "ledger", "verify": "none", "gate": gate}]}}


async def measure(bench: Bench, run: Run) -> Section:
    async with AsyncExitStack() as opened:
        policy = Path(bench.folder) / "approvals.yaml"
        policy.write_text(TRUSTING)
        deployment = await opened.enter_async_context(deployed(bench, TODAY, *SERVICES, approvals=str(policy)))
        caller = await opened.enter_async_context(Caller(deployment))
        side = Ours(TODAY.name, caller, {"decided": body("policy")})
        await side.loop(CELLS[0], 1, 20)
        samples = await rounds(bench, "approvals", [side], run.cells(CELLS), run.rounds)
        reviews = await reviewed(deployment, caller)
    return Section("Approvals", [compared(samples, TODAY.name), "From a review to its action, one at a time:", reviews])


async def reviewed(deployment: Deployment, caller: Caller) -> Table:
    """Actions that wait for a person, each approved by a signed review."""
    private = await asyncio.to_thread(registered, deployment)
    names = [f"review-{n}-{secrets.token_hex(4)}" for n in range(REVIEWS)]
    for name in names:
        await caller.publish(name, body("always"))
    connection = await asyncpg.connect(deployment.bench.addresses.owner)
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bench.addresses.kafka, acks="all", linger_ms=0)
    await producer.start()
    try:
        waiting: Mapping[str, dict[str, str]] = {}
        while len(waiting) < REVIEWS:
            await asyncio.sleep(0.2)
            rows = await connection.fetch(WAITING.format(deployment.schema), names)
            waiting = {row[0]: {"sha256": row[1], "expires_at": row[2]} for row in rows}
        taken = []
        for name in names:
            began = time.perf_counter()
            await approve(producer, deployment.prefix, name, waiting[name], private)
            while name not in caller.results:
                await asyncio.sleep(0.001)
            taken.append(caller.results[name][0] - began)
        acts: list[tuple[datetime, datetime]] = list(map(tuple, await connection.fetch(ACTED.format(deployment.schema), names)))
    finally:
        await producer.stop()
        await connection.close()
    if len(acts) != REVIEWS:
        raise Failed(f"{len(acts)} of {REVIEWS} approved actions ran.")
    acted = percentiles([(acted - received).total_seconds() for received, acted in acts])
    found = {"the review at the broker until the action's intent is on record": acted, "until its result": percentiles(taken)}
    return Table(["from a review", "p50 ms", "p99 ms"], [[name, *map(figure, ms)] for name, ms in found.items()])


def registered(deployment: Deployment) -> bytes:
    """A reviewer's private key, registered by the tree's own command. Raises Failed."""
    key = Path(deployment.bench.folder) / f"{secrets.token_hex(4)}.pem"
    command = deployment.tree.command("people", "add", REVIEWER, "--role", "reviewer", "--new-key", str(key))
    environment = os.environ | deployment.environment | deployment.tree.addresses(deployment.bench.addresses, owner=True)
    done = subprocess.run(command, cwd=deployment.tree.path, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"hansard people add: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return key.read_bytes()


async def approve(producer: AIOKafkaProducer, prefix: str, workflow: str, waiting: dict[str, str], private: bytes) -> None:
    review = ReviewAction(
        review=secrets.token_hex(16),
        action_id="pay.1",
        **waiting,
        decision="approve",
        reviewer=REVIEWER,
        key=key_of(private)["id"],
    )
    signature = sign(private, statement(review.model_dump(mode="json"), "default", workflow))
    event = {
        "ce_specversion": "1.0",
        "ce_id": review.review,
        "ce_source": "/bench",
        "ce_type": ReviewAction.kind,
        "ce_correlationid": workflow,
    }
    data = encode(review.model_copy(update={"signature": signature}))
    headers = [(name, value.encode()) for name, value in event.items()]
    await producer.send_and_wait(f"{prefix}approvals.reviews", data, workflow.encode(), headers=headers)
