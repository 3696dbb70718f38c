"""How requests are answered."""

from contracts.router.messages import (
    CancelNoted,
    ExpiryPostponed,
    MoveDeadline,
    RequestRouted,
)

__all__ = ["CancelNoted", "ExpiryPostponed", "MoveDeadline", "RequestRouted"]
