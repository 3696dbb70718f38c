"""What a file of the policy may hold. `policy.yaml` is ours, with a word on each part."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from contracts.approval import Risk
from hansard.actions import Amount, Currency
from hansard.message import Confidence, Name
from services.approval.personal_data import KINDS

QueueName = Literal["reviewers", "specialists", "seniors"]
RuleName = Literal[
    "critical-risk",
    "low-confidence",
    "novel",
    "gate",
    "high-risk",
    "unproven-requester",
    "cost",
    "personal-data",
    "domain",
    "contradiction",
    "medium-risk",
    "confidence",
]
RULES: tuple[RuleName, ...] = get_args(RuleName)
QUEUES: tuple[QueueName, ...] = get_args(QueueName)  # the strictest is the last
RISKS: tuple[Risk, ...] = get_args(Risk)  # likewise
NEVER_OFF: tuple[RuleName, ...] = ("critical-risk", "low-confidence", "gate", "high-risk")
ORDERED: tuple[tuple[RuleName, ...], ...] = (("medium-risk", "high-risk", "critical-risk"), ("confidence", "low-confidence"))
DECLARED = "declared"


def _sorted(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(words)))


def _written(value: object) -> object:
    """A number of YAML, as it is written: money is no float."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Words = Annotated[tuple[Annotated[str, Field(pattern=r"\w", max_length=200)], ...], AfterValidator(_sorted)]
Limit = Annotated[Amount, BeforeValidator(_written)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86400)]


class Part(BaseModel):
    """A part of the policy. An unknown key is an error: it is a typing mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(Part):
    approve: Confidence
    escalate: Confidence

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.escalate > self.approve:
            raise ValueError(f"`escalate` ({self.escalate}) is above `approve` ({self.approve})")
        return self


class Novel(Part):
    cases: int = Field(ge=0)
    similarity: Confidence


class Queue(Part):
    role: Name
    quorum: int = Field(default=1, ge=1, le=10)
    escalate_after: Seconds | None = None
    expire_after: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.escalate_after is not None and self.escalate_after >= self.expire_after:
            raise ValueError("`escalate_after` is not before `expire_after`")
        return self


class Questions(Part):
    expire_after: Seconds


class PolicyData(Part):
    """All that decides, besides the code. The order of words and of keys makes no difference."""

    risk: dict[Literal["medium", "high", "critical"], Words]
    tools: dict[Name, Risk]
    searched: Annotated[tuple[Literal["about", "tool", "arguments"], ...], AfterValidator(_sorted)]
    confidence: Thresholds
    cost: dict[Currency, Limit]
    personal_data: Words
    domains: dict[Annotated[str, Field(pattern=r"\w", max_length=64)], Words]
    novel: Novel
    rules: dict[RuleName, QueueName | Literal["nobody"]]
    queues: dict[QueueName, Queue]
    questions: Questions
    roles: dict[Name, tuple[Name, ...]]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _none("`rules` has no line for", set(RULES) - set(self.rules))
        _none("`queues` has no line for", set(QUEUES) - set(self.queues))
        _none("`rules`: these always have somebody who decides:", {rule for rule in NEVER_OFF if self.rules[rule] == "nobody"})
        _none("`personal_data` has kinds that nothing finds:", set(self.personal_data) - {DECLARED, *KINDS})
        _none("`roles` has no line for", {one for taken in self.roles.values() for one in taken} - set(self.roles))
        _none("`roles` has no line for the role of a queue:", {queue.role for queue in self.queues.values()} - set(self.roles))
        _none("a stricter queue's role must take the place of a laxer one's:", self._gaps())
        _none("a higher risk or a lower confidence must not have a laxer queue:", self._inversions())
        return self

    def _gaps(self) -> Iterator[str]:
        for laxer, stricter in pairwise(self.queues[name].role for name in QUEUES):
            if laxer not in self.covered(stricter):
                yield f"{stricter} does not take that of {laxer}"

    def _inversions(self) -> Iterator[str]:
        for chain in ORDERED:
            for less, more in pairwise(chain):
                if _strictness(self.rules[less]) > _strictness(self.rules[more]):
                    yield f"{more} ({self.rules[more]}) beside {less} ({self.rules[less]})"

    def covered(self, role: str) -> frozenset[str]:
        """The roles whose place it may take, and itself."""
        found: set[str] = set()
        waiting = [role]
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting.extend(self.roles.get(one, ()))
        return frozenset(found)


def _strictness(queue: str) -> int:
    return ("nobody", *QUEUES).index(queue)


def _none(what: str, wrong: Iterable[str]) -> None:
    if found := sorted(wrong):
        raise ValueError(f"{what} {', '.join(found)}")
