"""What the planner does when the budget is spent, at a time, and at a cancellation."""

from datetime import timedelta
from decimal import Decimal

import pytest

from contracts.planner import (
    PlanCancelNoted,
    StepCancelled,
    StepFailed,
    StepRetried,
    StepSkipped,
)
from contracts.results import WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import CancelTask, PerformTask, TaskCancelled
from hansard.decider import WakeUp
from hansard.message import Message
from services.planner import state
from tests.decisions import NOON, decided
from tests.spec.planner_kit import (
    DEADLINE,
    after,
    answer,
    at,
    begun,
    cancel,
    chain,
    dead,
    decider,
    expire,
    failed,
    one_step,
    passed,
    rejected,
    result_in,
    run,
    step,
    tasks_in,
    then,
    wakes,
)

# Money and time


def test_no_step_starts_once_the_budget_is_spent() -> None:
    asked = run(step("a"), step("b", "a"), step("free"), budget=Decimal("0.1"))
    messages = then(asked, [answer("a.1")], passed("a.1"))
    assert messages[1:3] == [StepCancelled(step="free", because="budget"), CancelTask(task="free.1")]
    result = result_in(messages)
    assert isinstance(result, WorkflowFailed) and result.reason == "budget"
    assert result.detail == "$0.1 of $0.1 were spent before step 'b' could start"
    assert wakes(after(asked, answer("a.1"), passed("a.1"))) is None


def test_the_last_answer_counts_even_when_it_exceeds_the_budget() -> None:
    asked = run(step("a"), budget=Decimal("0.01"))
    assert isinstance(result_in(after(asked, answer("a.1"), passed("a.1"))), WorkflowCompleted)


def test_a_budget_of_zero_is_enough_for_a_plan_that_costs_nothing() -> None:
    asked = run(step("a"), step("b", "a"), budget=Decimal(0))
    free = Decimal(0)
    messages = after(asked, answer("a.1", cost=free), passed("a.1"), answer("b.1", cost=free), passed("b.1"))
    assert isinstance(result_in(messages), WorkflowCompleted)


def test_a_task_is_given_the_rest_of_the_budget() -> None:
    message = then(run(step("a"), step("b", "a"), budget=Decimal("0.25")), [answer("a.1")], passed("a.1"))[-1]
    assert isinstance(message, PerformTask) and message.budget == Decimal("0.15")


def test_no_retry_starts_once_the_budget_is_spent() -> None:
    result = result_in(then(run(step("a"), budget=Decimal("0.1")), [answer("a.1")], rejected("a.1")))
    assert isinstance(result, WorkflowFailed) and result.reason == "budget"


def test_a_running_plan_wakes_at_its_deadline() -> None:
    assert wakes(after(one_step)) == wakes(after(one_step, answer("draft.1"))) == 3600
    assert then(one_step, [], WakeUp(), 3599.9) == []


@pytest.mark.parametrize(("when", "seconds"), [(WakeUp(), 3600), (WakeUp(), 5 * 3600), (expire, 3600)])
def test_at_the_deadline_active_steps_are_cancelled_and_the_workflow_fails_with_what_was_achieved(
    when: Message, seconds: float
) -> None:
    asked = run(step("a"), step("b"), step("c"), step("d", "c"))
    messages = then(asked, [answer("a.1"), passed("a.1"), answer("b.1")], when, seconds)
    assert messages[:3] == [
        StepCancelled(step="b", because="deadline"),
        StepCancelled(step="c", because="deadline"),
        CancelTask(task="c.1"),
    ]
    result = messages[3]
    assert isinstance(result, WorkflowFailed) and result.reason == "deadline"
    assert [part.step for part in result.partial] == ["a"]
    assert len(messages) == 4


def test_at_one_wake_up_the_deadline_is_handled_before_all_other_times() -> None:
    asked = run(step("a", timeout=60), step("b"))
    messages = then(asked, [failed("b.1")], WakeUp(), 3600)
    assert messages[:3] == [
        StepCancelled(step="a", because="deadline"),
        CancelTask(task="a.1"),
        StepCancelled(step="b", because="deadline"),
    ]
    assert isinstance(messages[3], WorkflowFailed) and len(messages) == 4


def test_an_answer_counts_when_it_is_processed_before_a_late_wake_up() -> None:
    """The wake-up's place in the stream decides, not a comparison of clocks."""
    messages = decided(decider, after(one_step, answer("draft.1")), passed("draft.1"), at(3700))
    assert isinstance(result_in(messages), WorkflowCompleted)


def test_a_task_is_cancelled_at_the_service_of_its_worker() -> None:
    messages = then(run(step("find", worker="retriever")), [], WakeUp(), 3600)
    assert messages[1] == CancelTask(task="find.1", service="retriever")


def test_a_workflow_without_its_plan_fails_when_the_router_reports_that_its_deadline_has_passed() -> None:
    late = WorkflowFailed(
        request="r", reason="deadline", detail="the deadline 2026-01-01T13:00:00+00:00 passed before the plan came"
    )
    assert decided(decider, [], expire, at(3600)) == [late]
    assert decided(decider, [late], one_step, at(3600)) == decided(decider, [late], expire, at(3600)) == []
    assert decided(decider, [], one_step, at(3600)) == [late], "and a plan that comes after its deadline does not start"


def test_a_step_with_a_timeout_has_a_deadline_of_its_own() -> None:
    asked = run(step("a", timeout=60), step("b", "a"))
    assert decided(decider, [], asked)[1:] == begun("a", deadline=NOON + timedelta(seconds=60))
    assert wakes(after(asked)) == wakes(after(asked, answer("a.1"))) == 60, "its check belongs to it"
    assert wakes(after(asked, answer("a.1"), passed("a.1"))) == 3600


