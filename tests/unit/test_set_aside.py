"""A stream whose history this code cannot fold is set aside alone: rule 10 of the record.

What it receives becomes dead letters, its workflow ends, its neighbours are served, and `doctor` lists it.
"""

from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any
from uuid import UUID

from structlog.testing import capture_logs

from contracts.catalog import Topics
from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import RunPlan
from contracts.plans import Plan, Step
from contracts.results import WorkflowFailed
from hansard.codec import decode
from hansard.message import Message
from infra.audit.set_aside import streams_set_aside
from services.planner.app import build as build_planner
from services.router.decider import set_aside as router_set_aside
from shared.eventstore.memory import InMemoryEventStore
from shared.kafka.record import Record
from shared.settings import Settings
from tests.unit.test_broken_services import STREAM, Process, a_service, counted
from tests.unit.toy import NOON, request, routed

LATER = NOON + timedelta(hours=1)


def of_today(state: int, message: Message) -> int:
    if message == routed("old"):
        raise ZeroDivisionError("this code does not know it")
    return state + 1


async def test_a_stream_whose_history_cannot_be_folded_is_set_aside_alone() -> None:
    store = InMemoryEventStore(lambda: NOON)
    await Process(a_service(), store).process(request("old", id="1"))
    process = Process(a_service(evolve=of_today), store)
    with capture_logs() as logs:
        await process.process(request("a", id="2"), request("b", id="3"), request("good", id="4", workflow="w2"))
        await process.process(request("c", id="5"))
    dead = "set-aside: ZeroDivisionError: this code does not know it"
    assert await process.stored() == ["old", dead, dead, dead]
    assert await process.stored(STREAM._replace(workflow="w2")) == ["good"]
    assert [line["stream"] for line in logs if line["log_level"] == "error"] == [str(STREAM)]
    mended = Process(a_service(counted), store)
    await mended.process(request("d", id="6"))
    assert (await mended.stored())[-1] == "d 4"


async def test_a_stream_with_a_message_that_this_code_cannot_read_is_set_aside_alone() -> None:
    store = InMemoryEventStore(lambda: NOON)
    await Process(a_service(), store).process(request("old", id="1"))
    store._messages[STREAM][0].kind = "hansard.router.of-a-later-version.v1"
    process = Process(a_service(), store)
    await process.process(request("a", id="2"), request("good", id="3", workflow="w2"))
    last = store._messages[STREAM][-1]
    assert b"set-aside" in last.data
    assert b"KeyError: 'hansard.router.of-a-later-version.v1'" in last.data
    assert await process.stored(STREAM._replace(workflow="w2")) == ["good"]


async def test_the_wake_up_of_a_stream_that_is_set_aside_comes_once() -> None:
    store = InMemoryEventStore(lambda: NOON)
    await Process(a_service(wake_at=lambda state: NOON if state else None), store).process(request("old", id="1"))
    process = Process(a_service(evolve=of_today, wake_at=lambda state: NOON if state else None), store)
    claimed, _ = await store.claim_wake_ups("router", 10, 30)
    await process.loop.process_wake_ups(claimed)
    assert len(await process.stored()) == 2
    assert await store.claim_wake_ups("router", 10, 30) == ([], inf)


async def test_a_workflow_whose_plan_cannot_be_folded_ends_once_and_is_listed_until_it_is_redriven() -> None:
    """The planner alone answers for it: if it said nothing, whoever asked would wait for ever."""
    store, plans = InMemoryEventStore(lambda: NOON), Topics()
    able = replace(build_planner(Settings()), prepare=None)
    await Process(able, store, plans).process(plan_to_run())

    unable = replace(able, decider=replace(able.decider, evolve=of_an_older_version))
    process = Process(unable, store, plans)
    stream = STREAM._replace(name="planner")
    for n in (2, 3):
        await process.process(cancel(n))
    kinds = [stored.kind for stored in (await store.load([stream]))[stream].messages]
    assert kinds.count(WorkflowFailed.kind) == 1
    assert kinds.count(DeadLettered.kind) == 2
    [result] = await store.read_last([WorkflowFailed.kind], 100)
    assert decode(WorkflowFailed, result.data).request == "r"
    assert process.loop.set_aside.keys() == {stream}
    assert [stream for stream, _ in await streams_set_aside(store, plans)] == [stream]


async def test_a_request_to_a_workflow_that_the_router_cannot_fold_is_answered() -> None:
    store = InMemoryEventStore(lambda: NOON)
    await Process(a_service(), store).process(request("old", id="1"))
    unable = a_service(evolve=of_today)
    answering = replace(unable, set_aside=router_set_aside)
    await Process(answering, store).process(request("a", id="2"))
    assert [decode(WorkflowFailed, stored.data).request for stored in await store.read_last([WorkflowFailed.kind], 9)] == ["2"]


async def test_a_set_aside_that_raises_costs_no_dead_letter() -> None:
    store = InMemoryEventStore(lambda: NOON)
    await Process(a_service(), store).process(request("old", id="1"))
    process = Process(replace(a_service(evolve=of_today), set_aside=lambda *_: 1 / 0), store)  # type: ignore[arg-type]
    await process.process(request("a", id="2"))
    assert len(await process.stored()) == 2


def of_an_older_version(_: Any, message: Message) -> Any:
    raise ZeroDivisionError("this code does not know it")


def plan_to_run() -> Record:
    asked = RunPlan(request="r", goal="Rain.", plan=Plan(name="p", steps=(Step(id="a", worker="writer"),)), deadline=LATER)
    found = request(id=str(UUID(int=1)), ce_type=RunPlan.kind, body=asked.model_dump_json().encode())
    return found._replace(topic="planner.commands")


def cancel(n: int) -> Record:
    return request(id=f"c{n}", ce_type=CancelWorkflow.kind, body=b"{}", offset=n)._replace(topic="control")
