"""A cancel is heard before its request, during its work, and after its end."""

from contracts.control import CancelWorkflow
from tests.house import RULE, House, until

SLOW = {"text": "Implement a function that counts words."}  # a coder's: the scripted model takes five seconds for it


async def test_a_cancel_that_overtakes_its_request_is_remembered(house: House) -> None:
    await house.listen()
    await house.tell("early-bird", CancelWorkflow.kind, {"by": "ann", "reason": "changed my mind"})
    await until(lambda: heard(house, "early-bird", "hansard.router.cancel-noted.v1"), "the cancel is noted")
    await house.ask(RULE, ids=["early-bird"])
    result = (await house.answered(["early-bird"]))["early-bird"]
    assert (result.kind, result.data["by"]) == ("hansard.results.cancelled.v1", "ann")


async def test_a_cancel_ends_what_is_under_way_and_the_late_answer_is_discarded_with_its_cost(house: House) -> None:
    await house.listen()
    [id_] = await house.ask(SLOW)
    await until(lambda: heard(house, id_, "hansard.gateway.attempt-started.v1"), "a model is asked")
    await house.tell(id_, CancelWorkflow.kind, {"by": "bob"})
    result = (await house.answered([id_]))[id_]
    assert result.kind == "hansard.results.cancelled.v1"
    assert not heard(house, id_, "hansard.gateway.model-replied.v1")
    await until(lambda: heard(house, id_, "hansard.gateway.reply-discarded.v1"), "the late reply is on the record")
    assert not heard(house, id_, "hansard.gateway.model-replied.v1")


async def test_a_cancel_after_the_end_changes_nothing(house: House) -> None:
    [id_] = await house.ask(RULE)
    await house.answered([id_])
    before = await house.rows("select count(*) from messages where workflow = $1", id_)
    await house.tell(id_, CancelWorkflow.kind, {"by": "late"})

    async def both_heard_it() -> bool:
        sql = "select count(*) from inbox where workflow = $1 and kind = $2"
        return await house.rows(sql, id_, CancelWorkflow.kind) == [(2,)]

    await until(both_heard_it, "router and planner heard it")
    await house.at_rest()
    results = [one.kind for one in house.results[id_]]
    assert results == ["hansard.results.completed.v1"]
    after = await house.rows("select count(*) from messages where workflow = $1 and stream = 'router'", id_)
    assert after == before


def heard(house: House, workflow: str, kind: str) -> bool:
    return any(one.workflow == workflow and one.kind == kind for one in house.processed)
