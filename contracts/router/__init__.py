"""How requests are answered."""

from contracts.router.messages import (
    CancelNoted,
    RequestRouted,
)

__all__ = ["CancelNoted", "RequestRouted"]
