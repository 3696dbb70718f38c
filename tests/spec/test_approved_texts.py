"""A text that a person approves, and is the answer then; and failures after which an approved action is not tried again."""

from typing import Any

import pytest

from contracts.approval import ProposeAction
from contracts.planner import StepAnswered
from contracts.plans import Gate
from contracts.results import WorkflowCompleted, WorkflowFailed
from contracts.specialists import PerformTask, TaskFailed
from hansard.actions import read_action
from hansard.values import ContentReference
from services.planner.graph import problems
from tests.spec.gates_kit import WORKERS, Workflow, approved, edited, pay, rejected, run
from tests.spec.planner_kit import answer, step

ACTION: dict[str, Any] = {"tool": "answer", "about": "Give this answer"}


def letter(text: str = "Dear all.", **more: Any) -> Workflow:
    """A workflow whose step `draft` has answered, and whose step `approve` needs a person."""
    gate = Gate(approval="always", action=ACTION, text_from="draft")
    workflow = Workflow(run(step("draft", verify="none"), step("approve", "draft", worker="wait", gate=gate)))
    workflow.receives(answer("draft.1", text, **more))
    return workflow


def as_action(text: str) -> dict[str, Any]:
    return ACTION | {"arguments": {"text": text}}


def test_the_text_is_proposed_as_it_stands() -> None:
    proposed = letter().proposed
    assert (proposed.action_id, proposed.gate) == ("approve.1", "always")
    assert read_action(proposed.action.encode()).arguments == {"text": "Dear all."}


def test_an_approved_text_is_the_answer_and_nobody_performs_anything() -> None:
    workflow = letter()
    answered, completed = workflow.receives(approved(as_action("Dear all."), action_id="approve.1"))
    assert isinstance(answered, StepAnswered) and isinstance(completed, WorkflowCompleted)
    assert (completed.text, answered.provider) == ("Dear all.", "alice")
    assert [task.task for task in workflow.stored(PerformTask)] == ["draft.1"]


def test_an_edited_text_is_the_answer_as_it_was_edited() -> None:
    *_, completed = letter().receives(edited(as_action("Dear you."), of=as_action("Dear all."), action_id="approve.1"))
    assert isinstance(completed, WorkflowCompleted) and completed.text == "Dear you."


def test_a_rejected_text_is_no_answer() -> None:
    *_, failed = letter().receives(rejected(action_id="approve.1"))
    assert isinstance(failed, WorkflowFailed) and "alice rejected the action: Too much." in failed.detail


def test_a_text_that_is_too_long_to_be_read_whole_is_not_proposed() -> None:
    whole = ContentReference(sha256="a" * 64, size=900_000)
    workflow = letter(text_ref=whole)
    assert workflow.stored(ProposeAction) == []
    [failed] = workflow.stored(WorkflowFailed)
    assert "900000 bytes: too much for a person to approve" in failed.detail


def test_a_waiting_step_without_anything_to_wait_for_is_refused() -> None:
    plan = run(step("draft"), step("approve", "draft", worker="wait", gate=Gate(action=ACTION))).plan
    assert any("or a `gate` with `text_from`" in problem for problem in problems(plan, WORKERS))


@pytest.mark.parametrize(("final", "retried"), [(True, False), (False, True)])
def test_a_final_failure_is_not_tried_again(final: bool, retried: bool) -> None:
    workflow = Workflow(run(pay(retries=2)))
    workflow.receives(approved())
    workflow.receives(TaskFailed(task="pay.1", role="ledger", reason="internal", detail="refused: amount", final=final))
    assert bool(workflow.stored(WorkflowFailed)) is not retried
