"""Steps that wait: for a person's answer, an event, a time; and the clock of the workflow, which stands still meanwhile."""

import re
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.approval import AskPerson, WithdrawAction
from contracts.control import SignalWorkflow
from contracts.planner import DeadlineMoved, ExpireWorkflow, RunPlan, SignalNoted, StepAnswered, StepFailed, StepWaiting
from contracts.plans import Step, Wait
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.router import ExpiryPostponed, MoveDeadline
from contracts.specialists import PerformTask
from hansard.decider import WakeUp
from hansard.message import Message
from hansard.reviews import request_sha256
from hansard.testing import given
from services.planner.graph import problems
from services.router.decider import router
from services.router.policy import Policy
from tests.decisions import NOON
from tests.spec.gates_kit import WORKERS, Workflow, answers, approved, expired, pay, run, signal, wait
from tests.spec.planner_kit import DEADLINE, answer, cancel, expire, failed, passed, result_in, step, tasks_in

DAY = 86_400
HOUR = 3_600
ASKED = {"question": "Which account?", "choices": ("A", "B"), "role": "treasurer", "timeout": DAY}
PAID = {"event": "paid", "timeout": DAY}


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


# A person's answer


def test_a_question_goes_to_a_person_whose_answer_is_that_of_the_step() -> None:
    workflow = Workflow(run(wait("asked", for_=ASKED), step("draft", "asked")))
    assert workflow.messages[-1] == AskPerson(
        action_id="asked.1", question="Which account?", role="treasurer", choices=("A", "B"), proposer="planner", seconds=DAY
    )
    moved, answered, task = workflow.receives(answers("B"), 5)
    assert moved == DeadlineMoved(deadline=DEADLINE + timedelta(seconds=5))
    assert isinstance(answered, StepAnswered) and isinstance(task, PerformTask)
    assert (answered.text, answered.data, answered.tier, answered.provider, answered.passed) == (
        "B",
        "B",
        "person",
        "alice",
        True,
    )
    assert [(given.step, given.text, given.data) for given in task.context] == [("asked", "B", "B")]


def test_an_answer_that_is_data_is_data_for_the_next_step() -> None:
    workflow = Workflow(run(wait("asked", for_={"question": "Who?"}), step("draft", "asked")))
    task = workflow.receives(answers({"name": "Ada"}))[-1]
    assert isinstance(task, PerformTask)
    assert (task.context[0].data, task.context[0].text) == ({"name": "Ada"}, '{"name": "Ada"}')


def test_a_question_that_nobody_answers_fails_the_step_or_has_the_answer_of_the_plan() -> None:
    workflow = Workflow(run(wait("asked", for_=ASKED)))
    more = workflow.receives(expired(), DAY)
    assert kinds(more) == ["DeadlineMoved", "StepFailed", "WorkflowFailed"]
    assert workflow.stored(StepFailed)[0].reasons == ("it waited 86400 seconds for an answer, and none came",)
    workflow = Workflow(run(wait("asked", for_=ASKED | {"otherwise": "A"})))
    completed = workflow.receives(expired(), DAY)[-1]
    assert isinstance(completed, WorkflowCompleted)
    assert (completed.text, completed.contributions[0].tier) == ("A", "timeout")


def test_a_question_has_its_time_out_also_where_approval_is_away() -> None:
    workflow = Workflow(run(wait("asked", for_=ASKED)))
    assert workflow.wakes_at == DAY
    assert kinds(workflow.wakes()) == ["WithdrawAction", "DeadlineMoved", "StepFailed", "WorkflowFailed"]
    assert workflow.receives(answers("B")) == []


def test_a_cancelled_workflow_withdraws_its_question() -> None:
    more = Workflow(run(wait("asked", for_=ASKED))).receives(cancel)
    assert isinstance(more[-1], WorkflowCancelled)
    assert WithdrawAction(action_id="asked.1", reason="the workflow ended: cancelled") in more


# An event


def test_an_event_is_the_answer_of_every_step_that_waits_for_it() -> None:
    workflow = Workflow(run(wait("a", for_=PAID), wait("b", for_=PAID), step("c", "a", "b")))
    more = workflow.receives(signal(data={"amount": "5"}), 9)
    assert kinds(more) == ["SignalNoted", "StepAnswered", "DeadlineMoved", "StepAnswered", "PerformTask"]
    assert [one.data for one in workflow.stored(StepAnswered)] == [{"amount": "5"}] * 2


