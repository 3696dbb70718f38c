"""The words about checking a claim."""

from pydantic import AwareDatetime, Field

from hansard.message import Command, Confidence, Event, Json, Money, Path
from hansard.tasks import Passage


class CheckClaim(Command):
    kind = "hansard.verifier.check.v1"
    check: Path = Field(description="what is checked: the task's id")
    question: str
    claim: str
    sources: tuple[str, ...] = Field(default=(), description="what the claim itself cites")
    passages: tuple[Passage, ...] = Field(default=(), description="what it was given to rest on")
    facts: dict[str, Json] = Field(default_factory=dict, description="facts that it must not contradict")
    judge: bool = Field(default=False, description="after the checks by code, ask a judge model")
    tier: str = Field(default="", description="which tier of the gateway gave the claim")
    call: Path | None = Field(default=None, description="the gateway's call that gave the claim: told where it does not hold")
    deadline: AwareDatetime | None = Field(default=None, description="of the workflow: a judge is not waited for longer")


class ClaimPassed(Event):
    kind = "hansard.verifier.claim-passed.v1"
    check: Path
    by: tuple[str, ...] = Field(description="the checks that were made")
    confidence: Confidence | None = None
    cost: Money = Field(default=0, validate_default=True)
    policy: str


class ClaimRejected(Event):
    kind = "hansard.verifier.claim-rejected.v1"
    check: Path
    reasons: tuple[str, ...] = Field(min_length=1, description="what to do better, in words that a worker understands")
    failed: tuple[str, ...] = Field(description="the checks that failed")
    cost: Money = Field(default=0, validate_default=True)
    policy: str


__all__ = ["CheckClaim", "ClaimPassed", "ClaimRejected", "Passage"]
