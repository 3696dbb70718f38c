"""Messages that could not be processed. They are kept, never retried in a loop, and never block later messages."""

from contracts.dead_letters.messages import (
    DeadLettered,
)

__all__ = ["DeadLettered"]
