"""The ledger on a real store and a real Kafka: the approved bytes run, once, and nothing else does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from contracts.approval import ActionApproved
from contracts.dead_letters import DeadLettered
from contracts.ledger import Entry, PostingStarted
from hansard.actions import Action, Approval, action_bytes, action_reference
from hansard.tasks import CancelTask, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from infra.servers import Servers
from services.ledger import book
from shared.content import Contents
from tests.as_service import put_on_record, stored_as_now
from tests.deployment import Deployment, connected
from tests.processes import LONG, until
from tests.published import Json

NOWHERE = "http://127.0.0.1:1/v1"
DYING = "tests.chaos.broken:dying_ledger"
ENDS = "select kind, data::text from messages where workflow = $1 and topic = 'ledger.events' and kind = any($2::text[])"
INTENTS = "select data->>'attempt', data->>'key' from messages where workflow = $1 and kind = $2 order by version"
TAMPER = "update content set data = $1 where sha256 = $2 returning octet_length(data)"


@pytest.fixture
async def deployment(servers: Servers) -> AsyncIterator[Deployment]:
    async with Deployment.open(servers, NOWHERE, HANSARD_LEASE_SECONDS="1") as deployment:
        yield deployment


async def approved(deployment: Deployment, amount: str = "2500.00") -> Approval:
    """A decision on the record, for an action whose bytes are in the content store. Its workflow has its name."""
    action = Action(tool="ledger", about="Refund the outage", amount=Decimal(amount), recipient=f"acct-{uuid4().hex[:6]}")
    data = action_bytes(action)
    reference = action_reference(data)
    await Contents((await deployment.store()).contents).put("default", reference, data)
    made = {"sha256": reference.sha256, "action": data.decode(), "action_ref": reference, "status": "human_approved"}
    decided = ActionApproved(action_id="pay.1", by=("alice",), policy="1", **made)
    decision = str(uuid4())
    stored = replace(stored_as_now(decided, "approval.events", decision, "approval/pay.1"), id=UUID(decision))
    async with connected(deployment.owner, deployment.settings.postgres_schema) as connection:
        await put_on_record(connection, [stored])
    return Approval(action=reference, decision=decision, status="human_approved", by=("alice",), policy="1", at=stored.at)


async def command(deployment: Deployment, *tasks: PerformTask, workflow: str = "") -> list[tuple[str, str]]:
    """Gives these to the ledger, each in the workflow of its decision unless another is named; returns the workflow and task."""
    given = [(workflow or (task.approval.decision if task.approval else str(uuid4())), task) for task in tasks]
    for place, task in given:
        await given_in(deployment, place, task)
    return [(place, task.task) for place, task in given]


async def given_in(deployment: Deployment, workflow: str, message: PerformTask | CancelTask) -> None:
    """Gives the ledger a command in this workflow."""
    stored = stored_as_now(message, "ledger.commands", workflow, stream=f"planner/{uuid4().hex}")
    async with connected(deployment.owner, deployment.settings.postgres_schema) as connection:
        await put_on_record(connection, [stored])
    await deployment.publish_stored(stored)


def task(approval: Approval | None, name: str = "pay.1") -> PerformTask:
    deadline = datetime.now(UTC) + timedelta(minutes=5)
    return PerformTask(task=name, service="ledger", role="ledger", goal="Refund", deadline=deadline, approval=approval)


async def ended(deployment: Deployment, *tasks: tuple[str, str]) -> list[TaskAnswered | TaskFailed | TaskCancelled]:
    """How these tasks of the ledger ended."""
    kinds = {kind.kind: kind for kind in (TaskAnswered, TaskFailed, TaskCancelled)}
    found: dict[tuple[str, str], TaskAnswered | TaskFailed | TaskCancelled] = {}

    async def all_ended() -> bool:
        for workflow in {workflow for workflow, _ in tasks}:
            for kind, data in await deployment.rows(ENDS, workflow, list(kinds)):
                end = kinds[kind].model_validate_json(data)
                found[workflow, end.task] = end
        return set(tasks) <= found.keys()

    await until(all_ended, lambda: f"{len(found)} of {len(tasks)} tasks ended", LONG)
    return [found[task] for task in tasks]


def entries(deployment: Deployment) -> list[Entry]:
    return book.entries(deployment.settings.ledger_file)


async def test_the_approved_bytes_run_once_whatever_is_repeated(deployment: Deployment) -> None:
    deployment.serve("ledger")
    await deployment.ready()
    approval = await approved(deployment)
    again = [task(approval, f"pay.{n}") for n in range(1, 4)]
    answers = await ended(deployment, *await command(deployment, *again))
    [entry] = entries(deployment)
    assert (entry.decision, entry.sha256, str(entry.amount)) == (approval.decision, approval.action.sha256, "2500.00")
    for answer in answers:
        assert isinstance(answer, TaskAnswered) and answer.data == entry.model_dump(mode="json")
    report = await deployment.verified()
    ours = [one for one in report.differences if one.stream.service == "ledger"]  # the tasks are a test's: no service's stream
    assert report.outcomes == 3 and ours == []


async def test_other_bytes_under_the_approved_hash_are_refused(deployment: Deployment) -> None:
    approval = await approved(deployment)
    other = action_bytes(Action(tool="ledger", about="Refund the outage", amount=Decimal(999_999), recipient="acct-666"))
    changed = await deployment.rows(TAMPER, other, bytes.fromhex(approval.action.sha256))
    assert changed == [(len(other),)], "the owner of the tables has put other bytes there"
    deployment.serve("ledger")
    await deployment.ready()
    without = approval.model_copy(update={"action": action_reference(other)})
    tampered, unknown, unapproved = await ended(
        deployment, *await command(deployment, task(approval), task(without, "pay.2"), task(None))
    )
    for failed, why in ((tampered, "not there"), (unknown, "for other bytes"), (unapproved, "no approval")):
        assert isinstance(failed, TaskFailed) and why in failed.detail, failed
    assert entries(deployment) == []


async def test_a_decision_that_nobody_made_and_one_of_another_workflow_run_nothing(deployment: Deployment) -> None:
    approval = await approved(deployment)
    deployment.serve("ledger")
    await deployment.ready()
    invented = task(approval.model_copy(update={"decision": str(uuid4())}))
    elsewhere = await command(deployment, task(approval), workflow=str(uuid4()))
    made_up, of_another = await ended(deployment, *await command(deployment, invented), *elsewhere)
    for failed, why in ((made_up, "is on the record"), (of_another, "in another workflow")):
        assert isinstance(failed, TaskFailed) and failed.final and why in failed.detail, failed
    assert entries(deployment) == []


async def test_a_task_that_another_service_than_the_planner_stored_is_not_carried_out(deployment: Deployment) -> None:
    approval = await approved(deployment)
    deployment.serve("ledger")
    await deployment.ready()
    stored = stored_as_now(task(approval), "ledger.commands", approval.decision, "specialists/draft.1")
    async with connected(deployment.owner, deployment.settings.postgres_schema) as connection:
        await put_on_record(connection, [stored])
    await deployment.publish_stored(stored)
    letters = "select data->>'reason' from messages where kind = $1"

    async def is_filed() -> bool:
        return await deployment.rows(letters, DeadLettered.kind) == [("not-on-the-record",)]

    await until(is_filed, "a dead letter is about it")
    assert entries(deployment) == []


@pytest.mark.parametrize("early", [False, True], ids=["after the entry", "before the entry"])
async def test_a_process_that_is_killed_around_the_effect_leaves_one_entry(deployment: Deployment, early: bool) -> None:
    if early:
        (deployment.folder / "early").touch()
    approval = await approved(deployment)
    dying = deployment.serve(DYING, key="dying")
    await deployment.ready()
    [(workflow, name)] = await command(deployment, task(approval))
    await until(lambda: not dying.alive, "the process is killed at its first attempt")
    assert len(entries(deployment)) == (0 if early else 1)
    effects = await deployment.hansard("effects", "--json")
    assert approval.decision in effects, "an effect without an outcome is listed"

    deployment.serve("ledger", key="again")
    [answer] = await ended(deployment, (workflow, name))
    [entry] = entries(deployment)
    assert isinstance(answer, TaskAnswered) and answer.data == entry.model_dump(mode="json")
    intents = await deployment.rows(INTENTS, workflow, PostingStarted.kind)
    assert intents == [("1", approval.decision), ("2", approval.decision)]


async def test_a_cancelled_task_does_not_run(deployment: Deployment) -> None:
    approval = await approved(deployment)
    deployment.serve("ledger")
    await deployment.ready()
    cancel = CancelTask(task="pay.1", service="ledger")
    await given_in(deployment, approval.decision, cancel)
    [cancelled] = await ended(deployment, (approval.decision, "pay.1"))
    assert isinstance(cancelled, TaskCancelled)
    await command(deployment, task(approval))
    await processed(deployment, approval.decision, 2)
    await ended(deployment, *await command(deployment, task(await approved(deployment, "1"))))
    assert [str(entry.amount) for entry in entries(deployment)] == ["1"]


async def processed(deployment: Deployment, workflow: str, count: int) -> None:
    """Waits until the ledger has received so many messages of this workflow."""
    entry = "select count(*) from inbox where workflow = $1"

    async def all_processed() -> bool:
        return await deployment.rows(entry, workflow) == [(count,)]

    await until(all_processed, "the ledger has received them")


async def test_two_processes_make_one_entry_for_each_of_many_decisions(deployment: Deployment) -> None:
    for instance in ("1", "2"):
        deployment.serve("ledger", instance=instance)
    await deployment.ready()
    approvals = await asyncio.gather(*(approved(deployment, str(n)) for n in range(1, 31)))
    tasks = [task(approval, f"pay.{n}") for approval in approvals for n in (1, 2)]
    await ended(deployment, *await command(deployment, *tasks))
    found: Json = {}
    for entry in entries(deployment):
        found[entry.decision] = found.get(entry.decision, 0) + 1
    assert found == {approval.decision: 1 for approval in approvals}
