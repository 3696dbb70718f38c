"""The one result of a workflow, and what a dead letter does to it."""

import base64
import json
from decimal import Decimal

import pytest

from contracts.dead_letters import DeadLettered
from contracts.gateway import RejectReply
from contracts.planner import (
    PlanCancelNoted,
    StepFailed,
    StepPassed,
)
from contracts.results import Contribution, WorkflowCancelled, WorkflowCompleted, WorkflowFailed
from contracts.specialists import CancelTask
from hansard.decider import WakeUp
from hansard.message import Message
from tests.decisions import HERE, decided
from tests.spec.planner_kit import (
    after,
    answer,
    at,
    chain,
    check,
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
    task,
    then,
)

# The result


def test_the_result_is_the_answer_of_the_last_step_with_the_contributions_of_all() -> None:
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


def test_several_answers_are_joined_under_the_names_of_their_steps_in_plan_order() -> None:
    asked = run(step("a"), step("b"), step("c"), answer=("c", "a"))
    received = [message for name in "cba" for message in (answer(f"{name}.1", name.upper(), data=name), passed(f"{name}.1"))]
    result = result_in(after(asked, *received))
    assert isinstance(result, WorkflowCompleted)
    assert result.text == "## a\n\nA\n\n## c\n\nC"
    assert result.data == {"a": "a", "c": "c"}


def test_a_result_has_no_confidence_when_no_step_has_one() -> None:
    result = result_in(after(one_step, answer("draft.1"), passed("draft.1")))
    assert isinstance(result, WorkflowCompleted) and result.confidence is None


def test_a_step_has_the_lower_confidence_of_its_worker_and_its_judge() -> None:
    result = result_in(after(one_step, answer("draft.1", confidence=0.6), passed("draft.1", confidence=0.9)))
    assert isinstance(result, WorkflowCompleted) and result.confidence == 0.6


def test_the_cost_of_failed_attempts_is_in_the_result() -> None:
    messages = after(
        one_step, answer("draft.1"), rejected("draft.1", cost=Decimal("0.01")), failed("draft.2", cost=Decimal("0.2"))
    )
    for received in (WakeUp(), answer("draft.3"), passed("draft.3", cost=Decimal("0.02"))):
        messages += decided(decider, messages, received, at(5))
    result = result_in(messages)
    assert isinstance(result, WorkflowCompleted) and result.cost == Decimal("0.43")


# Dead letters


@pytest.mark.parametrize(
    "dead_letter",
    [
        dead(task("draft.1")),
        dead(answer("draft.1")),
        dead(body=None),
        dead(body="!"),
        dead(body=base64.b64encode(b"[1]").decode()),
        dead(body=base64.b64encode(json.dumps({"call": "specialists/draft.1/1"}).encode()).decode()),
    ],
)
def test_a_dead_letter_fails_the_workflow_that_waits_for_it(dead_letter: DeadLettered) -> None:
    messages = then(one_step, [], dead_letter)
    result = result_in(messages)
    assert isinstance(result, WorkflowFailed) and result.reason == "dead-letter"
    assert "boom" in result.detail
    assert CancelTask(task="draft.1") in messages


def test_a_dead_letter_to_the_gateway_about_a_rejected_answer_changes_nothing() -> None:
    dead_letter = dead(RejectReply(call="specialists/draft.1/1", reasons=("Too dry.",)))
    assert then(one_step, [answer("draft.1")], dead_letter) == []


@pytest.mark.parametrize("dead_letter", [dead(CancelTask(task="draft.1")), dead(answer("draft.1")), dead(check("draft.1"))])
def test_a_dead_letter_of_an_earlier_attempt_changes_nothing(dead_letter: DeadLettered) -> None:
    assert then(one_step, [answer("draft.1"), rejected("draft.1")], dead_letter) == []


def test_a_dead_lettered_check_fails_the_workflow() -> None:
    result = result_in(then(one_step, [answer("draft.1")], dead(check("draft.1"))))
    assert isinstance(result, WorkflowFailed) and result.reason == "dead-letter"


def test_a_dead_lettered_task_of_an_optional_step_fails_only_that_step() -> None:
    asked = run(step("a", optional=True), step("b"))
    assert isinstance(then(asked, [], dead(task("a.1")))[0], StepFailed)
    assert isinstance(result_in(after(asked, dead(task("a.1")), answer("b.1"), passed("b.1"))), WorkflowCompleted)


@pytest.mark.parametrize(
    "dead_letter",
    [dead(one_step), dead(expire, topic="planner.commands"), dead(one_step, body="!"), dead(topic="planner.commands")],
)
def test_a_dead_lettered_plan_fails_its_workflow(dead_letter: DeadLettered) -> None:
    (result,) = decided(decider, [], dead_letter)
    assert isinstance(result, WorkflowFailed) and result.reason == "dead-letter"
    assert result.request == ("r" if dead_letter.body and dead_letter.body != "!" else HERE.workflow)


@pytest.mark.parametrize("message", [one_step, expire, dead(one_step), dead(one_step, body="!"), dead(topic="planner.commands")])
@pytest.mark.parametrize("given", [[], [PlanCancelNoted(by="ada")]], ids=["no plan", "cancelled"])
def test_whatever_ends_a_workflow_before_its_plan_the_result_names_the_request(given: list[Message], message: Message) -> None:
    (result,) = decided(decider, given, message, at(3601))
    assert isinstance(result, WorkflowFailed | WorkflowCancelled) and result.request in ("r", HERE.workflow)
    assert (result.request == "r") == (message in (one_step, expire, dead(one_step)))


def test_a_running_plan_needs_no_message_about_its_deadline() -> None:
    assert then(one_step, [], dead(expire, topic="planner.commands")) == []


def test_before_the_plan_a_dead_letter_about_a_task_changes_nothing() -> None:
    assert decided(decider, [], dead(task("draft.1"))) == []


@pytest.mark.parametrize("given", [[], after(one_step), [PlanCancelNoted(by="ada")]])
def test_a_dead_letter_from_a_door_changes_nothing(given: list[Message]) -> None:
    assert decided(decider, given, dead(one_step, door=True, reason="correlation-in-use", topic="requests")) == []
