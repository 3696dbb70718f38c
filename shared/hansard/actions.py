"""An action that may need an approval: the exact bytes that are approved and then run.

Whoever proposes an action writes it once, by `action_bytes`. From then on the SHA-256 of these bytes names it: the approval,
the executor's task and its intent carry that hash, and the bytes are in the content store. Nobody writes the action again.
"""

import json
from decimal import Decimal
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, Field, JsonValue, ValidationError, WithJsonSchema

from hansard.identity import Stream
from hansard.message import Json, Name, Value, refuse_float
from hansard.references import JSON, reference_to
from hansard.values import ContentReference

LARGEST = 64 * 1024  # bytes: a person reads all of it
APPROVED = "hansard.approval.approved.v1"
DECIDER = "approval"  # the one service whose word is a decision


Amount = Annotated[
    Decimal,
    Field(ge=0, le=10**15, max_digits=60, allow_inf_nan=False, description="in units of its currency, as a string"),
    BeforeValidator(refuse_float),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([Ee][+-]?[0-9]+)?$"}),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]


class Action(Value):
    """What is to be done: which tool, with which arguments. `about` says it in words, for whoever must decide."""

    tool: Name
    about: str = Field(default="", max_length=4_000)
    arguments: dict[str, Json] = Field(default_factory=dict)
    amount: Amount | None = Field(default=None, description="what it moves or costs")
    currency: Currency = "USD"
    recipient: str = Field(default="", max_length=1_000)


class Approval(Value):
    """Why an action may run: the decision for exactly these bytes."""

    action: ContentReference = Field(description="the approved bytes, in the content store")
    decision: str = Field(description="id of the message `hansard.approval.approved.v1`")
    status: str = Field(description="auto_approved or human_approved")
    by: tuple[str, ...] = Field(default=(), description="who approved it; empty: the policy alone")
    policy: str = Field(description="version of the policy that decided")
    at: AwareDatetime


class Recorded(NamedTuple):
    """A message as it is on the record: the stream that stored it, its kind, its data."""

    stream: Stream
    kind: str
    data: bytes


class NotApproved(ValueError):
    """An approval that the record does not bear out. The text says why."""


class BadAction(ValueError):
    """Bytes that are no action. The text says why."""


def action_bytes(action: Action) -> bytes:
    """JSON with sorted names, without blanks, in UTF-8. Raises BadAction where it is larger than `LARGEST`."""
    data = canonical(action.model_dump(mode="json"))
    if len(data) > LARGEST:
        raise BadAction(f"the action has {len(data)} bytes, and a person can approve at most {LARGEST}")
    return data


def decision_id(approval: Approval) -> UUID:
    """The id of the message that the approval names. Raises NotApproved where it is none, as ids are written."""
    try:
        made = UUID(approval.decision)
    except ValueError:
        made = None
    if made is None or str(made) != approval.decision:
        raise NotApproved(f"the approval names no decision: {approval.decision[:80]!r} is not the id of a message")
    return made


def check_decision(approval: Approval, stream: Stream, found: Recorded | None) -> None:
    """Checks that `found`, the message that the approval names, is the decision for exactly these bytes in this workflow.

    A task is only what its sender wrote: `PerformerContext.approved` asks the record. Raises NotApproved.
    """
    if found is None:
        raise NotApproved(f"no message with the id {approval.decision} is on the record")
    if found.kind != APPROVED or found.stream.service != DECIDER:
        raise NotApproved(f"message {approval.decision} is {found.kind} of {found.stream.name}, and no approval of an action")
    if (found.stream.tenant, found.stream.workflow) != (stream.tenant, stream.workflow):
        raise NotApproved(f"decision {approval.decision} was made in another workflow")
    decided = json.loads(found.data)
    approved = {decided["sha256"], (decided.get("action_ref") or {}).get("sha256")}
    if approved != {approval.action.sha256}:
        raise NotApproved(f"decision {approval.decision} is for other bytes, {decided['sha256']}")
    if (approval.status, list(approval.by), approval.policy) != (decided["status"], decided.get("by", []), decided["policy"]):
        raise NotApproved(f"decision {approval.decision} was made by others than the approval states")


def canonical(value: JsonValue) -> bytes:
    """Raises BadAction for what UTF-8 or JSON cannot write."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as bad:
        raise BadAction(f"the action has a character that UTF-8 has not, at {bad.start}") from None
    except ValueError as bad:
        raise BadAction(f"the action cannot be written as JSON: {bad}") from None


def action_reference(data: bytes) -> ContentReference:
    return reference_to(data, JSON)


def proposed_action(data: bytes) -> Action:
    """The action whose bytes these are. Raises BadAction also where they are not as `action_bytes` writes them, so that what a
    person reads and what an executor reads cannot differ: no name twice, no blanks, nothing else beside it."""
    if len(data) > LARGEST:
        raise BadAction(f"the action has {len(data)} bytes, and a person can approve at most {LARGEST}")
    action = read_action(data)
    if action_bytes(action) != data:
        raise BadAction(
            "the action is not written as `hansard.actions.action_bytes` writes it, or has a field that no action has"
        )
    return action


def read_action(data: bytes) -> Action:
    """Raises BadAction."""
    try:
        return Action.model_validate_json(data)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        raise BadAction(f"{'.'.join(map(str, first['loc'])) or 'the action'}: {first['msg']}") from None
