"""What operators, and programs outside, may tell a workflow: cancel, redrive, that an event has come."""

from contracts.control.messages import (
    CancelWorkflow,
    RedriveDeadLetter,
    SignalWorkflow,
)

__all__ = ["CancelWorkflow", "RedriveDeadLetter", "SignalWorkflow"]