def test_an_event_may_come_before_its_step_waits_and_the_first_one_counts() -> None:
    workflow = Workflow(run(step("draft", verify="none"), wait("paid", "draft", for_=PAID), step("thank", "paid")))
    assert workflow.receives(signal(data=1)) == [SignalNoted(name="paid", data=1, by="shop")]
    assert workflow.receives(signal(data=2)) == []
    more = workflow.receives(answer("draft.1"), 4)
    assert kinds(more) == ["StepAnswered", "StepWaiting", "StepAnswered", "PerformTask"]
    assert workflow.stored(StepAnswered)[1].data == 1
    assert workflow.wakes_at == HOUR, "nobody waited, so the deadline is where it was"


def test_an_event_may_come_before_the_plan() -> None:
    workflow = Workflow(run(wait("paid", for_=PAID), step("thank", "paid")), signal(data=1), signal(data=2))
    assert tasks_in(workflow.messages) == ["thank.1"]
    assert workflow.stored(StepAnswered)[0].data == 1


def test_only_some_events_are_remembered_before_the_plan() -> None:
    many = [signal(f"e{n}") for n in range(25)]
    assert len(Workflow(run(step("a")), *many).stored(SignalNoted)) == 20


def test_an_event_that_no_step_waits_for_is_not_noted() -> None:
    workflow = Workflow(run(wait("paid", for_=PAID)))
    assert workflow.receives(signal("refunded")) == []


def test_an_event_that_does_not_come_fails_the_step_or_has_the_answer_of_the_plan() -> None:
    workflow = Workflow(run(wait("paid", for_=PAID)))
    assert kinds(workflow.wakes()) == ["DeadlineMoved", "StepFailed", "WorkflowFailed"]
    assert "for the event 'paid'" in workflow.stored(StepFailed)[0].reasons[0]
    workflow = Workflow(run(wait("paid", for_=PAID | {"otherwise": {"paid": False}})))
    completed = workflow.wakes()[-1]
    assert isinstance(completed, WorkflowCompleted) and completed.data == {"paid": False}


def test_a_long_chain_of_events_that_have_come_is_passed_at_once() -> None:
    """One after the other: not one inside of the other, of which Python allows a thousand."""
    names = [f"s{n}" for n in range(1_500)]
    steps = [wait(name, *names[max(n - 1, 0) : n], for_=PAID) for n, name in enumerate(names)]
    workflow = Workflow(run(step("first", verify="none"), wait("s", "first", for_=PAID), *steps))
    workflow.receives(signal())
    assert len(workflow.stored(StepAnswered)) == 1_500


# A time


def test_a_step_waits_for_a_time_or_for_some_seconds() -> None:
    workflow = Workflow(run(wait("a", for_={"until": NOON + timedelta(hours=5)}), wait("b", "a", for_={"seconds": 60})))
    assert workflow.wakes_at == 5 * HOUR
    assert kinds(workflow.wakes()) == ["DeadlineMoved", "StepAnswered", "StepWaiting"]
    assert workflow.wakes_at == 5 * HOUR + 60
    completed = workflow.wakes()[-1]
    assert isinstance(completed, WorkflowCompleted)
    assert completed.text == (NOON + timedelta(hours=5, minutes=1)).isoformat()


def test_a_time_that_is_over_is_not_waited_for() -> None:
    over = {"until": NOON - timedelta(days=1)}
    workflow = Workflow(run(wait("a", for_=over), wait("b", "a", for_=over), step("c", "b")))
    assert workflow.wakes_at == 0
    workflow.wakes()
    assert tasks_in(workflow.messages) == ["c.1"]
    assert workflow.wakes_at == HOUR


def test_a_time_that_is_too_far_away_fails_the_step() -> None:
    workflow = Workflow(run(wait("a", for_={"until": NOON + timedelta(days=400)})))
    assert "a step waits at most 366 days" in workflow.stored(StepFailed)[0].reasons[0]


# The clock of the workflow


def test_the_deadline_moves_by_the_time_that_was_waited_and_tasks_get_the_new_one() -> None:
    workflow = Workflow(run(wait("asked", for_=ASKED), step("draft", "asked")))
    task = workflow.receives(answers("A"), 2 * HOUR)[-1]
    assert isinstance(task, PerformTask) and task.deadline == DEADLINE + timedelta(hours=2)
    assert workflow.wakes_at == 3 * HOUR
    assert isinstance(result_in(workflow.wakes()), WorkflowFailed)


