"""Checking a claim."""

from pydantic import AwareDatetime, Field

from hansard.message import Command, Confidence, Event, Json, Path
from hansard.values import Cost, Degradable, Passage, Whole


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
    call: Path | None = Field(
        default=None, description="the gateway's call that gave the claim; rejected there if the claim fails"
    )
    deadline: AwareDatetime | None = Field(default=None, description="of the workflow: a judge is waited for no longer")
    question_ref: Whole = None
    claim_ref: Whole = None
    sources_ref: Whole = None
    passages_ref: Whole = None


class ClaimPassed(Event, Cost, Degradable):
    kind = "hansard.verifier.claim-passed.v1"
    check: Path
    by: tuple[str, ...] = Field(description="the checks that were made")
    confidence: Confidence | None = None
    policy: str


class ClaimRejected(Event, Cost):
    kind = "hansard.verifier.claim-rejected.v1"
    check: Path
    reasons: tuple[str, ...] = Field(min_length=1, description="what to do better, written for the worker")
    failed: tuple[str, ...] = Field(description="the checks that failed")
    policy: str