def test_a_step_without_a_timeout_waits_for_no_time() -> None:
    for asked in (one_step, run(step("a", timeout=7 * 86400))):
        running = decider.fold(after(asked))
        assert isinstance(running, state.Running) and running.times is None


def test_the_deadline_of_a_task_is_never_after_that_of_its_workflow() -> None:
    asked = run(step("a", timeout=7 * 86400))
    messages = decided(decider, [], asked)
    assert isinstance(messages[1], PerformTask) and messages[1].deadline == DEADLINE
    assert wakes(messages) == 3600


def test_a_timeout_shorter_than_a_microsecond_lies_in_the_future() -> None:
    asked = run(step("a", timeout=1e-9, retries=20))
    assert wakes(after(asked)) == pytest.approx(1e-6)
    assert tasks_in(then(asked, [], WakeUp(), 60)) == ["a.2"]


def test_an_attempt_that_times_out_is_cancelled_and_retried() -> None:
    asked = run(step("a", timeout=60))
    assert then(asked, [], WakeUp(), 59.9) == []
    assert then(asked, [], WakeUp(), 61) == [
        CancelTask(task="a.1"),
        StepRetried(step="a", attempt=1, reasons=("it was not done within 60 seconds",)),
        *begun("a", 2, feedback=("it was not done within 60 seconds",), deadline=NOON + timedelta(seconds=121)),
    ]


def test_a_check_that_times_out_cancels_no_task() -> None:
    asked = run(step("a", timeout=60, retries=0))
    messages = then(asked, [answer("a.1")], WakeUp(), 60)
    assert messages[0] == StepFailed(step="a", attempt=1, reasons=("it was not done within 60 seconds",))
    assert isinstance(messages[1], WorkflowFailed) and len(messages) == 2


def test_an_optional_step_that_times_out_is_cancelled_and_the_others_go_on() -> None:
    asked = run(step("a", timeout=60, retries=0, optional=True), step("b", "a"), step("c"))
    assert then(asked, [], WakeUp(), 60) == [
        CancelTask(task="a.1"),
        StepFailed(step="a", attempt=1, reasons=("it was not done within 60 seconds",)),
        StepSkipped(step="b", because=("a",)),
    ]


def test_one_wake_up_handles_every_time_that_has_come_the_earliest_first() -> None:
    """As after a restart."""
    asked = run(step("a", timeout=60), step("b", timeout=30), step("c"), step("d", timeout=600))
    given = after(asked, failed("c.1"))
    assert wakes(given) == 2
    messages = decided(decider, given, WakeUp(), at(300))
    assert tasks_in(messages) == ["c.2", "b.2", "a.2"]
    assert wakes([*given, *messages]) == 330, "the new timeout of b"


def test_a_task_that_failed_at_the_timeout_of_its_step_is_retried_at_once() -> None:
    messages = then(run(step("a", timeout=60)), [], failed("a.1", "deadline"))
    assert tasks_in(messages) == ["a.2"]


def test_a_failure_and_a_timeout_of_one_attempt_count_once_whichever_comes_first() -> None:
    asked = run(step("a", timeout=60))
    given = after(asked, failed("a.1", "deadline"))
    assert decided(decider, [*given, *decided(decider, given, WakeUp(), at(59))], WakeUp(), at(59)) == []
    given = [*after(asked), *then(asked, [], WakeUp(), 60)]
    for late in (failed("a.1", "deadline"), TaskCancelled(task="a.1"), answer("a.1")):
        assert decided(decider, given, late, at(60)) == []


def test_a_retry_and_the_timeout_of_the_attempt_before_it_at_one_time_start_one_attempt() -> None:
    asked = run(step("a", timeout=60))
    given = [*after(asked), *decided(decider, after(asked), failed("a.1"), at(58))]
    assert wakes(given) == 60
    assert tasks_in(decided(decider, given, WakeUp(), at(60))) == ["a.2"]


def test_a_timeout_after_the_end_of_its_attempt_changes_nothing() -> None:
    asked = run(step("a", timeout=60), step("b"))
    assert then(asked, [answer("a.1"), passed("a.1")], WakeUp(), 60) == []


def test_a_wake_up_ends_a_workflow_whose_budget_is_spent_once() -> None:
    asked = run(step("a"), step("b"), step("c"), budget=Decimal("0.1"))
    given = after(asked, failed("a.1"), failed("b.1", cost=Decimal("0.1")))
    result = result_in(decided(decider, given, WakeUp(), at(3)))
    assert isinstance(result, WorkflowFailed) and result.reason == "budget"


# Cancelling


def test_a_cancellation_cancels_the_active_steps() -> None:
    assert then(chain, [], cancel) == [
        StepCancelled(step="draft", because="cancelled"),
        CancelTask(task="draft.1"),
        WorkflowCancelled(request="r", by="ada", detail="rain is over"),
    ]


def test_a_cancelled_workflow_asks_for_no_wake_up() -> None:
    asked = run(step("a", timeout=60), step("b"))
    given = after(asked, failed("b.1"), cancel)
    assert wakes(given) is None
    assert decided(decider, given, WakeUp(), at(60)) == []


def test_a_cancellation_that_comes_before_the_plan_is_remembered() -> None:
    noted = PlanCancelNoted(by="ada", reason="rain is over")
    assert decided(decider, [], cancel) == [noted]
    assert decided(decider, [noted], cancel) == []
    for when in (one_step, expire, dead(one_step), dead(expire, topic="planner.commands")):
        assert decided(decider, [noted], when) == [WorkflowCancelled(request="r", by="ada", detail="rain is over")]
    assert decided(decider, [noted], answer("draft.1")) == []
