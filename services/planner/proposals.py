"""What a gated step proposes, and whether an approval is of it. The action is written once, here, and never again."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from contracts.approval import ActionApproved, ActionRejected, Option, ProposeAction, Requester
from contracts.planner import StepAnswered
from contracts.plans import Gate, Step
from hansard.actions import Approval, BadAction, action_bytes, action_reference, read_action
from hansard.decider import Context
from hansard.identity import task_name
from hansard.references import is_whole
from services.planner.actions import action_of
from services.planner.state import Running
from shared.shortening import fitted, shortened

REASONS = 12_000  # characters, of all reasons of a proposal
VIEW = 4_000  # characters, of one option


def proposal(state: Running, step: Step, gate: Gate, attempt: int) -> ProposeAction:
    """Raises BadAction where the plan and the answers make no action: nothing is guessed."""
    data = action_bytes(action_of(_fields(state, gate)))
    reference = action_reference(data)
    answers = [_answer(state, name) for name in state.graph.needs[step.id]]
    reasons = [step.instructions or state.started.goal, *(f"{answer.step}: {answer.text}" for answer in answers)]
    return ProposeAction(
        action_id=task_name(step.id, attempt),
        action=data.decode(),
        action_ref=reference,
        sha256=reference.sha256,
        gate=gate.approval,
        reasons=tuple(fitted(reasons, REASONS)),
        confidence=_confidence(state, step, gate),
        cost=gate.cost,
        currency=gate.currency,
        personal_data=gate.personal_data,
        domain=gate.domain,
        options=tuple(_option(state, name) for name in gate.options_from),
        requester=state.started.requester or Requester(),
        proposer="planner",
        quorum=gate.quorum,
        seconds=gate.seconds,
    )


def approval_by(approved: ActionApproved, proposed: ProposeAction, context: Context) -> Approval | None:
    """By which the approved bytes may run; None where the decision is not about the proposed action, or its bytes are others than
    its hash names. `context`: of the message `approved`."""
    reference = approved.action_ref
    is_about_it = (approved.proposed or approved.sha256) == proposed.sha256
    if reference is None or not is_about_it or reference.sha256 != approved.sha256:
        return None
    if not is_whole(reference, approved.action.encode()):
        return None
    return Approval(
        action=reference,
        decision=str(context.causation_id),
        status=approved.status,
        by=approved.by,
        policy=approved.policy,
        at=context.at,
    )


def approved_text(approved: ActionApproved) -> JsonValue:
    """The argument `text` of the approved action: what a step answers that does nothing else."""
    return read_action(approved.action.encode()).arguments.get("text", "")


def why_rejected(message: ActionRejected) -> str:
    who = " and ".join(message.by) or "nobody"
    match message.because:
        case "reviewed":
            return f"{who} rejected the action{f': {message.notes}' if message.notes else ''}"
        case "expired":
            return "nobody decided about the action in time, and silence is no consent"
        case because:
            return f"the action was not approved ({because}){f': {message.notes}' if message.notes else ''}"


def _fields(state: Running, gate: Gate) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = gate.action
    if gate.action_from is not None:
        data = _answer(state, gate.action_from).data
        if not isinstance(data, dict):
            raise BadAction(f"the answer of step {gate.action_from!r} is no object with fields of an action")
        fields = {**fields, **data}
    if gate.text_from is None:
        return fields
    answer = _answer(state, gate.text_from)
    if answer.text_ref is not None:
        raise BadAction(
            f"the answer of step {gate.text_from!r} has {answer.text_ref.size} bytes: too much for a person to approve"
        )
    return {**fields, "arguments": {**(fields.get("arguments") or {}), "text": answer.text}}


def _answer(state: Running, step: str) -> StepAnswered:
    answer = state.steps[step].answer
    assert answer is not None, "a gated step starts when all steps that it needs have passed"
    return answer


def _confidence(state: Running, step: Step, gate: Gate) -> float | None:
    """The plan's, unless fields rest on what came from outside, of which no plan can know; or else the least of what the action
    rests on, and unknown where any of it is."""
    if gate.confidence is not None and state.graph.foreign.isdisjoint({gate.action_from, gate.text_from}):
        return gate.confidence
    known = [state.steps[need].confidence for need in state.graph.needs[step.id]]
    return None if not known or None in known else min(confidence for confidence in known if confidence is not None)


def _option(state: Running, step: str) -> Option:
    return Option(source=step, view=shortened(_answer(state, step).text, VIEW), confidence=state.steps[step].confidence)
