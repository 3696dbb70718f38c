"""Checking a claim."""

from contracts.verifier.messages import (
    CheckClaim,
    ClaimPassed,
    ClaimRejected,
)
from hansard.values import (
    Passage,
)

__all__ = ["CheckClaim", "ClaimPassed", "ClaimRejected", "Passage"]
