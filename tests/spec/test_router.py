from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.planner import ExpireWorkflow, RunPlan
from contracts.plans import Plan, Step
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCancelled, WorkflowCompleted, WorkflowFailed, WorkflowRefused
from contracts.router import CancelNoted, RequestRouted
from hansard.decider import CannotProcess, WakeUp
from hansard.message import DeadReason, Message
from services.router import plans
from services.router.app import build
from services.router.decider import router
from services.router.policy import Policy, Prices
from shared.settings import Settings
from tests.told import HERE, NOON, told

policy = Policy(plans=plans.load(plans.SHIPPED))
case = router(policy)


def asked(**fields: Any) -> SubmitRequest:
    return SubmitRequest.model_validate(fields)


def dead(reason: DeadReason, message: type[Message] = SubmitRequest, service: str = "router") -> DeadLettered:
    return DeadLettered(
        service=service,
        reason=reason,
        detail="why",
        attempts=1,
        door=True,
        message_kind=message.kind,
        message_id="req-1",
        causation_id="c",
        topic="requests",
        partition=0,
        offset=7,
        timestamp=0,
        hash="00",
    )


def refusal(message: list[Message]) -> tuple[str, str]:
    (only,) = message
    assert isinstance(only, WorkflowRefused)
    assert only.request == "req-1"
    return only.reason, only.detail


def run(message: list[Message]) -> tuple[RequestRouted, RunPlan]:
    routed, plan = message
    assert isinstance(routed, RequestRouted)
    assert isinstance(plan, RunPlan)
    assert plan.request == "req-1"
    assert case.wake_at(case.fold(message)) == plan.deadline
    assert (routed.path, routed.policy) == ("llm", policy.version)
    return routed, plan


tax = asked(type="calculate_tax", data={"amount": 99.99, "tax_rate": 0.0825})
free = asked(text="Write a poem about rain")
noted = CancelNoted(by="ada", reason="too late")
handed_over = told(case, [], free)
completed = told(case, [], tax)
deadline = NOON + policy.within
expired = ExpireWorkflow(request="req-1", deadline=deadline)


def test_a_rule_answers_what_it_can_at_no_cost() -> None:
    routed, answer = told(case, [], tax)
    assert isinstance(routed, RequestRouted)
    assert isinstance(answer, WorkflowCompleted)
    assert (routed.path, routed.handler, routed.confidence, routed.cost_estimate, routed.policy) == (
        "deterministic",
        "calculate_tax",
        1.0,
        Decimal(0),
        policy.version,
    )
    assert (answer.request, answer.handler, answer.confidence) == ("req-1", "calculate_tax", 1.0)
    assert answer.answered_by == "rule"
    assert not answer.cost
    assert answer.text == "Subtotal 99.99 USD, tax 8.25, total 108.24."
    assert answer.data == {
        "subtotal": "99.99",
        "tax": "8.25",
        "total": "108.24",
        "tax_rate": "0.0825",
        "currency": "USD",
        "method": "arithmetic",
    }


def test_data_that_a_rule_cannot_use_is_refused_by_the_name_of_its_field() -> None:
    reason, detail = refusal(told(case, [], asked(type="calculate_tax", data={"amount": "ten"})))
    assert (reason, detail.split(":")[:2]) == ("invalid", ["calculate_tax", " amount"])


def test_a_type_that_is_about_meaning_goes_to_a_model() -> None:
    routed, plan = run(told(case, [], asked(type="classify_intent", data={"text": "I want out", "labels": ["stay", "leave"]})))
    assert (routed.handler, routed.confidence, routed.cost_estimate) == ("classify_intent", 0.9, Decimal("0.003"))
    (step,) = plan.plan.steps
    assert "I want out" in plan.goal
    assert isinstance(step.input, dict)
    assert step.input["labels"] == ["stay", "leave"]
    assert "intent" in str(step.input["response_schema"])


def test_a_question_reaches_the_model_word_for_word() -> None:
    _, plan = run(told(case, [], asked(type="generate_response", data={"query": "What is your refund policy"})))
    assert plan.goal == "What is your refund policy"
    assert plan.plan.steps[0].input is None, "and only once"


def test_no_model_is_paid_for_an_empty_question() -> None:
    reason, detail = refusal(told(case, [], asked(type="summarize_text", data={"text": "  "})))
    assert (reason, detail.split(":")[:2]) == ("invalid", ["summarize_text", " text"])


def test_an_unknown_type_is_tried_by_a_model_and_says_that_it_guesses() -> None:
    routed, plan = run(told(case, [], asked(type="validate-email", data={"email": "a@b.example"})))
    assert (routed.handler, routed.confidence, routed.cost_estimate) == ("generate_response", 0.6, Decimal("0.005"))
    assert "'validate-email'" in plan.goal
    assert "a@b.example" in plan.goal


