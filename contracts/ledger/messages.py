"""Entries of the ledger, each made by one approved action."""

from pydantic import AwareDatetime, Field

from hansard.actions import Amount, Approval, Currency
from hansard.message import Event, Intent, Name, Path, Value


class Entry(Value):
    """One row, as it is in the book. `decision` is its key: an approved action has one entry, however often it is carried out."""

    number: int = Field(ge=1)
    decision: str = Field(description="id of the message `hansard.approval.approved.v1`")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the approved bytes, hex")
    amount: Amount
    currency: Currency
    recipient: str
    about: str = ""
    arguments: dict[str, str] = Field(default_factory=dict)
    at: AwareDatetime


class PostingStarted(Intent):
    """Will carry out an approved action: exactly the content that the approval names. Its key is the decision's id."""

    kind = "hansard.ledger.posting-started.v1"
    task: Path
    role: Name
    approval: Approval
    until: AwareDatetime = Field(description="the task's deadline")


class PostingFailed(Event):
    """An attempt after which nobody knows whether there is an entry, or after which there is none yet."""

    kind = "hansard.ledger.posting-failed.v1"
    task: Path
    attempt: int = Field(ge=1)
    detail: str
    resume_at: AwareDatetime


class EntryPosted(Event):
    """The entry of this task's approved action, as it was found in the book after the attempt."""

    kind = "hansard.ledger.entry-posted.v1"
    task: Path
    entry: Entry
    late: bool = Field(default=False, description="the task had ended, cancelled or out of time: the action ran all the same")
