"""A gate on a step: the exact action is proposed, and nothing runs but what was approved."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from contracts.approval import GiveMore, ProposeAction, Requester, WithdrawAction
from contracts.planner import DeadlineMoved, PlanRejected, ReviewerAnswered, StepFailed, StepRetried, StepSkipped, StepWaiting
from contracts.results import WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import CancelTask, PerformTask, TaskCancelled
from hansard.actions import action_reference
from hansard.message import Message
from services.planner.graph import problems
from tests.decisions import NOON
from tests.spec.gates_kit import (
    DECISION,
    OTHER,
    REFUND,
    WORKERS,
    Workflow,
    answers,
    approved,
    asks_more,
    bytes_of,
    decider,
    edited,
    pay,
    rejected,
    run,
    seconds_of,
    signal,
    wait,
)
from tests.spec.planner_kit import DEADLINE, answer, at, cancel, dead, expire, failed, passed, result_in, step, tasks_in

DAY = 86_400


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


# Proposing


def test_a_gated_step_proposes_its_action_and_waits() -> None:
    workflow = Workflow(run(pay()))
    data = bytes_of(REFUND)
    assert kinds(workflow.messages) == ["PlanStarted", "StepWaiting", "ProposeAction"]
    assert workflow.proposed == ProposeAction(
        action_id="pay.1",
        action=data.decode(),
        action_ref=action_reference(data),
        sha256=action_reference(data).sha256,
        gate="policy",
        reasons=("Rain.",),
        proposer="planner",
    )


def test_what_the_gate_and_the_request_state_is_proposed() -> None:
    more = {
        "approval": "always",
        "confidence": 0.4,
        "cost": "9.50",
        "currency": "EUR",
        "personal_data": True,
        "domain": "medical",
    }
    who = Requester(name="bob", key="k", sha256="0" * 64, signature="s")
    proposed = Workflow(run(pay(gate=more | {"quorum": 2, "seconds": 60}), requester=who)).proposed
    assert (proposed.gate, proposed.confidence, proposed.cost, proposed.currency) == ("always", 0.4, Decimal("9.50"), "EUR")
    assert (proposed.personal_data, proposed.domain, proposed.quorum, proposed.seconds) == (True, "medical", 2, 60)
    assert proposed.requester == who


def after_draft(*needs: str, data: Any = None, confidence: float | None = 0.9, gate: dict[str, Any] | None = None) -> Workflow:
    workflow = Workflow(run(*(step(need, verify="none") for need in needs), pay(*needs, gate=gate)))
    for need in needs:
        workflow.receives(answer(f"{need}.1", f"View of {need}.", data=data, confidence=confidence))
    return workflow


def test_an_answer_gives_fields_of_the_action_over_the_static_ones() -> None:
    workflow = after_draft("draft", data={"amount": "7", "arguments": {"invoice": "R-1"}}, gate={"action_from": "draft"})
    assert workflow.proposed.action.encode() == bytes_of(REFUND | {"amount": "7", "arguments": {"invoice": "R-1"}})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "no object"),
        ("Refund it.", "no object"),
        ([REFUND], "no object"),
        ({"amount": 49.9}, "amount: money travels as a string"),
        ({"ammount": "7"}, "no action has a field 'ammount', perhaps 'amount'"),
        ({"tool": ""}, "tool"),
        ({"arguments": {"note": "x" * 70_000}}, "can approve at most"),
    ],
)
def test_an_answer_that_makes_no_action_fails_the_step_and_nothing_is_guessed(data: Any, why: str) -> None:
    workflow = after_draft("draft", data=data, gate={"action_from": "draft"})
    [failure] = workflow.stored(StepFailed)
    assert why in failure.reasons[0]
    assert workflow.stored(ProposeAction) == []
    assert isinstance(result_in(workflow.messages), WorkflowFailed)


def test_an_answer_whose_data_travels_by_reference_makes_no_action() -> None:
    workflow = Workflow(run(step("draft", verify="none"), pay("draft", gate={"action_from": "draft"})))
    workflow.receives(answer("draft.1", data_ref=action_reference(b"{}")))
    assert "no object" in workflow.stored(StepFailed)[0].reasons[0]


def test_the_confidence_is_the_least_of_what_the_action_rests_on_and_unknown_where_any_is() -> None:
    workflow = Workflow(run(step("a", verify="none"), step("b", verify="none"), pay("a", "b")))
    workflow.receives(answer("a.1", confidence=0.9))
    workflow.receives(answer("b.1", confidence=0.6))
    assert workflow.proposed.confidence == 0.6
    assert after_draft("draft", confidence=None).proposed.confidence is None
    assert Workflow(run(pay())).proposed.confidence is None


PLANS = 1.0  # a plan's own confidence


@pytest.mark.parametrize("for_", [{"event": "paid", "timeout": DAY}, {"question": "How much?"}])
@pytest.mark.parametrize("gate", [{"action_from": "came"}, {"text_from": "came"}])
def test_a_plan_knows_no_confidence_in_what_comes_from_outside(for_: dict[str, Any], gate: dict[str, Any]) -> None:
    workflow = Workflow(run(wait("came", for_=for_), pay("came", gate=gate | {"confidence": PLANS})))
    workflow.receives(signal(data={"amount": "499"}) if "event" in for_ else answers({"amount": "499"}, "came"))
    assert workflow.proposed.confidence is None


def test_a_worker_that_hands_on_what_came_from_outside_vouches_for_it_itself() -> None:
    steps = wait("came", for_={"event": "paid", "timeout": DAY}), step("draft", "came", verify="none")
    workflow = Workflow(run(*steps, pay("draft", gate={"action_from": "draft", "confidence": PLANS})))
    workflow.receives(signal(data={"amount": "499"}))
    workflow.receives(answer("draft.1", data={"amount": "499"}, confidence=0.3))
    assert workflow.proposed.confidence == 0.3


def test_a_plan_vouches_for_fields_of_its_own_whatever_the_step_waited_for() -> None:
    steps = step("draft", verify="none"), wait("came", for_={"event": "paid", "timeout": DAY})
    workflow = Workflow(run(*steps, pay("draft", "came", gate={"action_from": "draft", "confidence": PLANS})))
    workflow.receives(answer("draft.1", data={"amount": "7"}))
    workflow.receives(signal())
    assert workflow.proposed.confidence == PLANS


def test_answers_that_contradict_each_other_are_put_before_the_person() -> None:
    proposed = after_draft("a", "b", gate={"options_from": ("a", "b")}).proposed
    assert [(option.source, option.view, option.confidence) for option in proposed.options] == [
        ("a", "View of a.", 0.9),
        ("b", "View of b.", 0.9),
    ]
    assert proposed.reasons == ("Rain.", "a: View of a.", "b: View of b.")


# Decisions


def test_the_approved_bytes_run_and_the_task_names_the_decision() -> None:
    workflow = Workflow(run(pay()))
    [task] = workflow.receives(approved())
    assert isinstance(task, PerformTask)
    assert (task.task, task.service, task.role) == ("pay.1", "ledger", "ledger")
    assert task.approval is not None
    assert (task.approval.action, task.approval.decision) == (action_reference(bytes_of(REFUND)), DECISION)
    assert (task.approval.status, task.approval.by, task.approval.policy) == ("human_approved", ("alice",), "a1")


def test_what_a_reviewer_edited_runs_as_it_was_edited() -> None:
    [task] = Workflow(run(pay())).receives(edited())
    assert isinstance(task, PerformTask) and task.approval is not None
    assert task.approval.action == action_reference(bytes_of(OTHER))


@pytest.mark.parametrize(
    "other",
    [
        approved(OTHER),
        edited(REFUND, of=OTHER),
        approved(sha256="0" * 64),
        approved(action=bytes_of(OTHER).decode()),
        approved(action_ref=None),
        approved(action_ref=action_reference(bytes_of(OTHER))),
    ],
)
def test_an_approval_of_other_bytes_runs_nothing(other: Message) -> None:
    workflow = Workflow(run(pay()))
    more = workflow.receives(other)
    assert tasks_in(more) == []
    assert "other bytes" in workflow.stored(StepFailed)[0].reasons[0]


def test_a_decision_about_another_action_changes_nothing() -> None:
    workflow = Workflow(run(pay()))
    assert workflow.receives(approved(action_id="pay.2")) == []
    assert workflow.receives(approved(action_id="other.1")) == []
    assert workflow.receives(signal("pay")) == []


@pytest.mark.parametrize(
    ("because", "why"), [("reviewed", "alice rejected the action: Too much."), ("expired", "silence is no consent")]
)
def test_a_rejected_action_fails_the_step_which_is_not_tried_again(because: str, why: str) -> None:
    workflow = Workflow(run(pay(retries=5), step("after", "pay")))
    more = workflow.receives(rejected(because), 5)
    assert kinds(more) == ["DeadlineMoved", "StepFailed", "StepSkipped", "WorkflowFailed"]
    assert why in workflow.stored(StepFailed)[0].reasons[0]
    assert workflow.stored(StepSkipped)[0].step == "after"


def test_after_the_decision_a_second_one_changes_nothing() -> None:
    workflow = Workflow(run(pay()))
    workflow.receives(approved())
    assert workflow.receives(approved()) == []
    assert workflow.receives(edited()) == []
    assert workflow.receives(rejected()) == []


def test_a_retry_runs_under_the_same_approval() -> None:
    """An executor carries out one approval once: a second attempt finds what the first one did."""
    workflow = Workflow(run(pay(verify="none"), step("after", "pay")))
    [first] = workflow.receives(approved())
    [retried] = workflow.receives(failed("pay.1", "internal"))
    assert isinstance(retried, StepRetried)
    [second] = workflow.wakes()
    assert isinstance(first, PerformTask) and isinstance(second, PerformTask)
    assert (second.task, second.approval) == ("pay.2", first.approval)
    assert tasks_in(workflow.receives(answer("pay.2"))) == ["after.1"]
    assert len(workflow.stored(ProposeAction)) == 1


def test_a_check_that_fails_runs_it_again_under_the_same_approval() -> None:
    from tests.spec.planner_kit import rejected as claim_rejected

    workflow = Workflow(run(pay()))
    [first] = workflow.receives(approved())
    workflow.receives(answer("pay.1"))
    second = workflow.receives(claim_rejected("pay.1"))[-1]
    assert isinstance(first, PerformTask) and isinstance(second, PerformTask)
    assert second.approval == first.approval


# What a reviewer asks


def test_a_reviewers_question_goes_to_the_worker_of_the_step_before_and_its_answer_comes_back() -> None:
    workflow = Workflow(run(step("draft", worker="analyst", verify="none"), pay("draft")))
    workflow.receives(answer("draft.1", "Nine hours."))
    [task] = workflow.receives(asks_more(2, "How long did it last?"))
    assert isinstance(task, PerformTask)
    assert (task.task, task.service, task.role, task.approval) == ("pay.1.q2", "specialists", "analyst", None)
    assert "How long did it last?" in task.instructions and bytes_of(REFUND).decode() in task.instructions
    assert [given.text for given in task.context] == ["Nine hours."]
    more = workflow.receives(answer("pay.1.q2", "Nine hours, by the log.", cost=Decimal("0.3")))
    assert more == [
        ReviewerAnswered(task="pay.1.q2", cost=Decimal("0.3"), input_tokens=7, output_tokens=3),
        GiveMore(action_id="pay.1", question=2, answer="Nine hours, by the log."),
    ]
    assert workflow.receives(answer("pay.1.q2", "Again.")) == []


def test_the_gate_may_name_who_answers_and_what_that_costs_is_the_workflows() -> None:
    workflow = Workflow(run(pay(gate={"ask": "writer"}, verify="none")))
    [task] = workflow.receives(asks_more())
    assert isinstance(task, PerformTask) and task.role == "writer"
    workflow.receives(answer("pay.1.q1"))
    workflow.receives(approved())
    result = workflow.receives(answer("pay.1", cost=Decimal(0)))[-1]
    assert isinstance(result, WorkflowCompleted)
    assert (result.cost, result.input_tokens) == (Decimal("0.1"), 14)


def test_a_question_that_finds_no_answer_has_an_honest_one() -> None:
    workflow = Workflow(run(pay()))
    workflow.receives(asks_more(1))
    workflow.receives(asks_more(2))
    workflow.receives(asks_more(3))
    given = [
        workflow.receives(failed("pay.1.q1", "budget"))[-1],
        workflow.receives(TaskCancelled(task="pay.1.q2"))[-1],
        workflow.receives(dead(PerformTask(task="pay.1.q3", role="analyst", goal="g", deadline=DEADLINE)))[-1],
    ]
    assert all(isinstance(one, GiveMore) and "found no answer" in one.answer for one in given)


def test_no_question_is_answered_for_money_that_is_not_there_or_without_end() -> None:
    workflow = Workflow(run(step("a", verify="none"), pay("a"), budget=Decimal("0.2")))
    workflow.receives(answer("a.1", cost=Decimal("0.1")))
    workflow.receives(asks_more(1))
    workflow.receives(answer("pay.1.q1", cost=Decimal("0.1")))
    [refused] = workflow.receives(asks_more(2))
    assert isinstance(refused, GiveMore) and "$0.2 of its $0.2 are spent" in refused.answer
    [refused] = Workflow(run(pay())).receives(asks_more(21))
    assert isinstance(refused, GiveMore) and "no more than 20 questions" in refused.answer


def test_an_answer_that_nobody_waits_for_any_more_is_called_off() -> None:
    workflow = Workflow(run(pay()))
    workflow.receives(asks_more())
    more = workflow.receives(approved())
    assert CancelTask(task="pay.1.q1", service="specialists") in more
    assert workflow.receives(answer("pay.1.q1")) == []


# Ends


@pytest.mark.parametrize("end", [cancel, dead()])
def test_what_ends_the_workflow_withdraws_the_action(end: Message) -> None:
    workflow = Workflow(run(pay()))
    assert WithdrawAction in map(type, workflow.receives(end))
    assert isinstance(result_in(workflow.messages), WorkflowCancelled | WorkflowFailed)
    assert workflow.receives(approved()) == []


def test_a_decision_that_never_comes_is_withdrawn_a_day_after_it_should_have_expired() -> None:
    workflow = Workflow(run(pay(gate={"seconds": 60})))
    assert workflow.wakes_at == 60 + DAY
    more = workflow.wakes()
    assert kinds(more) == ["WithdrawAction", "DeadlineMoved", "StepFailed", "WorkflowFailed"]


def test_the_clock_of_the_workflow_stands_still_while_a_person_decides() -> None:
    workflow = Workflow(run(pay()))
    moved, task = workflow.receives(approved(), 3 * DAY)
    assert moved == DeadlineMoved(deadline=DEADLINE + timedelta(days=3))
    assert isinstance(task, PerformTask) and task.deadline == DEADLINE + timedelta(days=3)
    assert workflow.wakes_at == seconds_of(DEADLINE) + 3 * DAY


def test_an_action_whose_proposal_became_a_dead_letter_ends_the_workflow() -> None:
    workflow = Workflow(run(pay()))
    workflow.receives(dead(workflow.proposed, service="approval", topic="approval.commands"))
    assert isinstance(result_in(workflow.messages), WorkflowFailed)


def test_the_dead_letter_of_an_optional_steps_proposal_fails_the_step_alone() -> None:
    workflow = Workflow(run(pay(optional=True), step("other")))
    more = workflow.receives(dead(workflow.proposed, service="approval", topic="approval.commands"))
    assert kinds(more) == ["WithdrawAction", "StepFailed"]


def test_no_step_is_proposed_once_the_deadline_has_passed() -> None:
    workflow = Workflow(run(step("a"), pay("a")))
    workflow.receives(answer("a.1"))
    workflow.receives(passed("a.1"), seconds_of(DEADLINE) + 1)
    assert workflow.stored(ProposeAction) == []
    assert isinstance(result_in(workflow.messages), WorkflowFailed)


# Plans


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ({"action": {}}, "step 'pay': its action: tool: Field required"),
        ({"action": REFUND | {"ammount": "5"}}, "step 'pay': its action: no action has a field 'ammount', perhaps 'amount'"),
        ({"action": REFUND | {"amount": 5.5}}, "step 'pay': its action: amount: money travels as a string, never as a float"),
        ({"action_from": "x"}, "step 'pay': `action_from` names 'x', which is not among its `needs`"),
        ({"options_from": ("x",)}, "step 'pay': `options_from` names 'x', which is not among its `needs`"),
        ({"ask": "clown"}, "step 'pay': `ask`: no worker is named 'clown'; there are analyst, ledger, writer"),
        ({"action": {"amuont": "5"}, "action_from": "a"}, "step 'pay': its action: no action has a field 'amuont', perhaps"),
    ],
)
def test_a_gate_that_cannot_work_is_a_problem_of_the_plan(gate: dict[str, Any], problem: str) -> None:
    found = problems(run(step("a"), pay("a", gate=gate)).plan, WORKERS)
    assert len(found) == 1 and found[0].startswith(problem)
    workflow = Workflow(run(step("a"), pay("a", gate=gate)))
    assert kinds(workflow.messages) == ["PlanRejected", "WorkflowFailed"]
    assert workflow.stored(PlanRejected)[0].problems == found


def test_without_a_deadline_that_moved_the_router_is_believed() -> None:
    assert isinstance(result_in(Workflow(run(step("a"))).receives(expire)), WorkflowFailed)


def test_a_gated_step_is_folded_as_it_was_decided() -> None:
    workflow = Workflow(run(pay()))
    workflow.receives(approved(), 7)
    assert decider.fold(workflow.messages) == workflow.state
    assert [one.since for one in workflow.stored(StepWaiting)] == [at(0).at] == [NOON]