def test_free_text_never_reaches_a_typed_handler() -> None:
    routed, plan = run(told(case, [], asked(text="calculate_tax")))
    assert (routed.confidence, routed.agents) == (0.6, ("research",))
    assert plan.goal == "calculate_tax"


def test_words_choose_the_agents_and_their_architecture() -> None:
    text = "Research the latest trends in vector databases and write a summary report"
    routed, plan = run(told(case, [], asked(text=text)))
    assert (routed.architecture, routed.agents, routed.confidence) == ("fan-out", ("research", "analyst", "writer"), 0.9)
    assert routed.cost_estimate == Decimal("0.009")
    assert {step.id: step.needs for step in plan.plan.steps} == {
        "research": (),
        "analyst": (),
        "writer": ("research", "analyst"),
    }


def test_a_near_deadline_or_a_budget_is_a_reason_to_avoid_an_agent() -> None:
    later = router(replace(policy, runs=policy.runs | {"agent"}))

    def architecture(**fields: Any) -> str:
        routed, *_ = told(later, [], asked(text="Explore this", **fields))
        assert isinstance(routed, RequestRouted)
        return routed.architecture

    assert architecture() == architecture(deadline=NOON + policy.hurry) == "agent"
    assert architecture(budget="0.05") == architecture(deadline=NOON + policy.hurry / 2) == "specialist"


def test_measured_prices_take_the_place_of_the_expected_ones() -> None:
    measured = router(replace(policy, prices=Prices(measured={"classify_intent": Decimal("0.0007")})))
    routed, *_ = told(measured, [], asked(type="classify_intent", data={"text": "hello"}))
    assert isinstance(routed, RequestRouted)
    assert routed.cost_estimate == Decimal("0.0007")


def test_a_named_plan_is_run() -> None:
    routed, plan = run(told(case, [], asked(text="Rain", plan="content-pipeline")))
    assert plan.plan == policy.plans["content-pipeline"]
    assert (routed.handler, routed.architecture, routed.confidence) == ("content-pipeline", "pipeline", 1.0)


def test_a_plan_that_nobody_named_is_refused() -> None:
    reason, detail = refusal(told(case, [], asked(text="Rain", plan="nowhere")))
    assert reason == "unknown-plan"
    assert "content-pipeline" in detail


def test_a_plan_of_the_callers_own_is_run_as_it_is() -> None:
    own = Plan(name="mine", steps=(Step(id="only", worker="anybody"),))
    routed, plan = run(told(case, [], asked(text="Rain", plan=own.model_dump())))
    assert (plan.plan, routed.handler) == (own, "mine")


def test_the_callers_choice_wins_over_a_rule() -> None:
    run(told(case, [], asked(type="validate_email", data={"email": "a@b.example"}, plan="specialist")))
    run(told(case, [], asked(type="validate_email", data={"email": "a@b.example"}, architecture="specialist")))


def test_the_callers_choice_wins_over_the_words() -> None:
    text = "Research this, analyze the data, draft it"
    routed, plan = run(told(case, [], asked(text=text, architecture="pipeline")))
    assert routed.architecture == "pipeline"
    assert [step.needs for step in plan.plan.steps] == [(), ("research",), ("analyst",)]
    routed, _ = run(told(case, [], asked(text=text, architecture="specialist")))
    assert routed.agents == ("analyst",), "the agent that most words name"


@pytest.mark.parametrize(("architecture", "plan"), [("pipeline", "content-pipeline"), ("fan-out", "parallel-analysis")])
def test_an_architecture_for_which_the_words_name_too_few_agents_is_the_shipped_example(architecture: str, plan: str) -> None:
    routed, _ = run(told(case, [], asked(text="Rain", architecture=architecture)))
    assert (routed.handler, routed.architecture) == (plan, architecture)


@pytest.mark.parametrize("architecture", ["rag", "human", "agent", "event-driven", "hierarchical", "debate", "plan-and-execute"])
def test_an_architecture_that_nothing_runs_is_refused_and_never_pretended(architecture: str) -> None:
    reason, detail = refusal(told(case, [], asked(text="Rain", architecture=architecture)))
    assert reason == "unsupported"
    assert "fan-out, hybrid, pipeline, specialist" in detail


def test_hybrid_is_the_routers_own_choice() -> None:
    assert told(case, [], asked(type="calculate_tax", data=tax.data, architecture="hybrid")) == completed


def test_a_request_without_a_deadline_gets_one() -> None:
    _, plan = run(told(case, [], free))
    assert plan.deadline == NOON + policy.within


def test_the_callers_deadline_and_budget_go_along() -> None:
    until = NOON + timedelta(seconds=30)
    _, plan = run(told(case, [], asked(text="Rain", deadline=until, budget="0.01")))
    assert (plan.deadline, plan.budget) == (until, Decimal("0.01"))


