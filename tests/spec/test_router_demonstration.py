"""The reference's ten demonstration requests: path, handler, cost."""

from decimal import Decimal
from typing import Any

import pytest

from contracts.planner import RunPlan
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted
from contracts.router import RequestRouted
from services.router.decider import router
from services.router.policy import Policy
from services.router.statistics import routed_workflows, summary
from tests.decisions import decided

decider = router(Policy())
FREE, MODEL = Decimal(0), Decimal("0.003")

TEN: list[tuple[str, dict[str, Any], str, Decimal, dict[str, Any]]] = [
    ("validate_email", {"email": "user@example.com"}, "deterministic", FREE, {"valid": True}),
    ("calculate_tax", {"amount": 99.99, "tax_rate": 0.0825}, "deterministic", FREE, {"tax": "8.25", "total": "108.24"}),
    ("classify_intent", {"text": "I'm frustrated with the service and want to talk to someone"}, "llm", MODEL, {}),
    (
        "format_currency",
        {"amount": 1234567.89, "currency": "USD"},
        "deterministic",
        FREE,
        {"formatted": "$1,234,567.89"},
    ),
    ("generate_response", {"query": "Explain your refund policy for enterprise customers"}, "llm", MODEL, {}),
    ("check_business_hours", {"hour": 14}, "deterministic", FREE, {"is_business_hours": True, "hour": 14}),
    ("extract_entities", {"text": "Meeting with Google and Microsoft next Tuesday in Seattle"}, "llm", MODEL, {}),
    (
        "route_by_keyword",
        {"text": "I need help with my billing statement"},
        "deterministic",
        FREE,
        {"route": "billing_team", "matched_keyword": "billing"},
    ),
    ("summarize_text", {"text": "A" * 5000}, "llm", MODEL, {}),
    ("validate_email", {"email": "invalid-email"}, "deterministic", FREE, {"valid": False}),
]


@pytest.mark.parametrize(("type_", "data", "path", "cost", "answer"), TEN, ids=[f"{n}-{t[0]}" for n, t in enumerate(TEN, 1)])
def test_each_request_is_routed_as_in_the_reference(
    type_: str, data: dict[str, Any], path: str, cost: Decimal, answer: dict[str, Any]
) -> None:
    routed, answer_or_plan, *_ = decided(decider, [], SubmitRequest(type=type_, data=data))
    assert isinstance(routed, RequestRouted)
    assert (routed.path, routed.handler, routed.cost_estimate) == (path, type_, cost)
    if path == "deterministic":
        assert isinstance(answer_or_plan, WorkflowCompleted)
        assert isinstance(answer_or_plan.data, dict)
        assert answer_or_plan.data.items() >= answer.items()
        assert answer_or_plan.data["method"]
    else:
        assert isinstance(answer_or_plan, RunPlan)


def test_six_of_the_ten_requests_cost_nothing() -> None:
    events = [
        (n, message) for n, ten in enumerate(TEN) for message in decided(decider, [], SubmitRequest(type=ten[0], data=ten[1]))
    ]
    seen = summary(routed_workflows(events))
    assert (seen.total_requests, seen.deterministic, seen.llm_calls) == (10, 6, 4)
    assert (seen.deterministic_pct, seen.total_cost, seen.avg_cost_per_request) == (
        Decimal("60.0"),
        Decimal("0.012"),
        Decimal("0.00120"),
    )
