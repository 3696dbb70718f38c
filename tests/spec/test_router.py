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
from tests.decisions import HERE, NOON, decided

policy = Policy(plans=plans.load(plans.SHIPPED))
decider = router(policy)


def asked(**fields: Any) -> SubmitRequest:
    return SubmitRequest.model_validate(fields)


def dead(reason: DeadReason, kind: type[Message] = SubmitRequest, service: str = "router") -> DeadLettered:
    return DeadLettered(
        service=service,
        reason=reason,
        detail="why",
        attempts=1,
        door=True,
        message_kind=kind.kind,
        message_id="req-1",
        causation_id="c",
        topic="requests",
        partition=0,
        offset=7,
        timestamp=0,
        hash="00",
    )


def refusal(messages: list[Message]) -> tuple[str, str]:
    (refused,) = messages
    assert isinstance(refused, WorkflowRefused)
    assert refused.request == "req-1"
    return refused.reason, refused.detail


def run(messages: list[Message]) -> tuple[RequestRouted, RunPlan]:
    routed, plan = messages
    assert isinstance(routed, RequestRouted)
    assert isinstance(plan, RunPlan)
    assert plan.request == "req-1"
    assert decider.wake_at(decider.fold(messages)) == plan.deadline
    assert (routed.path, routed.policy) == ("llm", policy.version)
    return routed, plan


tax = asked(type="calculate_tax", data={"amount": 99.99, "tax_rate": 0.0825})
free = asked(text="Write a poem about rain")
noted = CancelNoted(by="ada", reason="too late")
handed_over = decided(decider, [], free)
completed = decided(decider, [], tax)
deadline = NOON + policy.within
expired = ExpireWorkflow(request="req-1", deadline=deadline)


def test_a_rule_answers_what_it_can_at_no_cost() -> None:
    routed, answer = decided(decider, [], tax)
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


def test_data_that_does_not_fit_a_rule_is_refused_with_the_name_of_the_field() -> None:
    reason, detail = refusal(decided(decider, [], asked(type="calculate_tax", data={"amount": "ten"})))
    assert (reason, detail.split(":")[:2]) == ("invalid", ["calculate_tax", " amount"])


def test_a_type_that_needs_a_model_is_run_as_a_plan() -> None:
    routed, plan = run(
        decided(decider, [], asked(type="classify_intent", data={"text": "I want out", "labels": ["stay", "leave"]}))
    )
    assert (routed.handler, routed.confidence, routed.cost_estimate) == ("classify_intent", 0.9, Decimal("0.003"))
    (step,) = plan.plan.steps
    assert "I want out" in plan.goal
    assert isinstance(step.input, dict)
    assert step.input["labels"] == ["stay", "leave"]
    assert "intent" in str(step.input["response_schema"])


def test_a_question_reaches_the_model_word_for_word() -> None:
    _, plan = run(decided(decider, [], asked(type="generate_response", data={"query": "What is your refund policy"})))
    assert plan.goal == "What is your refund policy"
    assert plan.plan.steps[0].input is None, "the question is not given twice"


def test_no_model_is_paid_for_an_empty_question() -> None:
    reason, detail = refusal(decided(decider, [], asked(type="summarize_text", data={"text": "  "})))
    assert (reason, detail.split(":")[:2]) == ("invalid", ["summarize_text", " text"])


def test_an_unknown_type_goes_to_a_model_with_a_low_confidence() -> None:
    routed, plan = run(decided(decider, [], asked(type="validate-email", data={"email": "a@b.example"})))
    assert (routed.handler, routed.confidence, routed.cost_estimate) == ("generate_response", 0.6, Decimal("0.005"))
    assert "'validate-email'" in plan.goal
    assert "a@b.example" in plan.goal


def test_free_text_never_reaches_a_typed_handler() -> None:
    routed, plan = run(decided(decider, [], asked(text="calculate_tax")))
    assert (routed.confidence, routed.agents) == (0.6, ("research",))
    assert plan.goal == "calculate_tax"


def test_keywords_choose_the_agents_and_their_architecture() -> None:
    text = "Research the latest trends in vector databases and write a summary report"
    routed, plan = run(decided(decider, [], asked(text=text)))
    assert (routed.architecture, routed.agents, routed.confidence) == ("fan-out", ("research", "analyst", "writer"), 0.9)
    assert routed.cost_estimate == Decimal("0.009")
    assert {step.id: step.needs for step in plan.plan.steps} == {
        "research": (),
        "analyst": (),
        "writer": ("research", "analyst"),
    }


def test_a_near_deadline_or_a_budget_is_a_reason_against_an_autonomous_agent() -> None:
    later = router(replace(policy, runs=policy.runs | {"agent"}))

    def architecture(**fields: Any) -> str:
        routed, *_ = decided(later, [], asked(text="Explore this", **fields))
        assert isinstance(routed, RequestRouted)
        return routed.architecture

    assert architecture() == architecture(deadline=NOON + policy.hurry) == "agent"
    assert architecture(budget="0.05") == architecture(deadline=NOON + policy.hurry / 2) == "specialist"


