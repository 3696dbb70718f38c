"""What operators may ask for: cancel, redrive."""

from contracts.control.messages import (
    CancelWorkflow,
    RedriveDeadLetter,
)

__all__ = ["CancelWorkflow", "RedriveDeadLetter"]
