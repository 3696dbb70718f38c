"""Requests go in at `requests` and come out at `results`, through five processes."""

from tests.house import QUESTION, RULE, House


async def test_a_rule_answers_at_once_and_a_plan_answers_through_all_services(house: House) -> None:
    rule, plan = await house.ask(RULE, QUESTION)
    results = await house.answered([rule, plan])
    assert (results[rule].kind, results[rule].data["answered_by"]) == ("hansard.results.completed.v1", "rule")
    assert results[plan].kind == "hansard.results.completed.v1"
    assert results[plan].data["text"].startswith("Scripted answer to: ")
    spoke = {stream.service for stream in await (await house.store()).load_workflow("default", plan)}
    assert spoke == {"router", "planner", "specialists", "gateway", "verifier"}
