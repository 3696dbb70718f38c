"""How the planner runs a plan: which steps start, pass, are retried or skipped."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.control import CancelWorkflow
from contracts.planner import (
    ExpireWorkflow,
    PlanRejected,
    RunPlan,
    StepAnswered,
    StepFailed,
    StepRetried,
    StepSkipped,
)
from contracts.plans import Plan
from contracts.results import Contribution, WorkflowCompleted, WorkflowFailed
from contracts.specialists import Given, PerformTask, TaskCancelled
from contracts.verifier import CheckClaim, Passage
from hansard.decider import WakeUp
from hansard.message import Message
from services.planner import state
from services.planner.app import BadWorker, build, workers_of
from services.planner.graph import Graph, graph_of, problems
from shared import roles
from shared.settings import Settings
from tests.decisions import HERE, NOON, decided
from tests.spec.planner_kit import (
    DEADLINE,
    WORKERS,
    after,
    answer,
    at,
    begun,
    cancel,
    chain,
    check,
    dead,
    decider,
    expire,
    failed,
    fan,
    one_step,
    passed,
    rejected,
    result_in,
    run,
    started,
    step,
    task,
    tasks_in,
    then,
    wakes,
)

# Starting


def test_a_plan_starts_with_the_steps_that_need_nothing() -> None:
    assert decided(decider, [], fan) == [started(fan), *begun("a"), *begun("b")]


def test_the_graph_of_a_plan_is_made_once_for_the_decision_and_its_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Plan] = []

    def counted(plan: Plan) -> Graph:
        made.append(plan)
        return graph_of(plan)

    monkeypatch.setattr(state, "graph_of", counted)
    for asked in (fan, chain, fan):
        running = decider.fold(decider.decide(decider.initial, asked, HERE))
        assert isinstance(running, state.Running) and list(running.graph.steps) == [step.id for step in asked.plan.steps]
    assert made == [fan.plan, chain.plan, fan.plan]


def test_a_plan_runs_once() -> None:
    assert then(one_step, [], one_step) == []


def test_a_task_goes_to_the_service_of_its_worker() -> None:
    messages = decided(decider, [], run(step("find", worker="retriever")))
    assert messages[-1] == task("find.1", service="retriever", role="retriever")


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
def test_a_plan_that_cannot_run_is_rejected_with_the_problem(asked: RunPlan, problem: str) -> None:
    assert decided(decider, [], asked) == [
        PlanRejected(problems=(problem,)),
        WorkflowFailed(request="r", reason="plan-rejected", detail=problem),
    ]


def test_a_cycle_is_shown_in_the_order_of_needs() -> None:
    (problem,) = problems(run(step("a", "b"), step("b", "c"), step("c", "a")).plan, WORKERS)
    shown = problem.removeprefix("steps wait for each other: ").replace("'", "").split(" needs ")
    assert [(n, {"a": "b", "b": "c", "c": "a"}[n]) for n in shown[:-1]] == list(pairwise(shown))


def test_every_problem_is_listed_up_to_fifty() -> None:
    found = problems(run(step("a", "x", "y"), step("a", worker="clown")).plan, WORKERS)
    assert len(found) == 4
    many = problems(run(*(step(f"s{n}", "x") for n in range(60))).plan, WORKERS)
    assert len(many) == 51 and many[-1] == "and 10 more"


def test_a_rejected_plan_ends_its_workflow() -> None:
    assert then(run(step("a", "b")), [], one_step) == []


# A step


def test_an_answer_goes_to_the_verifier() -> None:
    answered = StepAnswered(
        step="draft", attempt=1, text="Drip.", tier="primary", model="m", cost=Decimal("0.1"), input_tokens=7, output_tokens=3
    )
    assert then(one_step, [], answer("draft.1")) == [answered, check("draft.1")]


def test_a_check_is_given_the_facts_and_passages_of_its_step() -> None:
    given: Any = {"facts": {"year": 2026}, "passages": [{"source": "rain.md", "text": "Rain falls."}, {"odd": 1}]}
    asked = run(step("draft", instructions="Write.", input=given, verify="judge"))
    message = then(asked, [], answer("draft.1", sources=("rain.md",)))[-1]
    assert isinstance(message, CheckClaim)
    assert (message.facts, message.passages) == ({"year": 2026}, (Passage(source="rain.md", text="Rain falls."),))
    assert (message.sources, message.judge, message.question) == (("rain.md",), True, "Write.\n\nRain.")


def test_a_check_names_the_call_that_gave_the_answer() -> None:
    for call in ("specialists/draft.1/1", None):
        message = then(one_step, [], answer("draft.1", call=call))[-1]
        assert isinstance(message, CheckClaim) and message.call == call


def test_a_step_without_a_check_passes_when_it_is_answered() -> None:
    messages = then(run(step("draft", verify="none")), [], answer("draft.1"))
    assert isinstance(messages[0], StepAnswered) and messages[0].passed
    assert isinstance(result_in(messages), WorkflowCompleted)


def test_a_step_starts_once_all_steps_that_it_needs_have_passed() -> None:
    received = [answer("a.1"), answer("b.1"), passed("b.1")]
    assert not any(isinstance(message, PerformTask) and message.task == "join.1" for message in after(fan, *received))
    assert tasks_in(then(fan, received, passed("a.1"))) == ["join.1"]


def test_a_step_is_given_the_answers_of_the_steps_that_it_needs_and_no_others() -> None:
    asked = run(step("a"), step("b", "a"), step("c", "b"))
    rain = Passage(source="rain.md", text="Rain falls.")
    found = answer("b.1", "B", sources=("rain.md",), passages=(rain,), data={"n": 1})
    message = then(asked, [answer("a.1", "A"), passed("a.1"), found], passed("b.1"))[-1]
    given = Given(step="b", worker="writer", text="B", data={"n": 1}, sources=("rain.md",))
    assert message == task("c.1", context=(given,), passages=(rain,))


def test_a_step_is_given_the_whole_answers_that_it_needs_and_the_runtime_carries_them() -> None:
    texts = [answer(f"{name}.1", name * 500_000) for name in "ab"]
    message = then(fan, [*texts, passed("a.1")], passed("b.1"))[-1]
    assert isinstance(message, PerformTask)
    assert [given.text for given in message.context] == ["a" * 500_000, "b" * 500_000]


def test_a_step_whose_answer_is_rejected_is_retried_with_the_reasons() -> None:
    assert then(one_step, [answer("draft.1")], rejected("draft.1", cost=Decimal("0.01"))) == [
        StepRetried(step="draft", attempt=1, reasons=("Too dry.",), cost=Decimal("0.01")),
        *begun("draft", 2, feedback=("Too dry.",)),
    ]


def test_a_step_without_attempts_left_fails_and_its_workflow_fails() -> None:
    messages = then(run(step("draft", retries=0)), [answer("draft.1")], rejected("draft.1"))
    assert messages == [
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
    assert tasks_in(after(one_step, *received)) == ["draft.1", "draft.2", "draft.3"]
    assert isinstance(result_in(after(one_step, *received)), WorkflowFailed)


@pytest.mark.parametrize("reason", ["no-answer", "internal"])
def test_a_step_that_failed_for_a_passing_reason_is_retried_after_a_backoff(reason: str) -> None:
    backing_off = StepRetried(step="draft", attempt=1, reasons=(reason,), resume_at=NOON + timedelta(seconds=2))
    assert then(one_step, [], failed("draft.1", reason)) == [backing_off]
    assert wakes(after(one_step, failed("draft.1", reason))) == 2
    assert then(one_step, [failed("draft.1", reason)], WakeUp(), 1.9) == []
    assert then(one_step, [failed("draft.1", reason)], WakeUp(), 2) == begun("draft", 2, feedback=(reason,))


@pytest.mark.parametrize("reason", ["unknown-role", "budget", "deadline"])
def test_a_step_that_would_fail_again_is_not_retried(reason: str) -> None:
    messages = then(one_step, [], failed("draft.1", reason, cost=Decimal("0.1")))
    assert messages[0] == StepFailed(step="draft", attempt=1, reasons=(reason,), cost=Decimal("0.1"))
    assert isinstance(result_in(messages), WorkflowFailed)


def test_a_step_is_not_retried_when_the_deadline_comes_before_the_next_attempt() -> None:
    late = replace(HERE, at=DEADLINE - timedelta(seconds=1))
    assert isinstance(decided(decider, after(one_step), failed("draft.1"), late)[0], StepFailed)
    assert isinstance(decided(decider, after(one_step), failed("draft.1"), HERE)[0], StepRetried)


def test_a_step_whose_worker_cancels_the_task_is_retried() -> None:
    messages = then(one_step, [], TaskCancelled(task="draft.1"))
    assert messages[0] == StepRetried(step="draft", attempt=1, reasons=("writer called the task off",))


# Answers that come too late, or twice


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
def test_an_answer_that_no_step_waits_for_changes_nothing(foreign: Message) -> None:
    assert then(chain, [], foreign) == []


@pytest.mark.parametrize("again", [answer("draft.1", "Other."), failed("draft.1"), TaskCancelled(task="draft.1")])
def test_a_second_answer_to_a_task_changes_nothing(again: Message) -> None:
    assert then(one_step, [answer("draft.1")], again) == []


@pytest.mark.parametrize("late", [answer("draft.1"), passed("draft.1"), rejected("draft.1"), failed("draft.1")])
def test_an_answer_to_an_earlier_attempt_changes_nothing(late: Message) -> None:
    assert then(one_step, [answer("draft.1"), rejected("draft.1")], late) == []


EVERYTHING = [
    one_step,
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
def test_nothing_follows_after_the_end_of_a_workflow(message: Message) -> None:
    given = after(one_step, answer("draft.1"), passed("draft.1"))
    assert decided(decider, given, message, at(3600)) == []
    assert wakes(given) is None


# Failed steps


def test_all_steps_that_need_a_failed_step_directly_or_not_are_skipped() -> None:
    asked = run(step("a", retries=0), step("b", "a"), step("c", "b"), step("d", "a", "c"), step("free"))
    messages = then(asked, [answer("a.1")], rejected("a.1"))
    assert messages == [
        StepFailed(step="a", attempt=1, reasons=("Too dry.",)),
        StepSkipped(step="b", because=("a",)),
        StepSkipped(step="d", because=("a",)),
        StepSkipped(step="c", because=("b",)),
    ]


def test_other_branches_finish_and_then_the_workflow_fails_with_what_they_achieved() -> None:
    asked = run(step("a", retries=0), step("b", "a"), step("free"))
    messages = then(asked, [answer("a.1"), rejected("a.1"), answer("free.1")], passed("free.1"))
    result = result_in(messages)
    assert isinstance(result, WorkflowFailed) and result.reason == "step-failed"
    assert result.partial == (Contribution(step="free", worker="writer", tier="primary", model="m"),)


def test_an_optional_step_may_fail_without_failing_the_workflow() -> None:
    asked = run(step("a", retries=0, optional=True), step("b"))
    result = result_in(then(asked, [answer("a.1"), rejected("a.1"), answer("b.1", "B")], passed("b.1")))
    assert isinstance(result, WorkflowCompleted) and result.text == "B"


def test_a_workflow_fails_when_none_of_its_answer_steps_passed() -> None:
    asked = run(step("a", retries=0, optional=True), step("b", "a"), step("free"), answer=("b",))
    result = result_in(then(asked, [answer("a.1"), rejected("a.1"), answer("free.1")], passed("free.1")))
    assert isinstance(result, WorkflowFailed) and result.reason == "no-answer"


# Wiring


def test_the_planner_receives_what_happens_to_its_plan_and_no_dead_letters_from_doors() -> None:
    service = build(Settings())
    assert service.stream(one_step) == service.stream(expire) == service.stream(answer("draft.1")) == "planner"
    assert service.stream(cancel) == service.stream(dead()) == "planner"
    assert service.stream(dead(door=True)) is None


def test_the_shipped_roles_are_workers_and_so_is_the_ledger_by_its_topics() -> None:
    shipped = Path(__file__).parents[2] / "shared" / "roles"
    assert sorted(workers_of(Settings())) == sorted(["ledger", *(file.stem for file in shipped.glob("*.yaml"))])


def test_users_add_workers_by_a_role_file_or_a_service(tmp_path: Path) -> None:
    (tmp_path / "lawyer.yaml").write_text("prompt: x\n")
    workers = workers_of(Settings(roles=tmp_path, workers=("retriever",)))
    added = {"ledger": "ledger", "retriever": "retriever"}
    assert workers == dict.fromkeys((*roles.SHIPPED, "lawyer"), "specialists") | added
    assert build(Settings(workers=("retriever",))).decider.policy != build(Settings()).decider.policy


@pytest.mark.parametrize("name", ["writer", "gateway", "ledger", "wait"])
def test_a_users_service_cannot_have_the_name_of_a_role_or_of_a_service(name: str) -> None:
    with pytest.raises(BadWorker, match=name):
        build(Settings(workers=(name,)))
