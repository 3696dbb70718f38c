"""An approved action as an entry of the book. Pure: the approved bytes in, what is written out, nothing added."""

import json
from decimal import Decimal
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hansard.actions import LARGEST, Action, Approval, BadAction, NotApproved, decision_id, proposed_action

TOOL = "ledger"


class Unfit(ValueError):
    """What the ledger does not carry out. The text says why."""


class Arguments(BaseModel):
    """What an action may state besides its amount, currency and recipient. Anything else is refused: it would not be done."""

    model_config = ConfigDict(extra="forbid", strict=True)

    account: str = Field(default="", max_length=200, description="from which it is paid")
    invoice: str = Field(default="", max_length=200)
    reference: str = Field(default="", max_length=200)
    memo: str = Field(default="", max_length=1_000)


class Posting(NamedTuple):
    amount: Decimal
    currency: str
    recipient: str
    about: str
    arguments: dict[str, str]


def check_approval(approval: Approval) -> None:
    """Raises Unfit for one that names no decision, or no action that a person could have read."""
    try:
        decision_id(approval)
    except NotApproved as nameless:
        raise Unfit(str(nameless)) from None
    if approval.action.size > LARGEST:
        raise Unfit(f"the approved action has {approval.action.size:,} bytes, and no person approves more than {LARGEST:,}")


def posting_of(data: bytes) -> Posting:
    """The approved bytes, which were checked against their hash. Raises Unfit."""
    try:
        action = proposed_action(data)
    except BadAction as bad:
        raise Unfit(f"the approved bytes are no action: {bad}") from None
    if more := json.loads(data).keys() - Action.model_fields.keys():
        raise Unfit(f"the approved bytes hold more than an action, which would not be done: {', '.join(sorted(more))[:200]}")
    return _fit(action)


def _fit(action: Action) -> Posting:
    if action.tool != TOOL:
        raise Unfit(f"the approved action is for the tool {action.tool!r}, and this is the ledger")
    if action.amount is None:
        raise Unfit("amount: an entry names one, also where it is 0")
    if not action.recipient.strip():
        raise Unfit("recipient: an entry names one")
    try:
        arguments = Arguments.model_validate(action.arguments)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        raise Unfit(f"arguments.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return Posting(action.amount, action.currency, action.recipient, action.about, arguments.model_dump(exclude_defaults=True))