def test_time_counts_once_however_many_steps_wait_at_once() -> None:
    workflow = Workflow(run(wait("a", for_={"seconds": 60}), wait("b", for_={"seconds": 90}), step("c", "a", "b")))
    assert kinds(workflow.wakes()) == ["StepAnswered"]
    assert kinds(workflow.wakes())[:2] == ["DeadlineMoved", "StepAnswered"]
    assert workflow.wakes_at == HOUR + 90


def test_a_step_that_starts_while_another_waits_has_as_long_as_the_workflow_has() -> None:
    workflow = Workflow(run(wait("a", for_={"seconds": 5 * HOUR}), step("b", verify="none"), step("c", "b", timeout=9 * HOUR)))
    task = workflow.receives(answer("b.1"), 4 * HOUR)[-1]
    assert isinstance(task, PerformTask) and task.deadline == NOON + timedelta(hours=13)
    workflow.wakes()
    assert workflow.wakes_at == 6 * HOUR


def test_a_task_that_ended_at_a_deadline_which_has_moved_is_tried_again() -> None:
    workflow = Workflow(run(wait("a", for_={"seconds": 5 * HOUR}), step("b")))
    more = workflow.receives(failed("b.1", "deadline"), HOUR)
    assert kinds(more) == ["StepRetried", "PerformTask"]


def test_a_next_attempt_waits_its_time_while_the_clock_stands_still() -> None:
    workflow = Workflow(run(wait("a", for_={"seconds": 5 * HOUR}), step("b")))
    workflow.receives(failed("b.1"), 2 * HOUR)
    assert workflow.wakes_at == 2 * HOUR + 2
    assert tasks_in(workflow.wakes()) == ["b.2"]


def test_a_wake_up_that_is_late_takes_nothing_from_the_workflow() -> None:
    workflow = Workflow(run(wait("a", for_={"seconds": 60}), step("b", "a")))
    workflow.wakes(5 * HOUR)
    assert workflow.wakes_at == 6 * HOUR


def test_no_step_begins_to_wait_once_the_deadline_has_passed() -> None:
    workflow = Workflow(run(step("a"), wait("b", "a", for_=ASKED)))
    workflow.receives(answer("a.1"))
    more = workflow.receives(passed("a.1"), HOUR + 1)
    assert workflow.stored(StepWaiting) == []
    assert isinstance(result_in(more), WorkflowFailed)


YEAR = 366 * DAY


def waited(*seconds: float) -> Workflow:
    """A workflow of an hour that has waited so long, one step after the other, and waits for the event `paid` since."""
    names = [f"s{n}" for n in range(len(seconds))]
    steps = [wait(name, *names[max(n - 1, 0) : n], for_={"seconds": seconds[n]}) for n, name in enumerate(names)]
    workflow = Workflow(run(*steps, wait("last", names[-1], for_=PAID | {"timeout": YEAR}), step("thank", "last")))
    for _ in names:
        workflow.wakes()
    return workflow


def test_the_clock_stands_still_for_366_days_in_all() -> None:
    workflow = waited(300 * DAY, 60 * DAY)
    assert workflow.wakes_at == YEAR + HOUR
    [*_, failed] = workflow.wakes()
    assert isinstance(failed, WorkflowFailed) and failed.reason == "deadline"
    assert failed.detail == f"the deadline {(DEADLINE + timedelta(days=366)).isoformat()} has passed"


def test_once_it_has_stood_still_so_long_a_further_wait_does_not_stop_the_clock() -> None:
    workflow = waited(300 * DAY, 66 * DAY)
    moved = len(workflow.stored(DeadlineMoved))
    task = workflow.receives(signal(), YEAR + 60)[-1]
    assert isinstance(task, PerformTask) and task.deadline == DEADLINE + timedelta(days=366)
    assert len(workflow.stored(DeadlineMoved)) == moved == 2
    assert workflow.wakes_at == YEAR + HOUR


def test_the_router_is_told_no_later_deadline_than_that_and_then_believed() -> None:
    workflow, last = waited(300 * DAY, 60 * DAY), DEADLINE + timedelta(days=366)
    assert workflow.receives(expire, 360 * DAY + HOUR) == [MoveDeadline(deadline=last)]
    assert isinstance(result_in(workflow.receives(ExpireWorkflow(request="r", deadline=last), YEAR + HOUR)), WorkflowFailed)


# The router


