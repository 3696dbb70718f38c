"""Deadlines, time-outs and retries of a workflow are its own, and come once, whoever is killed meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.catalog import SERVICES
from contracts.planner import ExpireWorkflow, StepRetried
from contracts.specialists import PerformTask
from infra.servers import Servers
from tests.house import House, Json, StoredMessage, until

WORKERS = {"HANSARD_WORKERS": '["faltering"]'}
WORKER = "tests.e2e.faltering:service"
NO_MODEL = "http://127.0.0.1:1/v1"


def asks(seconds: float = 600, **step: Any) -> Json:
    """A plan of one step for the worker, with so many seconds until its deadline."""
    plan = {"name": "times", "steps": [{"id": "only", "worker": "faltering", "verify": "none", **step}]}
    return {"text": "Rain.", "plan": plan, "deadline": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}


async def test_deadlines_timeouts_and_retries_come_in_their_time_and_once(servers: Servers) -> None:
    async with House.open(servers, NO_MODEL, **WORKERS) as house:
        house.serve("planner")
        house.serve(*(name for name in SERVICES if name != "planner"), WORKER, key="rest")
        await house.ready()
        retried, timed_out, overdue = await house.ask(
            asks(), asks(input="never", timeout=1, retries=1), asks(seconds=10, input="never")
        )
        await house.listen()
        await until(lambda: bool(said(house, retried, StepRetried.kind)), "it waits for another attempt")
        await house.kill("planner/1")
        house.again("planner/1")

        results = await house.answered([retried, timed_out, overdue])
        assert (results[retried].kind, results[retried].data["text"]) == ("hansard.results.completed.v1", "Here I am.")
        [again] = said(house, retried, StepRetried.kind)
        attempts = [one.data["task"] for one in said(house, retried, PerformTask.kind)]
        assert attempts == ["only.1", "only.2"]
        second = said(house, retried, PerformTask.kind)[1]
        assert datetime.fromisoformat(second.headers["ce_time"]) >= datetime.fromisoformat(again.data["resume_at"])

        assert results[timed_out].data["detail"] == "step 'only': it was not done within 1 seconds"
        assert [one.data["task"] for one in said(house, timed_out, PerformTask.kind)] == ["only.1", "only.2"]

        assert (results[overdue].data["reason"], results[overdue].data["request"]) == ("deadline", overdue)
        await until(lambda: bool(said(house, overdue, ExpireWorkflow.kind)), "the router says that it is overdue")
        await house.at_rest()
        await house.is_whole()
        assert len(said(house, overdue, ExpireWorkflow.kind)) == 1
        assert (await house.verified()).differences == []


async def test_a_plan_that_is_lost_ends_at_its_deadline_under_its_own_request(servers: Servers) -> None:
    async with House.open(servers, NO_MODEL, **WORKERS) as house:
        house.serve("router", "tests.chaos.broken:forgetful_planner", WORKER)
        await house.ready()
        [lost] = await house.ask(asks(seconds=8))
        result = (await house.answered([lost]))[lost]
        assert (result.data["reason"], result.data["request"]) == ("deadline", lost)
        assert result.data["detail"].endswith("passed before the plan came")
        await house.at_rest()
        await house.is_whole()


def said(house: House, workflow: str, kind: str) -> list[StoredMessage]:
    """What was said of this kind, each once."""
    return list({one.id: one for one in house.processed if (one.workflow, one.kind) == (workflow, kind)}.values())