def test_a_measured_price_replaces_the_expected_one() -> None:
    measured = router(replace(policy, prices=Prices(measured={"classify_intent": Decimal("0.0007")})))
    routed, *_ = decided(measured, [], asked(type="classify_intent", data={"text": "hello"}))
    assert isinstance(routed, RequestRouted)
    assert routed.cost_estimate == Decimal("0.0007")


def test_a_plan_that_the_request_names_is_run() -> None:
    routed, plan = run(decided(decider, [], asked(text="Rain", plan="content-pipeline")))
    assert plan.plan == policy.plans["content-pipeline"]
    assert (routed.handler, routed.architecture, routed.confidence) == ("content-pipeline", "pipeline", 1.0)


def test_a_request_that_names_an_unknown_plan_is_refused() -> None:
    reason, detail = refusal(decided(decider, [], asked(text="Rain", plan="nowhere")))
    assert reason == "unknown-plan"
    assert "content-pipeline" in detail


def test_a_plan_in_the_request_is_run_as_it_is() -> None:
    own = Plan(name="mine", steps=(Step(id="only", worker="anybody"),))
    routed, plan = run(decided(decider, [], asked(text="Rain", plan=own.model_dump())))
    assert (plan.plan, routed.handler) == (own, "mine")


def test_the_callers_choice_wins_over_a_rule() -> None:
    run(decided(decider, [], asked(type="validate_email", data={"email": "a@b.example"}, plan="specialist")))
    run(decided(decider, [], asked(type="validate_email", data={"email": "a@b.example"}, architecture="specialist")))


def test_the_callers_choice_wins_over_the_keywords() -> None:
    text = "Research this, analyze the data, draft it"
    routed, plan = run(decided(decider, [], asked(text=text, architecture="pipeline")))
    assert routed.architecture == "pipeline"
    assert [step.needs for step in plan.plan.steps] == [(), ("research",), ("analyst",)]
    routed, _ = run(decided(decider, [], asked(text=text, architecture="specialist")))
    assert routed.agents == ("analyst",), "the agent that most words name"


@pytest.mark.parametrize(("architecture", "plan"), [("pipeline", "content-pipeline"), ("fan-out", "parallel-analysis")])
def test_an_architecture_for_which_the_keywords_name_too_few_agents_runs_the_shipped_plan(architecture: str, plan: str) -> None:
    routed, _ = run(decided(decider, [], asked(text="Rain", architecture=architecture)))
    assert (routed.handler, routed.architecture) == (plan, architecture)


def test_with_the_architecture_human_a_person_approves_the_answer() -> None:
    routed, started = run(decided(decider, [], asked(text="Draft a letter", architecture="human")))
    *_, answer, approve = started.plan.steps
    assert (routed.architecture, answer.worker) == ("human", "writer")
    assert approve.gate is not None
    assert (approve.worker, approve.needs, approve.gate.approval, approve.gate.text_from) == (
        "wait",
        ("writer",),
        "always",
        "writer",
    )


@pytest.mark.parametrize("architecture", ["rag", "agent", "event-driven", "hierarchical", "debate", "plan-and-execute"])
def test_an_architecture_that_no_service_runs_is_refused(architecture: str) -> None:
    reason, detail = refusal(decided(decider, [], asked(text="Rain", architecture=architecture)))
    assert reason == "unsupported"
    assert "fan-out, human, hybrid, pipeline, specialist" in detail


def test_with_the_architecture_hybrid_the_router_chooses() -> None:
    assert decided(decider, [], asked(type="calculate_tax", data=tax.data, architecture="hybrid")) == completed


def test_a_request_without_a_deadline_gets_one() -> None:
    _, plan = run(decided(decider, [], free))
    assert plan.deadline == NOON + policy.within


def test_the_callers_deadline_and_budget_go_into_the_plan() -> None:
    until = NOON + timedelta(seconds=30)
    _, plan = run(decided(decider, [], asked(text="Rain", deadline=until, budget="0.01")))
    assert (plan.deadline, plan.budget) == (until, Decimal("0.01"))


@pytest.mark.parametrize("fields", [{"text": "Rain"}, tax.model_dump(include={"type", "data"})])
def test_a_request_whose_deadline_has_passed_is_refused(fields: dict[str, Any]) -> None:
    assert refusal(decided(decider, [], asked(deadline=NOON, **fields)))[0] == "past-deadline"
    assert len(decided(decider, [], asked(deadline=NOON + timedelta(microseconds=1), **fields))) > 1


def test_a_deadline_beyond_a_year_is_refused() -> None:
    assert refusal(decided(decider, [], asked(text="Rain", deadline="9999-12-31T23:59:59Z")))[0] == "invalid"


def at_wake_up(given: list[Message], after: timedelta = policy.within) -> list[Message]:
    return decided(decider, given, WakeUp(), replace(HERE, at=NOON + after))


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=3)])
def test_at_the_deadline_of_a_workflow_that_it_handed_over_the_router_tells_the_planner_once(late: timedelta) -> None:
    assert at_wake_up(handed_over, policy.within + late) == [expired]
    assert at_wake_up([*handed_over, expired], policy.within + late) == []


