"""The course of a plan: which step may run, is tried again, is skipped; and the one result."""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.control import CancelWorkflow
from contracts.dead_letters import DeadLettered
from contracts.gateway import RejectReply
from contracts.planner import (
    ExpireWorkflow,
    PlanCancelNoted,
    PlanRejected,
    PlanStarted,
    RunPlan,
    StepAnswered,
    StepCancelled,
    StepFailed,
    StepPassed,
    StepRetried,
    StepSkipped,
)
from contracts.plans import Plan, Step
from contracts.results import Contribution, WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import CancelTask, Given, PerformTask, TaskAnswered, TaskCancelled, TaskFailed
from contracts.verifier import CheckClaim, ClaimPassed, ClaimRejected, Passage
from hansard.decider import Context, WakeUp
from hansard.message import Message
from services.planner import state
from services.planner.app import ROLES, BadWorker, build, workers_of
from services.planner.decider import planner
from services.planner.graph import Graph, graph_of, problems
from shared.settings import Settings
from tests.told import HERE, NOON, told

WORKERS = {"writer": "specialists", "analyst": "specialists", "retriever": "retriever"}
DEADLINE = NOON + timedelta(hours=1)
head = planner(WORKERS, "p1")


def step(name: str, *needs: str, **more: Any) -> Step:
    return Step(**{"id": name, "worker": "writer", "needs": needs, **more})


def run(*steps: Step, budget: Decimal | None = None, answer: tuple[str, ...] = ()) -> RunPlan:
    plan = Plan(name="p", steps=steps, answer=answer)
    return RunPlan(request="r", goal="Rain.", plan=plan, deadline=DEADLINE, budget=budget)


def started(asked: RunPlan) -> PlanStarted:
    return PlanStarted(request="r", goal=asked.goal, plan=asked.plan, deadline=asked.deadline, budget=asked.budget, policy="p1")


def task(name: str, **more: Any) -> PerformTask:
    return PerformTask(**{"task": name, "role": "writer", "goal": "Rain.", "deadline": DEADLINE, **more})


def begun(name: str, attempt: int = 1, **more: Any) -> list[Message]:
    return [task(f"{name}.{attempt}", **more)]


def answer(name: str, text: str = "Drip.", **more: Any) -> TaskAnswered:
    given = {"task": name, "role": "writer", "text": text, "tier": "primary", "model": "m", "cost": Decimal("0.1")}
    return TaskAnswered(**{**given, "input_tokens": 7, "output_tokens": 3, **more})


def check(name: str, text: str = "Drip.", **more: Any) -> CheckClaim:
    return CheckClaim(check=name, question="Rain.", claim=text, tier="primary", deadline=DEADLINE, **more)


def failed(name: str, reason: Any = "no-answer", **more: Any) -> TaskFailed:
    return TaskFailed(task=name, role="writer", reason=reason, detail="", **more)


def passed(name: str, **more: Any) -> ClaimPassed:
    return ClaimPassed(check=name, by=("empty",), policy="1", **more)


def rejected(name: str, **more: Any) -> ClaimRejected:
    return ClaimRejected(check=name, reasons=("Too dry.",), failed=("x",), policy="1", **more)


def dead(message: Message | None = None, **more: Any) -> DeadLettered:
    body = base64.b64encode(message.model_dump_json().encode()).decode() if message else None
    given = {"service": "gateway", "reason": "poison", "detail": "boom", "attempts": 1, "door": False, "causation_id": "c"}
    place = {"topic": "gateway.commands", "partition": 0, "offset": 0, "timestamp": 0, "hash": "0"}
    return DeadLettered(**{**given, **place, "message_kind": message.kind if message else "", "body": body, **more})


def after(asked: RunPlan, *received: Message) -> list[Message]:
    """All that was said after these were heard, one after the other."""
    emitted: list[Message] = []
    for message in (asked, *received):
        emitted += told(head, emitted, message)
    return emitted


def then(asked: RunPlan, message: Sequence[Message], when: Message, seconds: float = 0) -> list[Message]:
    """What is said to this so many seconds later."""
    return told(head, after(asked, *message), when, at(seconds))


def at(seconds: float) -> Context:
    return replace(HERE, at=NOON + timedelta(seconds=seconds))


