"""Gates and waits with every service in real processes: a planner that is killed while a person decides, signed reviews, a real
ledger; events, times, and a deadline that moves."""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.approval import ActionApproved, ActionAssessed, ActionProposed, ActionRejected, GiveMore, MoreGiven, ReviewAction
from contracts.catalog import SERVICES
from contracts.control import SignalWorkflow
from contracts.ledger import EntryPosted, PostingStarted
from contracts.planner import DeadlineMoved, StepWaiting
from contracts.router import ExpiryPostponed, MoveDeadline
from contracts.specialists import PerformTask
from hansard.reviews import key_of, sign, statement
from hansard.signer import Signer
from infra.cli.asked import new_request, signed_by
from infra.servers import Servers, process
from services.ledger import book
from tests import processes
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json, PublishedMessage

REFUND: Json = {"tool": "ledger", "about": "Process $2,500 refund for service outage", "amount": "2500", "recipient": "acct-9"}
CONFIRM: Json = {"tool": "ledger", "about": "Send order confirmation", "amount": "0.01", "recipient": "post"}


@pytest.fixture(scope="module")
def scripted(servers: Servers) -> Iterator[str]:
    model = processes.model(servers)
    yield model.address
    process.stop(model)


def asks(*steps: Json, seconds: float = 600) -> Json:
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return {"text": "The outage lasted nine hours.", "plan": {"name": "gated", "steps": list(steps)}, "deadline": deadline}


def pay(action: Json, **gate: Any) -> Json:
    return {"id": "pay", "worker": "ledger", "verify": "none", "gate": {"action": action} | gate}


def wait(name: str, **for_: Any) -> Json:
    return {"id": name, "worker": "wait", "wait": for_}


