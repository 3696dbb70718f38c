"""How requests are answered."""

from typing import Literal

from pydantic import AwareDatetime, Field

from hansard.message import Command, Confidence, Event, Money


class RequestRouted(Event):
    """How a request is answered, and why. `policy` names the version of the rules that decided."""

    kind = "hansard.router.request-routed.v1"
    path: Literal["deterministic", "llm"]
    handler: str = Field(description="the rule, or the model handler or plan")
    architecture: str = ""
    agents: tuple[str, ...] = ()
    confidence: Confidence
    reasoning: str
    cost_estimate: Money
    policy: str


class MoveDeadline(Command):
    """The workflow's deadline is later: some of its steps waited, or wait still. Until then the router need not ask again."""

    kind = "hansard.router.move-deadline.v1"
    deadline: AwareDatetime = Field(description="while steps wait: what it is if all of them wait as long as they may")


class ExpiryPostponed(Event):
    """The router tells the planner only then that the deadline has passed."""

    kind = "hansard.router.expiry-postponed.v1"
    deadline: AwareDatetime


class CancelNoted(Event):
    """A cancel was received before the request of its workflow."""

    kind = "hansard.router.cancel-noted.v1"
    by: str
    reason: str = ""