@pytest.mark.parametrize("fields", [{"text": "Rain"}, tax.model_dump(include={"type", "data"})])
def test_what_comes_after_its_deadline_is_refused(fields: dict[str, Any]) -> None:
    assert refusal(told(case, [], asked(deadline=NOON, **fields)))[0] == "past-deadline"
    assert len(told(case, [], asked(deadline=NOON + timedelta(microseconds=1), **fields))) > 1


def test_a_deadline_beyond_a_year_is_refused() -> None:
    assert refusal(told(case, [], asked(text="Rain", deadline="9999-12-31T23:59:59Z")))[0] == "invalid"


def woken(given: list[Message], after: timedelta = policy.within) -> list[Message]:
    return told(case, given, WakeUp(), replace(HERE, at=NOON + after))


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=3)])
def test_at_the_deadline_of_what_it_handed_over_it_tells_the_planner_once(late: timedelta) -> None:
    assert woken(handed_over, policy.within + late) == [expired]
    assert woken([*handed_over, expired], policy.within + late) == []


def test_before_the_deadline_it_tells_nobody() -> None:
    assert woken(handed_over, policy.within - timedelta(microseconds=1)) == []


@pytest.mark.parametrize("given", [[], completed, [noted], [*handed_over, expired]], ids=len)
def test_only_what_was_handed_over_wakes(given: list[Message]) -> None:
    assert case.wake_at(case.fold(given)) is None
    assert woken(given) == []


@pytest.mark.parametrize("given", [handed_over, completed, [*handed_over, expired]], ids=["handed over", "answered", "expired"])
def test_a_second_request_on_a_workflow_is_turned_away(given: list[Message]) -> None:
    with pytest.raises(CannotProcess) as away:
        told(case, given, free)
    assert away.value.reason == "correlation-in-use"


def test_a_cancel_that_overtakes_its_request_is_remembered() -> None:
    assert told(case, [], CancelWorkflow(by="ada", reason="too late")) == [noted]
    assert told(case, [noted], tax) == [WorkflowCancelled(request="req-1", by="ada", detail="too late")]


def test_a_second_cancel_adds_nothing() -> None:
    assert told(case, [noted], CancelWorkflow(by="bob")) == []


def test_a_cancelled_workflow_takes_no_further_request() -> None:
    with pytest.raises(CannotProcess):
        told(case, [noted, *told(case, [noted], tax)], free)


@pytest.mark.parametrize("given", [handed_over, completed], ids=["handed over", "answered"])
def test_after_the_hand_over_a_cancel_is_the_planners(given: list[Message]) -> None:
    assert told(case, given, CancelWorkflow(by="ada")) == []


@pytest.mark.parametrize("given", [[], [noted]], ids=["unasked", "cancelled ahead"])
@pytest.mark.parametrize("reason", ["poison", "crashed"])
def test_a_request_that_could_not_be_decided_fails(given: list[Message], reason: DeadReason) -> None:
    assert told(case, given, dead(reason)) == [WorkflowFailed(request="req-1", reason="dead-letter", detail=f"{reason}: why")]


@pytest.mark.parametrize(
    ("reason", "told_as"),
    [("invalid", "invalid"), ("unreadable", "invalid"), ("refused-by-store", "invalid"), ("too-large", "too-large")],
)
def test_a_request_that_could_not_be_read_is_refused(reason: DeadReason, told_as: str) -> None:
    assert refusal(told(case, [], dead(reason))) == (told_as, "why")


@pytest.mark.parametrize("reason", ["correlation-in-use", "id-reused", "not-expected", "unknown-kind"])
def test_a_claim_on_a_workflow_never_ends_it(reason: DeadReason) -> None:
    assert told(case, [], dead(reason)) == []
    assert told(case, [noted], dead(reason)) == []


def test_a_dead_letter_of_something_else_ends_nothing() -> None:
    assert told(case, [], dead("unreadable").model_copy(update={"message_id": ""})) == []
    assert told(case, [], dead("poison", CancelWorkflow)) == []
    assert told(case, [], dead("poison", service="planner")) == []


@pytest.mark.parametrize("given", [handed_over, completed], ids=["handed over", "answered"])
def test_a_dead_letter_after_the_hand_over_is_the_planners(given: list[Message]) -> None:
    assert told(case, given, dead("poison")) == []


def test_another_policy_has_another_version() -> None:
    assert policy.version == Policy(plans=plans.load(plans.SHIPPED)).version
    for other in (Policy(), replace(policy, within=timedelta(1)), replace(policy, prices=Prices(known=Decimal(1)))):
        assert other.version != policy.version


def test_the_service_hears_only_the_dead_letters_that_are_its_own_to_answer() -> None:
    service = build(Settings())
    assert service.stream(tax) == service.stream(CancelWorkflow()) == service.stream(dead("poison")) == "router"
    assert service.stream(dead("poison", service="planner")) is None
    assert service.stream(dead("correlation-in-use")) is None
    assert service.stream(handed_over[1]) is None