def wakes(message: Sequence[Message]) -> float | None:
    """Seconds after noon at which it wants to be woken."""
    resume_at = head.wake_at(head.fold(message))
    return None if resume_at is None else (resume_at - NOON).total_seconds()


def ends(message: Sequence[Message]) -> Message:
    """The one result in what was said."""
    (result,) = [one for one in message if isinstance(one, WorkflowCompleted | WorkflowFailed | WorkflowCancelled)]
    return result


def asked_for(message: Sequence[Message]) -> list[str]:
    return [one.task for one in message if isinstance(one, PerformTask)]


one = run(step("draft"))
chain = run(step("draft"), step("edit", "draft"))
fan = run(step("a"), step("b"), step("join", "a", "b"))


# Starting


def test_a_plan_starts_with_the_steps_that_need_nothing() -> None:
    assert told(head, [], fan) == [started(fan), *begun("a"), *begun("b")]


def test_the_graph_of_a_plan_is_made_once_for_the_decision_and_its_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Plan] = []

    def counted(plan: Plan) -> Graph:
        made.append(plan)
        return graph_of(plan)

    monkeypatch.setattr(state, "graph_of", counted)
    for asked in (fan, chain, fan):
        case = head.fold(head.decide(head.initial, asked, HERE))
        assert isinstance(case, state.Running) and list(case.graph.steps) == [step.id for step in asked.plan.steps]
    assert made == [fan.plan, chain.plan, fan.plan]


def test_a_plan_is_run_once() -> None:
    assert then(one, [], one) == []