def test_a_wake_up_before_the_deadline_decides_nothing() -> None:
    assert at_wake_up(handed_over, policy.within - timedelta(microseconds=1)) == []


@pytest.mark.parametrize("given", [[], completed, [noted], [*handed_over, expired]], ids=len)
def test_only_a_workflow_that_was_handed_over_asks_for_a_wake_up(given: list[Message]) -> None:
    assert decider.wake_at(decider.fold(given)) is None
    assert at_wake_up(given) == []


@pytest.mark.parametrize("given", [handed_over, completed, [*handed_over, expired]], ids=["handed over", "answered", "expired"])
def test_a_second_request_of_a_workflow_cannot_be_processed(given: list[Message]) -> None:
    with pytest.raises(CannotProcess) as refused:
        decided(decider, given, free)
    assert refused.value.reason == "correlation-in-use"


def test_a_cancellation_that_comes_before_the_request_is_remembered() -> None:
    assert decided(decider, [], CancelWorkflow(by="ada", reason="too late")) == [noted]
    assert decided(decider, [noted], tax) == [WorkflowCancelled(request="req-1", by="ada", detail="too late")]


def test_a_second_cancellation_decides_nothing() -> None:
    assert decided(decider, [noted], CancelWorkflow(by="bob")) == []


@pytest.mark.parametrize("message", [free, CancelWorkflow(by="bob")], ids=["a request", "a cancellation"])
def test_the_workflow_that_holds_people_takes_none(message: Message) -> None:
    with pytest.raises(CannotProcess, match="registrations of people") as refused:
        decided(decider, [], message, replace(HERE, workflow="people"))
    assert refused.value.reason == "invalid"


def test_a_cancelled_workflow_takes_no_second_request() -> None:
    with pytest.raises(CannotProcess):
        decided(decider, [noted, *decided(decider, [noted], tax)], free)


@pytest.mark.parametrize("given", [handed_over, completed], ids=["handed over", "answered"])
def test_after_the_hand_over_the_router_ignores_a_cancellation(given: list[Message]) -> None:
    assert decided(decider, given, CancelWorkflow(by="ada")) == []


@pytest.mark.parametrize("given", [[], [noted]], ids=["no request", "cancelled"])
@pytest.mark.parametrize("reason", ["poison", "crashed"])
def test_a_request_on_which_the_decision_failed_is_a_failed_workflow(given: list[Message], reason: DeadReason) -> None:
    assert decided(decider, given, dead(reason)) == [
        WorkflowFailed(request="req-1", reason="dead-letter", detail=f"{reason}: why")
    ]


@pytest.mark.parametrize(
    ("reason", "refused_as"),
    [("invalid", "invalid"), ("unreadable", "invalid"), ("refused-by-store", "invalid"), ("too-large", "too-large")],
)
def test_a_request_that_could_not_be_read_is_refused(reason: DeadReason, refused_as: str) -> None:
    assert refusal(decided(decider, [], dead(reason))) == (refused_as, "why")


@pytest.mark.parametrize("reason", ["correlation-in-use", "id-reused", "not-expected", "unknown-kind"])
def test_a_dead_letter_that_only_claims_the_workflow_does_not_end_it(reason: DeadReason) -> None:
    assert decided(decider, [], dead(reason)) == []
    assert decided(decider, [noted], dead(reason)) == []


@pytest.mark.parametrize(
    ("known", "refused"),
    [
        ({}, "req-1"),
        ({"message_kind": ""}, "req-1"),
        ({"message_id": "", "message_kind": "", "key": "b3JkZXItNzc="}, ""),
        ({"message_id": ""}, None),
        ({"topic": "control"}, None),
    ],
)
def test_an_unreadable_request_is_refused_if_it_names_a_workflow_by_any_name(known: dict[str, str], refused: str | None) -> None:
    messages = decided(decider, [], dead("unreadable").model_copy(update=known))
    assert [message.request for message in messages if isinstance(message, WorkflowRefused)] == [refused] * (refused is not None)


def test_a_dead_letter_that_is_not_the_request_ends_nothing() -> None:
    assert decided(decider, [], dead("poison", CancelWorkflow)) == []
    assert decided(decider, [], dead("poison", service="planner")) == []


@pytest.mark.parametrize("given", [handed_over, completed], ids=["handed over", "answered"])
def test_after_the_hand_over_the_router_ignores_a_dead_letter(given: list[Message]) -> None:
    assert decided(decider, given, dead("poison")) == []


def test_different_policies_have_different_versions() -> None:
    assert policy.version == Policy(plans=plans.load(plans.SHIPPED)).version
    for other in (Policy(), replace(policy, within=timedelta(1)), replace(policy, prices=Prices(known=Decimal(1)))):
        assert other.version != policy.version


def test_the_router_receives_only_dead_letters_of_its_own_requests() -> None:
    service = build(Settings())
    assert service.stream(tax) == service.stream(CancelWorkflow()) == service.stream(dead("poison")) == "router"
    assert service.stream(dead("poison", service="planner")) is None
    assert service.stream(dead("correlation-in-use")) is None
    assert service.stream(handed_over[1]) is None
