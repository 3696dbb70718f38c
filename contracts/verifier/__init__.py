"""Checking a claim."""

from contracts.values import (
    Passage,
)
from contracts.verifier.messages import (
    CheckClaim,
    ClaimPassed,
    ClaimRejected,
)

__all__ = ["CheckClaim", "ClaimPassed", "ClaimRejected", "Passage"]
