"""What operators may ask for: cancel, redrive."""

from pydantic import Field

from hansard.message import Command
from hansard.values import RecordContent


class CancelWorkflow(Command):
    """Cancels the workflow that its `correlationid` names. A cancel that overtakes its request is remembered."""

    kind = "hansard.control.cancel.v1"
    by: str = ""
    reason: str = ""


class RedriveDeadLetter(Command, RecordContent):
    """Asks one service to process a dead letter again. Decided only while the inbox entry is dead and the bytes are the same."""

    kind = "hansard.control.redrive.v1"
    service: str = Field(description="the service that failed: no other processes it again")
    topic: str = Field(description="where the dead message was received")
    partition: int = Field(ge=0, lt=2**31)
    offset: int = Field(ge=0, lt=2**63)
    timestamp: int = Field(ge=-1, lt=2**63, description="milliseconds since the epoch, as the broker had it")
