"""Deadlines, time-outs and retries of a workflow happen in time and once, also when a service is killed meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.catalog import SERVICES
from contracts.planner import ExpireWorkflow, StepRetried
from contracts.specialists import PerformTask
from infra.servers import Servers
from tests.deployment import Deployment
from tests.processes import until
from tests.published import Json, PublishedMessage

WORKERS = {"HANSARD_WORKERS": '["faltering"]'}
WORKER = "tests.e2e.faltering:service"
NO_MODEL = "http://127.0.0.1:1/v1"


def asks(seconds: float = 600, **step: Any) -> Json:
    """A request with a plan of one step for the worker, due in so many seconds."""
    plan = {"name": "times", "steps": [{"id": "only", "worker": "faltering", "verify": "none", **step}]}
    return {"text": "Rain.", "plan": plan, "deadline": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}


async def test_deadlines_timeouts_and_retries_happen_in_time_and_once(servers: Servers) -> None:
    async with Deployment.open(servers, NO_MODEL, **WORKERS) as deployment:
        deployment.serve("planner")
        deployment.serve(*(name for name in SERVICES if name != "planner"), WORKER, key="rest")
        await deployment.ready()
        retried, timed_out, overdue = await deployment.ask(
            asks(), asks(input="never", timeout=1, retries=1), asks(seconds=10, input="never")
        )
        await deployment.listen()
        await until(lambda: bool(published(deployment, retried, StepRetried.kind)), "it waits for its second attempt")
        await deployment.kill("planner/1")
        deployment.restart("planner/1")

        results = await deployment.answered([retried, timed_out, overdue])
        assert (results[retried].kind, results[retried].data["text"]) == ("hansard.results.completed.v1", "Here I am.")
        [again] = published(deployment, retried, StepRetried.kind)
        attempts = [one.data["task"] for one in published(deployment, retried, PerformTask.kind)]
        assert attempts == ["only.1", "only.2"]
        second = published(deployment, retried, PerformTask.kind)[1]
        assert datetime.fromisoformat(second.headers["ce_time"]) >= datetime.fromisoformat(again.data["resume_at"])

        assert results[timed_out].data["detail"] == "step 'only': it was not done within 1 seconds"
        assert [one.data["task"] for one in published(deployment, timed_out, PerformTask.kind)] == ["only.1", "only.2"]

        assert (results[overdue].data["reason"], results[overdue].data["request"]) == ("deadline", overdue)
        await until(
            lambda: bool(published(deployment, overdue, ExpireWorkflow.kind)), "the router has published that it is overdue"
        )
        await deployment.at_rest()
        await deployment.is_whole()
        assert len(published(deployment, overdue, ExpireWorkflow.kind)) == 1
        assert (await deployment.verified()).differences == []


async def test_a_workflow_whose_plan_is_lost_fails_at_its_deadline(servers: Servers) -> None:
    async with Deployment.open(servers, NO_MODEL, **WORKERS) as deployment:
        deployment.serve("router", "tests.chaos.broken:forgetful_planner", WORKER)
        await deployment.ready()
        [lost] = await deployment.ask(asks(seconds=8))
        result = (await deployment.answered([lost]))[lost]
        assert (result.data["reason"], result.data["request"]) == ("deadline", lost)
        assert result.data["detail"].endswith("passed before the plan came")
        await deployment.at_rest()
        await deployment.is_whole()


def published(deployment: Deployment, workflow: str, kind: str) -> list[PublishedMessage]:
    """The messages of this kind, without repeats."""
    return list({one.id: one for one in deployment.published if (one.workflow, one.kind) == (workflow, kind)}.values())
