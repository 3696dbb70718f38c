"""An approved action as an entry of the book. Pure: the approved bytes in, what is written out, nothing added."""

from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hansard.actions import LARGEST, Action, Approval, BadAction, action_bytes, read_action

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
        named = str(UUID(approval.decision)) == approval.decision
    except ValueError:
        named = False
    if not named:
        raise Unfit(f"the approval names no decision: {approval.decision[:80]!r} is not the id of a message")
    if approval.action.size > LARGEST:
        raise Unfit(f"the approved action has {approval.action.size:,} bytes, and no person approves more than {LARGEST:,}")


def posting_of(data: bytes) -> Posting:
    """The approved bytes, which were checked against their hash. Raises Unfit."""
    try:
        action = read_action(data)
        if action_bytes(action) != data:
            raise Unfit("the approved bytes hold more than an action, or write it in another way: what was read may differ")
    except BadAction as bad:
        raise Unfit(f"the approved bytes are no action: {bad}") from None
    return _fit(action)


def _fit(action: Action) -> Posting:
    if action.tool != TOOL:
        raise Unfit(f"the approved action is for the tool {action.tool!r}, and this is the ledger")
    if action.amount is None or action.amount <= 0:
        raise Unfit("amount: an entry moves more than nothing")
    if not action.recipient.strip():
        raise Unfit("recipient: an entry names one")
    try:
        arguments = Arguments.model_validate(action.arguments)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        raise Unfit(f"arguments.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return Posting(action.amount, action.currency, action.recipient, action.about, arguments.model_dump(exclude_defaults=True))
