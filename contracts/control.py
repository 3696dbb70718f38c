"""The door for operators: cancel, redrive."""

from pydantic import Field

from hansard.message import Command


class CancelWorkflow(Command):
    """Cancels the workflow that its `correlationid` names. One that overtakes its request is remembered."""

    kind = "hansard.control.cancel.v1"
    by: str = ""
    reason: str = ""


class RedriveDeadLetter(Command):
    """Asks one service to hear a dead letter again. Decided only while that hearing is dead and the bytes are the same."""

    kind = "hansard.control.redrive.v1"
    service: str = Field(description="the service that failed: no other hears it again")
    topic: str = Field(description="where the dead message was heard")
    partition: int = Field(ge=0, lt=2**31)
    offset: int = Field(ge=0, lt=2**63)
    timestamp: int = Field(ge=-1, lt=2**63, description="milliseconds since the epoch, as the broker had it")
    key: str | None = Field(default=None, description="base64")
    headers: tuple[tuple[str, str], ...] = Field(default=(), description="name, base64 value")
    body: str | None = Field(default=None, description="base64")
