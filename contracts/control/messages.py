"""What operators, and programs outside, may tell a workflow: cancel, redrive, that an event has come."""

from pydantic import Field

from hansard.message import Command, Json, Name
from hansard.values import RecordContent


class CancelWorkflow(Command):
    """Cancels the workflow that its `correlationid` names. A cancel that overtakes its request is remembered."""

    kind = "hansard.control.cancel.v1"
    by: str = ""
    reason: str = ""


class SignalWorkflow(Command):
    """An event of the workflow that its `correlationid` names has come: a step that waits for it, now or later, has it as its
    answer. The first of its name counts."""

    kind = "hansard.control.signal.v1"
    name: Name = Field(description="the event, as the step names it")
    data: Json = None
    by: str = ""


class RedriveDeadLetter(Command, RecordContent):
    """Asks one service to process a dead letter again. Decided only while the inbox entry is dead and the bytes are the same."""

    kind = "hansard.control.redrive.v1"
    service: str = Field(description="the service that failed: no other processes it again")
    topic: str = Field(description="where the dead message was received")
    partition: int = Field(ge=0, lt=2**31)
    offset: int = Field(ge=0, lt=2**63)
    timestamp: int = Field(ge=-1, lt=2**63, description="milliseconds since the epoch, as the broker had it")