def test_a_worker_with_a_service_of_its_own_gets_the_task_there() -> None:
    message = told(head, [], run(step("find", worker="retriever")))
    assert message[-1] == task("find.1", service="retriever", role="retriever")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (run(step("a"), step("a")), "two steps have the id 'a'"),
        (run(step("a", "b")), "step 'a' needs 'b', which is no step of this plan"),
        (run(step("a", worker="clown")), "step 'a': no worker is named 'clown'; there are analyst, retriever, writer"),
        (run(step("a"), answer=("z",)), "the answer names 'z', which is no step of this plan"),
        (run(step("a", "a")), "steps wait for each other: 'a' needs 'a'"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_in_words(asked: RunPlan, problem: str) -> None:
    assert told(head, [], asked) == [
        PlanRejected(problems=(problem,)),
        WorkflowFailed(request="r", reason="plan-rejected", detail=problem),
    ]


def test_a_cycle_is_named_in_the_order_of_needs() -> None:
    (problem,) = problems(run(step("a", "b"), step("b", "c"), step("c", "a")).plan, WORKERS)
    shown = problem.removeprefix("steps wait for each other: ").replace("'", "").split(" needs ")
    assert [(n, {"a": "b", "b": "c", "c": "a"}[n]) for n in shown[:-1]] == list(pairwise(shown))


def test_every_problem_is_told_but_not_thousands() -> None:
    found = problems(run(step("a", "x", "y"), step("a", worker="clown")).plan, WORKERS)
    assert len(found) == 4
    many = problems(run(*(step(f"s{n}", "x") for n in range(60))).plan, WORKERS)
    assert len(many) == 51 and many[-1] == "and 10 more"


def test_a_rejected_plan_is_over() -> None:
    assert then(run(step("a", "b")), [], one) == []


# A step


def test_an_answer_is_checked() -> None:
    answered = StepAnswered(
        step="draft", attempt=1, text="Drip.", tier="primary", model="m", cost=Decimal("0.1"), input_tokens=7, output_tokens=3
    )
    assert then(one, [], answer("draft.1")) == [answered, check("draft.1")]


def test_a_check_knows_what_the_answer_was_to_rest_on() -> None:
    given: Any = {"facts": {"year": 2026}, "passages": [{"source": "rain.md", "text": "Rain falls."}, {"odd": 1}]}
    asked = run(step("draft", instructions="Write.", input=given, verify="judge"))
    message = then(asked, [], answer("draft.1", sources=("rain.md",)))[-1]
    assert isinstance(message, CheckClaim)
    assert (message.facts, message.passages) == ({"year": 2026}, (Passage(source="rain.md", text="Rain falls."),))
    assert (message.sources, message.judge, message.question) == (("rain.md",), True, "Write.\n\nRain.")


def test_a_check_knows_which_call_gave_the_answer() -> None:
    for call in ("specialists/draft.1/1", None):
        message = then(one, [], answer("draft.1", call=call))[-1]
        assert isinstance(message, CheckClaim) and message.call == call


def test_a_step_without_a_check_passes_with_its_answer() -> None:
    message = then(run(step("draft", verify="none")), [], answer("draft.1"))
    assert isinstance(message[0], StepAnswered) and message[0].passed
    assert isinstance(ends(message), WorkflowCompleted)


def test_the_next_step_starts_when_all_that_it_needs_has_passed() -> None:
    message = [answer("a.1"), answer("b.1"), passed("b.1")]
    assert not any(isinstance(emitted, PerformTask) and emitted.task == "join.1" for emitted in after(fan, *message))
    assert asked_for(then(fan, message, passed("a.1"))) == ["join.1"]


def test_the_next_step_is_given_the_answers_of_those_it_needs_and_no_others() -> None:
    asked = run(step("a"), step("b", "a"), step("c", "b"))
    rain = Passage(source="rain.md", text="Rain falls.")
    found = answer("b.1", "B", sources=("rain.md",), passages=(rain,), data={"n": 1})
    message = then(asked, [answer("a.1", "A"), passed("a.1"), found], passed("b.1"))[-1]
    given = Given(step="b", worker="writer", text="B", data={"n": 1}, sources=("rain.md",))
    assert message == task("c.1", context=(given,), passages=(rain,))


def test_the_context_of_a_join_is_shortened_to_fit_one_message() -> None:
    texts = [answer(f"{name}.1", name * 500_000) for name in "ab"]
    message = then(fan, [*texts, passed("a.1")], passed("b.1"))[-1]
    assert isinstance(message, PerformTask)
    assert all(given.text.endswith("more characters left out]") for given in message.context)
    assert sum(len(given.text) for given in message.context) <= 120_000


def test_an_answer_that_is_rejected_is_tried_again_with_the_reasons() -> None:
    assert then(one, [answer("draft.1")], rejected("draft.1", cost=Decimal("0.01"))) == [
        StepRetried(step="draft", attempt=1, reasons=("Too dry.",), cost=Decimal("0.01")),
        *begun("draft", 2, feedback=("Too dry.",)),
    ]


def test_a_step_that_used_up_its_attempts_has_failed_and_so_has_the_workflow() -> None:
    message = then(run(step("draft", retries=0)), [answer("draft.1")], rejected("draft.1"))
    assert message == [
        StepFailed(step="draft", attempt=1, reasons=("Too dry.",)),
        WorkflowFailed(
            request="r",
            reason="step-failed",
            detail="step 'draft': Too dry.",
            cost=Decimal("0.1"),
            input_tokens=7,
            output_tokens=3,
        ),
    ]


def test_two_retries_are_three_attempts() -> None:
    received = [message for n in (1, 2, 3) for message in (answer(f"draft.{n}"), rejected(f"draft.{n}"))]
    assert asked_for(after(one, *received)) == ["draft.1", "draft.2", "draft.3"]
    assert isinstance(ends(after(one, *received)), WorkflowFailed)


@pytest.mark.parametrize("reason", ["no-answer", "internal"])
def test_what_failed_for_a_passing_reason_is_tried_again_after_a_while(reason: str) -> None:
    resting = StepRetried(step="draft", attempt=1, reasons=(reason,), resume_at=NOON + timedelta(seconds=2))
    assert then(one, [], failed("draft.1", reason)) == [resting]
    assert wakes(after(one, failed("draft.1", reason))) == 2
    assert then(one, [failed("draft.1", reason)], WakeUp(), 1.9) == []
    assert then(one, [failed("draft.1", reason)], WakeUp(), 2) == begun("draft", 2, feedback=(reason,))


@pytest.mark.parametrize("reason", ["unknown-role", "budget", "deadline"])
def test_what_would_fail_again_is_not_tried_again(reason: str) -> None:
    message = then(one, [], failed("draft.1", reason, cost=Decimal("0.1")))
    assert message[0] == StepFailed(step="draft", attempt=1, reasons=(reason,), cost=Decimal("0.1"))
    assert isinstance(ends(message), WorkflowFailed)


def test_no_attempt_begins_when_the_deadline_would_pass_first() -> None:
    late = replace(HERE, at=DEADLINE - timedelta(seconds=1))
    assert isinstance(told(head, after(one), failed("draft.1"), late)[0], StepFailed)
    assert isinstance(told(head, after(one), failed("draft.1"), HERE)[0], StepRetried)


def test_a_worker_that_calls_its_task_off_has_not_done_it() -> None:
    message = then(one, [], TaskCancelled(task="draft.1"))
    assert message[0] == StepRetried(step="draft", attempt=1, reasons=("writer called the task off",))


# Answers that count no more


@pytest.mark.parametrize(
    "foreign",
    [
        answer("draft.2"),
        answer("draft.0"),
        answer("edit.1"),
        answer("draft"),
        answer("draft.x"),
        passed("draft.1"),
        rejected("draft.1"),
    ],
)
def test_what_nobody_waits_for_is_silent(foreign: Message) -> None:
    assert then(chain, [], foreign) == []


@pytest.mark.parametrize("again", [answer("draft.1", "Other."), failed("draft.1"), TaskCancelled(task="draft.1")])
def test_a_task_is_answered_once(again: Message) -> None:
    assert then(one, [answer("draft.1")], again) == []


@pytest.mark.parametrize("late", [answer("draft.1"), passed("draft.1"), rejected("draft.1"), failed("draft.1")])
def test_an_earlier_attempt_counts_no_more(late: Message) -> None:
    assert then(one, [answer("draft.1"), rejected("draft.1")], late) == []


EVERYTHING = [
    one,
    answer("draft.1"),
    failed("draft.1"),
    TaskCancelled(task="draft.1"),
    passed("draft.1"),
    rejected("draft.1"),
    WakeUp(),
    ExpireWorkflow(request="r", deadline=DEADLINE),
    CancelWorkflow(by="ada"),
    dead(),
    dead(task("draft.1")),
]


@pytest.mark.parametrize("message", EVERYTHING, ids=lambda message: message.kind)
def test_after_the_end_there_is_silence(message: Message) -> None:
    given = after(one, answer("draft.1"), passed("draft.1"))
    assert told(head, given, message, at(3600)) == []
    assert wakes(given) is None


# What failure stops


def test_failure_stops_what_depends_on_it_however_far_down() -> None:
    asked = run(step("a", retries=0), step("b", "a"), step("c", "b"), step("d", "a", "c"), step("free"))
    message = then(asked, [answer("a.1")], rejected("a.1"))
    assert message == [
        StepFailed(step="a", attempt=1, reasons=("Too dry.",)),
        StepSkipped(step="b", because=("a",)),
        StepSkipped(step="d", because=("a",)),
        StepSkipped(step="c", because=("b",)),
    ]


def test_branches_that_do_not_need_it_finish_and_then_the_workflow_fails_with_what_was_achieved() -> None:
    asked = run(step("a", retries=0), step("b", "a"), step("free"))
    message = then(asked, [answer("a.1"), rejected("a.1"), answer("free.1")], passed("free.1"))
    result = ends(message)
    assert isinstance(result, WorkflowFailed) and result.reason == "step-failed"
    assert result.partial == (Contribution(step="free", worker="writer", tier="primary", model="m"),)


def test_an_optional_step_may_fail() -> None:
    asked = run(step("a", retries=0, optional=True), step("b"))
    result = ends(then(asked, [answer("a.1"), rejected("a.1"), answer("b.1", "B")], passed("b.1")))
    assert isinstance(result, WorkflowCompleted) and result.text == "B"


def test_without_any_of_its_answers_a_workflow_has_failed() -> None:
    asked = run(step("a", retries=0, optional=True), step("b", "a"), step("free"), answer=("b",))
    result = ends(then(asked, [answer("a.1"), rejected("a.1"), answer("free.1")], passed("free.1")))
    assert isinstance(result, WorkflowFailed) and result.reason == "no-answer"


# The result


def test_the_answer_of_one_step_is_the_result_with_who_had_a_part_in_it() -> None:
    message = [answer("draft.1", "Draft", confidence=0.9, sources=("x", "y")), passed("draft.1", cost=Decimal("0.5"))]
    emitted = then(chain, [*message, answer("edit.1", "Edited", sources=("y", "z"), data=[1])], passed("edit.1", confidence=0.7))
    assert emitted == [
        StepPassed(step="edit", attempt=1, by=("empty",), confidence=0.7),
        WorkflowCompleted(
            request="r",
            text="Edited",
            data=[1],
            answered_by="plan",
            handler="p",
            confidence=0.7,
            sources=("x", "y", "z"),
            contributions=(
                Contribution(step="draft", worker="writer", confidence=0.9, sources=("x", "y"), tier="primary", model="m"),
                Contribution(step="edit", worker="writer", confidence=0.7, sources=("y", "z"), tier="primary", model="m"),
            ),
            cost=Decimal("0.7"),
            input_tokens=14,
            output_tokens=6,
        ),
    ]


def test_several_answers_are_joined_under_their_steps_in_plan_order() -> None:
    asked = run(step("a"), step("b"), step("c"), answer=("c", "a"))
    received = [message for name in "cba" for message in (answer(f"{name}.1", name.upper(), data=name), passed(f"{name}.1"))]
    result = ends(after(asked, *received))
    assert isinstance(result, WorkflowCompleted)
    assert result.text == "## a\n\nA\n\n## c\n\nC"
    assert result.data == {"a": "a", "c": "c"}


def test_a_confidence_that_nobody_measured_is_unknown() -> None:
    result = ends(after(one, answer("draft.1"), passed("draft.1")))
    assert isinstance(result, WorkflowCompleted) and result.confidence is None


def test_the_lower_of_the_workers_and_the_judges_confidence_counts() -> None:
    result = ends(after(one, answer("draft.1", confidence=0.6), passed("draft.1", confidence=0.9)))
    assert isinstance(result, WorkflowCompleted) and result.confidence == 0.6


def test_what_failed_attempts_cost_is_in_the_result() -> None:
    message = after(one, answer("draft.1"), rejected("draft.1", cost=Decimal("0.01")), failed("draft.2", cost=Decimal("0.2")))
    for received in (WakeUp(), answer("draft.3"), passed("draft.3", cost=Decimal("0.02"))):
        message += told(head, message, received, at(5))
    result = ends(message)
    assert isinstance(result, WorkflowCompleted) and result.cost == Decimal("0.43")


# Money and time


def test_no_step_starts_when_the_budget_is_spent() -> None:
    asked = run(step("a"), step("b", "a"), step("free"), budget=Decimal("0.1"))
    message = then(asked, [answer("a.1")], passed("a.1"))
    assert message[1:3] == [StepCancelled(step="free", because="budget"), CancelTask(task="free.1")]
    result = ends(message)
    assert isinstance(result, WorkflowFailed) and result.reason == "budget"
    assert result.detail == "$0.1 of $0.1 were spent before step 'b' could start"
    assert wakes(after(asked, answer("a.1"), passed("a.1"))) is None


def test_the_last_answer_counts_whatever_it_cost() -> None:
    asked = run(step("a"), budget=Decimal("0.01"))
    assert isinstance(ends(after(asked, answer("a.1"), passed("a.1"))), WorkflowCompleted)


def test_a_budget_of_nothing_is_enough_for_what_costs_nothing() -> None:
    asked = run(step("a"), step("b", "a"), budget=Decimal(0))
    free = Decimal(0)
    message = after(asked, answer("a.1", cost=free), passed("a.1"), answer("b.1", cost=free), passed("b.1"))
    assert isinstance(ends(message), WorkflowCompleted)


def test_a_task_knows_what_is_left_of_the_budget() -> None:
    message = then(run(step("a"), step("b", "a"), budget=Decimal("0.25")), [answer("a.1")], passed("a.1"))[-1]
    assert isinstance(message, PerformTask) and message.budget == Decimal("0.15")


def test_a_retry_is_not_begun_beyond_the_budget() -> None:
    result = ends(then(run(step("a"), budget=Decimal("0.1")), [answer("a.1")], rejected("a.1")))
    assert isinstance(result, WorkflowFailed) and result.reason == "budget"


expire = ExpireWorkflow(request="r", deadline=DEADLINE)


def test_a_plan_that_runs_wakes_at_its_deadline() -> None:
    assert wakes(after(one)) == wakes(after(one, answer("draft.1"))) == 3600
    assert then(one, [], WakeUp(), 3599.9) == []


@pytest.mark.parametrize(("when", "seconds"), [(WakeUp(), 3600), (WakeUp(), 5 * 3600), (expire, 3600)])
def test_at_the_deadline_what_is_under_way_is_called_off_and_the_workflow_fails_with_what_was_achieved(
    when: Message, seconds: float
) -> None:
    asked = run(step("a"), step("b"), step("c"), step("d", "c"))
    message = then(asked, [answer("a.1"), passed("a.1"), answer("b.1")], when, seconds)
    assert message[:3] == [
        StepCancelled(step="b", because="deadline"),
        StepCancelled(step="c", because="deadline"),
        CancelTask(task="c.1"),
    ]
    result = message[3]
    assert isinstance(result, WorkflowFailed) and result.reason == "deadline"
    assert [part.step for part in result.partial] == ["a"]
    assert len(message) == 4


def test_the_deadline_comes_before_all_else_that_is_due() -> None:
    asked = run(step("a", timeout=60), step("b"))
    message = then(asked, [failed("b.1")], WakeUp(), 3600)
    assert message[:3] == [
        StepCancelled(step="a", because="deadline"),
        CancelTask(task="a.1"),
        StepCancelled(step="b", because="deadline"),
    ]
    assert isinstance(message[3], WorkflowFailed) and len(message) == 4


def test_what_is_answered_in_time_counts_although_its_wake_up_is_late() -> None:
    """A deadline ends where the wake-up stands in the stream, not by comparing clocks."""
    message = told(head, after(one, answer("draft.1")), passed("draft.1"), at(3700))
    assert isinstance(ends(message), WorkflowCompleted)


def test_a_task_is_called_off_where_it_is_done() -> None:
    message = then(run(step("find", worker="retriever")), [], WakeUp(), 3600)
    assert message[1] == CancelTask(task="find.1", service="retriever")


def test_a_plan_that_never_came_ends_under_its_own_request_when_the_router_tells_that_its_deadline_has_passed() -> None:
    late = WorkflowFailed(
        request="r", reason="deadline", detail="the deadline 2026-01-01T13:00:00+00:00 passed before the plan came"
    )
    assert told(head, [], expire, at(3600)) == [late]
    assert told(head, [late], one, at(3600)) == told(head, [late], expire, at(3600)) == []
    assert told(head, [], one, at(3600)) == [late], "and where it comes after all, but too late, nothing is begun"


def test_a_step_with_a_timeout_has_a_deadline_of_its_own() -> None:
    asked = run(step("a", timeout=60), step("b", "a"))
    assert told(head, [], asked)[1:] == begun("a", deadline=NOON + timedelta(seconds=60))
    assert wakes(after(asked)) == wakes(after(asked, answer("a.1"))) == 60, "its check belongs to it"
    assert wakes(after(asked, answer("a.1"), passed("a.1"))) == 3600


def test_a_step_without_a_timeout_waits_for_no_time_of_its_own() -> None:
    for asked in (one, run(step("a", timeout=7 * 86400))):
        case = head.fold(after(asked))
        assert isinstance(case, state.Running) and case.times is None


def test_a_tasks_deadline_is_never_after_the_workflows() -> None:
    asked = run(step("a", timeout=7 * 86400))
    message = told(head, [], asked)
    assert isinstance(message[1], PerformTask) and message[1].deadline == DEADLINE
    assert wakes(message) == 3600


def test_a_timeout_shorter_than_any_clock_tells_still_lies_ahead() -> None:
    asked = run(step("a", timeout=1e-9, retries=20))
    assert wakes(after(asked)) == pytest.approx(1e-6)
    assert asked_for(then(asked, [], WakeUp(), 60)) == ["a.2"]


def test_an_attempt_that_takes_too_long_is_called_off_and_tried_again() -> None:
    asked = run(step("a", timeout=60))
    assert then(asked, [], WakeUp(), 59.9) == []
    assert then(asked, [], WakeUp(), 61) == [
        CancelTask(task="a.1"),
        StepRetried(step="a", attempt=1, reasons=("it was not done within 60 seconds",)),
        *begun("a", 2, feedback=("it was not done within 60 seconds",), deadline=NOON + timedelta(seconds=121)),
    ]


def test_a_check_that_takes_too_long_has_no_task_to_call_off() -> None:
    asked = run(step("a", timeout=60, retries=0))
    message = then(asked, [answer("a.1")], WakeUp(), 60)
    assert message[0] == StepFailed(step="a", attempt=1, reasons=("it was not done within 60 seconds",))
    assert isinstance(message[1], WorkflowFailed) and len(message) == 2


def test_an_optional_step_that_takes_too_long_is_called_off_and_the_others_go_on() -> None:
    asked = run(step("a", timeout=60, retries=0, optional=True), step("b", "a"), step("c"))
    assert then(asked, [], WakeUp(), 60) == [
        CancelTask(task="a.1"),
        StepFailed(step="a", attempt=1, reasons=("it was not done within 60 seconds",)),
        StepSkipped(step="b", because=("a",)),
    ]


def test_all_that_is_due_is_handled_at_one_wake_up_the_earliest_first() -> None:
    """As after a restart."""
    asked = run(step("a", timeout=60), step("b", timeout=30), step("c"), step("d", timeout=600))
    given = after(asked, failed("c.1"))
    assert wakes(given) == 2
    message = told(head, given, WakeUp(), at(300))
    assert asked_for(message) == ["c.2", "b.2", "a.2"]
    assert wakes([*given, *message]) == 330, "of b, which began again"


def test_a_task_that_ran_into_its_own_timeout_is_tried_again_at_once() -> None:
    message = then(run(step("a", timeout=60)), [], failed("a.1", "deadline"))
    assert asked_for(message) == ["a.2"]


def test_a_failure_and_a_timeout_of_one_attempt_count_once_whichever_comes_first() -> None:
    asked = run(step("a", timeout=60))
    given = after(asked, failed("a.1", "deadline"))
    assert told(head, [*given, *told(head, given, WakeUp(), at(59))], WakeUp(), at(59)) == []
    given = [*after(asked), *then(asked, [], WakeUp(), 60)]
    for late in (failed("a.1", "deadline"), TaskCancelled(task="a.1"), answer("a.1")):
        assert told(head, given, late, at(60)) == []


def test_a_retry_that_is_due_together_with_the_timeout_before_it_begins_once() -> None:
    asked = run(step("a", timeout=60))
    given = [*after(asked), *told(head, after(asked), failed("a.1"), at(58))]
    assert wakes(given) == 60
    assert asked_for(told(head, given, WakeUp(), at(60))) == ["a.2"]


def test_a_timeout_after_the_end_of_its_attempt_is_silent() -> None:
    asked = run(step("a", timeout=60), step("b"))
    assert then(asked, [answer("a.1"), passed("a.1")], WakeUp(), 60) == []


def test_a_wake_up_ends_a_workflow_whose_budget_is_spent_once() -> None:
    asked = run(step("a"), step("b"), step("c"), budget=Decimal("0.1"))
    given = after(asked, failed("a.1"), failed("b.1", cost=Decimal("0.1")))
    result = ends(told(head, given, WakeUp(), at(3)))
    assert isinstance(result, WorkflowFailed) and result.reason == "budget"


# Cancelling


cancel = CancelWorkflow(by="ada", reason="rain is over")


def test_a_cancel_calls_off_what_is_under_way() -> None:
    assert then(chain, [], cancel) == [
        StepCancelled(step="draft", because="cancelled"),
        CancelTask(task="draft.1"),
        WorkflowCancelled(request="r", by="ada", detail="rain is over"),
    ]


def test_after_a_cancel_nothing_wakes() -> None:
    asked = run(step("a", timeout=60), step("b"))
    given = after(asked, failed("b.1"), cancel)
    assert wakes(given) is None
    assert told(head, given, WakeUp(), at(60)) == []


def test_a_cancel_that_overtakes_its_plan_is_remembered() -> None:
    noted = PlanCancelNoted(by="ada", reason="rain is over")
    assert told(head, [], cancel) == [noted]
    assert told(head, [noted], cancel) == []
    for when in (one, expire, dead(one), dead(expire, topic="planner.commands")):
        assert told(head, [noted], when) == [WorkflowCancelled(request="r", by="ada", detail="rain is over")]
    assert told(head, [noted], answer("draft.1")) == []


# Dead letters


@pytest.mark.parametrize(
    "lost",
    [
        dead(task("draft.1")),
        dead(answer("draft.1")),
        dead(body=None),
        dead(body="!"),
        dead(body=base64.b64encode(b"[1]").decode()),
        dead(body=base64.b64encode(json.dumps({"call": "specialists/draft.1/1"}).encode()).decode()),
    ],
)
def test_what_cannot_be_heard_ends_the_workflow_that_waits_for_it(lost: DeadLettered) -> None:
    message = then(one, [], lost)
    result = ends(message)
    assert isinstance(result, WorkflowFailed) and result.reason == "dead-letter"
    assert "boom" in result.detail
    assert CancelTask(task="draft.1") in message


def test_nobody_waits_for_what_was_said_about_an_answer_that_is_rejected() -> None:
    lost = dead(RejectReply(call="specialists/draft.1/1", reasons=("Too dry.",)))
    assert then(one, [answer("draft.1")], lost) == []


@pytest.mark.parametrize("lost", [dead(CancelTask(task="draft.1")), dead(answer("draft.1")), dead(check("draft.1"))])
def test_what_is_not_waited_for_any_more_may_be_lost(lost: DeadLettered) -> None:
    assert then(one, [answer("draft.1"), rejected("draft.1")], lost) == []


def test_a_lost_check_ends_the_workflow() -> None:
    result = ends(then(one, [answer("draft.1")], dead(check("draft.1"))))
    assert isinstance(result, WorkflowFailed) and result.reason == "dead-letter"


def test_a_lost_task_of_an_optional_step_fails_that_step_alone() -> None:
    asked = run(step("a", optional=True), step("b"))
    assert isinstance(then(asked, [], dead(task("a.1")))[0], StepFailed)
    assert isinstance(ends(after(asked, dead(task("a.1")), answer("b.1"), passed("b.1"))), WorkflowCompleted)


@pytest.mark.parametrize(
    "lost",
    [dead(one), dead(expire, topic="planner.commands"), dead(one, body="!"), dead(topic="planner.commands")],
)
def test_a_plan_that_cannot_be_heard_ends_its_workflow(lost: DeadLettered) -> None:
    (result,) = told(head, [], lost)
    assert isinstance(result, WorkflowFailed) and result.reason == "dead-letter"
    assert result.request == ("r" if lost.body and lost.body != "!" else "")


def test_a_plan_that_runs_knows_its_deadline_without_being_told() -> None:
    assert then(one, [], dead(expire, topic="planner.commands")) == []


def test_before_the_plan_came_other_dead_letters_are_not_the_planners() -> None:
    assert told(head, [], dead(task("draft.1"))) == []


@pytest.mark.parametrize("given", [[], after(one), [PlanCancelNoted(by="ada")]])
def test_what_came_through_a_door_is_only_a_claim(given: list[Message]) -> None:
    assert told(head, given, dead(one, door=True, reason="correlation-in-use", topic="requests")) == []


# Wiring


def test_it_hears_what_became_of_its_plan_and_no_claims_from_doors() -> None:
    service = build(Settings())
    assert service.stream(one) == service.stream(expire) == service.stream(answer("draft.1")) == "planner"
    assert service.stream(cancel) == service.stream(dead()) == "planner"
    assert service.stream(dead(door=True)) is None


def test_the_shipped_roles_are_known_as_workers() -> None:
    shipped = Path(__file__).parents[2] / "services" / "specialists" / "roles"
    assert sorted(ROLES) == sorted(file.stem for file in shipped.glob("*.yaml"))


def test_users_add_workers_with_a_role_file_and_with_a_service(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text("prompt: x\n")
    workers = workers_of(Settings(roles=tmp_path, workers=("retriever",)))
    assert workers == {**dict.fromkeys((*ROLES, "lawyer"), "specialists"), "retriever": "retriever"}
    assert build(Settings(workers=("retriever",))).decider.policy != build(Settings()).decider.policy


@pytest.mark.parametrize("name", ["writer", "gateway"])
def test_a_service_cannot_take_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(BadWorker, match=name):
        build(Settings(workers=(name,)))