class Reviewers:
    """People with keys, who sign requests and decide about what waits in a deployment."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment, self.folder = deployment, folder

    async def join(self, name: str, *options: str) -> None:
        await self.deployment.hansard("people", "add", name, *options, "--new-key", str(self.folder / f"{name}.pem"))

    def signed(self, name: str, request: Json, workflow: str) -> Json:
        asked = signed_by(new_request(request, id_=workflow), Signer.of(name, self.folder / f"{name}.pem"))
        signed: Json = json.loads(asked.data)
        return signed

    async def decide(self, name: str, workflow: str, decision: str, **more: Any) -> None:
        """A signed review of the bytes that were proposed last."""
        key, proposed = (self.folder / f"{name}.pem").read_bytes(), published(self.deployment, workflow, ActionProposed.kind)[-1]
        review = {"review": secrets.token_hex(8), "action_id": "pay.1", "sha256": proposed.data["sha256"], "decision": decision}
        review |= {"expires_at": proposed.data["expires_at"], "reviewer": name, "key": key_of(key)["id"]} | more
        body = ReviewAction.model_validate(review).model_dump(mode="json")
        body["signature"] = sign(key, statement(body, "default", workflow))
        await self.deployment.publish(workflow, ReviewAction.kind, body, topic="approvals.reviews")


def published(deployment: Deployment, workflow: str, kind: str) -> list[PublishedMessage]:
    """The messages of this kind, without repeats."""
    return list({one.id: one for one in deployment.published if (one.workflow, one.kind) == (workflow, kind)}.values())


async def reached(deployment: Deployment, workflow: str, kind: str, count: int = 1) -> None:
    await until(lambda: len(published(deployment, workflow, kind)) >= count, f"{workflow} has {count} {kind}")


async def test_what_runs_is_what_was_approved_also_where_the_planner_was_killed_meanwhile(
    servers: Servers, scripted: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "book.sqlite3"
    async with Deployment.open(servers, scripted, HANSARD_LEDGER=str(ledger)) as deployment:
        deployment.serve("planner")
        deployment.serve(*(name for name in SERVICES if name != "planner"), key="rest")
        await deployment.ready()
        await deployment.listen()
        people = Reviewers(deployment, tmp_path)
        await people.join("alice", "--role", "reviewer")
        await people.join("agent")

        pays = pay(REFUND, ask="analyst")
        confident, by_policy = asks(pay(CONFIRM, confidence=0.95)), f"g-{secrets.token_hex(4)}"
        approved, rejected, unproven = await deployment.ask(asks(pays, seconds=60), asks(pays), confident)
        await deployment.ask(people.signed("agent", confident, by_policy), ids=[by_policy])
        for workflow in (approved, rejected, unproven):
            await reached(deployment, workflow, ActionAssessed.kind)
        await people.decide("alice", approved, "ask", question="How long did it last?")
        await reached(deployment, approved, MoreGiven.kind)
        await deployment.kill("planner/1")
        await people.decide("alice", approved, "approve")
        await people.decide("alice", rejected, "reject", notes="Twice.")
        await reached(deployment, approved, ActionApproved.kind)
        await reached(deployment, rejected, ActionRejected.kind)
        deployment.restart("planner/1")

        [waits] = published(deployment, unproven, ActionAssessed.kind)
        assert (waits.data["status"], waits.data["rule"]) == ("pending_review", "unproven-requester")
        await deployment.hansard("cancel", unproven)
        results = await deployment.answered([approved, rejected, by_policy, unproven])
        assert results[approved].data["text"].startswith("Entry ")
        assert results[by_policy].data["text"].endswith("0.01 USD to post.")
        assert results[rejected].data["detail"] == "step 'pay': alice rejected the action: Twice."
        await what_ran_is_what_was_approved(deployment, ledger, approved, by_policy)
        for workflow in (rejected, unproven):
            assert published(deployment, workflow, PerformTask.kind) == []
        assert published(deployment, approved, GiveMore.kind)[0].data["answer"]
        await all_is_well(deployment)


async def what_ran_is_what_was_approved(deployment: Deployment, ledger: Path, *workflows: str) -> None:
    """One entry each, of the approved bytes, which are in the content store; and it names the decision."""
    for workflow in workflows:
        [decision], [intent] = (published(deployment, workflow, kind) for kind in (ActionApproved.kind, PostingStarted.kind))
        [entry] = published(deployment, workflow, EntryPosted.kind)
        assert intent.data["approval"]["action"]["sha256"] == decision.data["sha256"] == entry.data["entry"]["sha256"]
        assert intent.data["approval"]["decision"] == decision.id == entry.data["entry"]["decision"]
        assert (await deployment.hansard("content", "get", decision.data["sha256"])).strip() == decision.data["action"]
    assert len(book.entries(ledger)) == len(workflows)


async def test_steps_wait_for_events_and_times_and_the_deadline_moves(servers: Servers, scripted: str) -> None:
    async with Deployment.open(servers, scripted) as deployment:
        deployment.serve("planner")
        deployment.serve(*(name for name in SERVICES if name != "planner"), key="rest")
        await deployment.ready()
        await deployment.listen()
        after = {"id": "write", "worker": "writer", "needs": ["wait"], "verify": "none"}
        event, early, timed, silent = [f"g-{secrets.token_hex(4)}" for _ in range(4)]
        await deployment.publish(early, SignalWorkflow.kind, {"name": "paid", "data": {"amount": "5"}})
        await deployment.ask(
            asks(wait("wait", event="paid"), after, seconds=5),
            asks(wait("wait", event="paid"), seconds=20),
            asks(wait("wait", seconds=12), after, seconds=6),
            asks(wait("wait", event="paid", timeout=1, otherwise="unpaid"), seconds=20),
            ids=[event, early, timed, silent],
        )
        await reached(deployment, event, StepWaiting.kind)
        await deployment.kill("planner/1")
        deployment.restart("planner/1")
        await reached(deployment, event, ExpiryPostponed.kind)  # the router asked at the deadline, and was told another
        await deployment.hansard("signal", event, "paid", "--data", json.dumps({"amount": "99"}))

        results = await deployment.answered([event, early, timed, silent])
        assert {workflow: one.kind.split(".")[2] for workflow, one in results.items()} == dict.fromkeys(results, "completed")
        assert results[early].data["data"] == {"amount": "5"}
        assert results[silent].data["text"] == "unpaid"
        [task] = published(deployment, event, PerformTask.kind)
        assert task.data["context"][0]["data"] == {"amount": "99"}
        [moved] = published(deployment, event, DeadlineMoved.kind)
        assert task.data["deadline"] == moved.data["deadline"]
        assert len(published(deployment, timed, MoveDeadline.kind)) == 1
        await all_is_well(deployment)


async def all_is_well(deployment: Deployment) -> None:
    await deployment.at_rest()
    await deployment.is_whole()
    assert deployment.dead_letters() == []
    assert (await deployment.verified()).differences == []
