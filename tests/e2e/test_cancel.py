"""A cancel arrives before its request, while it is worked on, and after its end."""

from contracts.control import CancelWorkflow
from tests.deployment import RULE, Deployment
from tests.processes import until

SLOW = {"text": "Implement a function that counts words."}  # for a coder: the scripted model takes five seconds for it


async def test_a_cancel_that_overtakes_its_request_is_remembered(deployment: Deployment) -> None:
    await deployment.listen()
    await deployment.publish("early-bird", CancelWorkflow.kind, {"by": "ann", "reason": "changed my mind"})
    await until(lambda: published(deployment, "early-bird", "hansard.router.cancel-noted.v1"), "the cancel is stored")
    await deployment.ask(RULE, ids=["early-bird"])
    result = (await deployment.answered(["early-bird"]))["early-bird"]
    assert (result.kind, result.data["by"]) == ("hansard.results.cancelled.v1", "ann")


async def test_a_cancel_ends_what_is_under_way_and_the_late_answer_is_discarded_with_its_cost(deployment: Deployment) -> None:
    await deployment.listen()
    [id_] = await deployment.ask(SLOW)
    await until(lambda: published(deployment, id_, "hansard.gateway.attempt-started.v1"), "a model is called")
    await deployment.publish(id_, CancelWorkflow.kind, {"by": "bob"})
    result = (await deployment.answered([id_]))[id_]
    assert result.kind == "hansard.results.cancelled.v1"
    assert not published(deployment, id_, "hansard.gateway.model-replied.v1")
    await until(lambda: published(deployment, id_, "hansard.gateway.reply-discarded.v1"), "the late reply is on the record")
    assert not published(deployment, id_, "hansard.gateway.model-replied.v1")


async def test_a_cancel_after_the_end_changes_nothing(deployment: Deployment) -> None:
    [id_] = await deployment.ask(RULE)
    await deployment.answered([id_])
    before = await deployment.rows("select count(*) from messages where workflow = $1", id_)
    await deployment.publish(id_, CancelWorkflow.kind, {"by": "late"})

    async def both_processed_it() -> bool:
        sql = "select count(*) from inbox where workflow = $1 and kind = $2"
        return await deployment.rows(sql, id_, CancelWorkflow.kind) == [(2,)]

    await until(both_processed_it, "router and planner have processed it")
    await deployment.at_rest()
    results = [one.kind for one in deployment.results[id_]]
    assert results == ["hansard.results.completed.v1"]
    after = await deployment.rows("select count(*) from messages where workflow = $1 and stream = 'router'", id_)
    assert after == before


def published(deployment: Deployment, workflow: str, kind: str) -> bool:
    return any(one.workflow == workflow and one.kind == kind for one in deployment.published)
