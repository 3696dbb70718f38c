"""Requests are published on `requests` and answered on `results`, through five processes."""

from tests.deployment import QUESTION, RULE, Deployment


async def test_a_rule_answers_at_once_and_a_plan_answers_through_all_services(deployment: Deployment) -> None:
    rule, plan = await deployment.ask(RULE, QUESTION)
    results = await deployment.answered([rule, plan])
    assert (results[rule].kind, results[rule].data["answered_by"]) == ("hansard.results.completed.v1", "rule")
    assert results[plan].kind == "hansard.results.completed.v1"
    assert results[plan].data["text"].startswith("Scripted answer to: ")
    answered_by = {stream.service for stream in await (await deployment.store()).load_workflow("default", plan)}
    assert answered_by == {"router", "planner", "specialists", "gateway", "verifier"}