def test_the_router_is_told_a_deadline_until_which_it_need_not_ask_again() -> None:
    workflow = Workflow(run(wait("a", for_={"seconds": 5 * HOUR}), step("b", "a")))
    assert workflow.receives(expire, HOUR) == [MoveDeadline(deadline=DEADLINE + timedelta(hours=5))]
    workflow.wakes()
    assert workflow.receives(expire, 5 * HOUR) == [MoveDeadline(deadline=DEADLINE + timedelta(hours=5))]
    moved = ExpireWorkflow(request="r", deadline=DEADLINE + timedelta(hours=5))
    assert isinstance(result_in(workflow.receives(moved, 6 * HOUR)), WorkflowFailed)


def test_the_router_asks_at_the_deadline_and_again_at_the_one_that_it_is_told() -> None:
    policy = router(Policy())
    later, latest = DEADLINE + timedelta(hours=5), DEADLINE + timedelta(hours=9)
    routed = given(policy).when(SubmitRequest(text="Rain?", deadline=DEADLINE)).messages
    told = given(policy, *routed).when(WakeUp()).then(ExpireWorkflow(request="req-1", deadline=DEADLINE))
    assert policy.next_wake_up(told.state) is None, "the workflow is the planner's now"
    again = told.when(MoveDeadline(deadline=later)).then(ExpiryPostponed(deadline=later))
    again = again.when(MoveDeadline(deadline=DEADLINE)).then()
    again = again.when(MoveDeadline(deadline=latest)).then(ExpiryPostponed(deadline=latest))
    again.when(WakeUp()).then(ExpireWorkflow(request="req-1", deadline=latest))


def test_a_router_that_has_given_the_result_moves_nothing() -> None:
    done = given(router(Policy())).when(SubmitRequest(type="calculate_tax", data={"amount": "100", "region": "US-CA"}))
    given(router(Policy()), *done.messages).when(MoveDeadline(deadline=DEADLINE)).then()


def test_the_router_passes_on_who_sent_the_request_and_what_was_signed() -> None:
    body: dict[str, Any] = {"text": "Refund it.", "budget": "0.50"}
    signed = body | {"requester": "bob", "requester_key": "k1", "requester_signature": "c2ln"}
    run = given(router(Policy())).when(SubmitRequest.model_validate(signed)).messages[-1]
    assert isinstance(run, RunPlan) and run.requester is not None
    assert (run.requester.name, run.requester.key, run.requester.signature) == ("bob", "k1", "c2ln")
    assert (run.requester.sha256, run.requester.proof) == (request_sha256(signed), "unproven")
    unsigned = given(router(Policy())).when(SubmitRequest.model_validate(body)).messages[-1]
    assert isinstance(unsigned, RunPlan) and unsigned.requester is None


# Plans


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"worker": "wait"},
            "step 'a': the worker 'wait' needs `wait`, which says what for, or a `gate` with `text_from`, whose text is approved",
        ),
        ({"wait": {"seconds": 1}}, "step 'a': `wait` goes with the worker 'wait', and 'writer' does not wait"),
        (
            {"worker": "wait", "wait": {"seconds": 1}, "gate": {"action": {"tool": "t"}}},
            "step 'a': it waits and does nothing that could be approved: give `gate` to a step of its own",
        ),
    ],
)
def test_a_step_that_cannot_wait_is_a_problem_of_the_plan(changes: dict[str, Any], problem: str) -> None:
    plan = run(Step.model_validate({"id": "a", "worker": "writer"} | changes)).plan
    assert problems(plan, WORKERS) == (problem,)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "give one of `question`, `event`, `until` and `seconds`, not none"),
        ({"question": "?", "seconds": 5}, "not question and seconds"),
        ({"event": "e", "choices": ["a"]}, "`choices` goes with `question`"),
        ({"seconds": 5, "otherwise": 1}, "a time always comes"),
        ({"until": "9999-12-31T23:59:59-05:00"}, "between the years 1 and 9999"),
        ({"seconds": 400 * DAY}, "less than or equal to 31622400"),
    ],
)
def test_a_step_waits_for_one_thing(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(why)):
        Wait.model_validate(fields)


def test_a_question_is_not_answered_by_an_event_nor_an_action_by_an_answer() -> None:
    assert Workflow(run(wait("asked", for_=ASKED))).receives(SignalWorkflow(name="asked")) == []
    assert Workflow(run(pay())).receives(answers("yes", "pay")) == []
    assert Workflow(run(wait("asked", for_=ASKED))).receives(approved(action_id="asked.1")) == []
