"""How requests are answered."""

from typing import Literal

from pydantic import Field

from hansard.message import Confidence, Event, Money


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


class CancelNoted(Event):
    """A cancel was received before the request of its workflow."""

    kind = "hansard.router.cancel-noted.v1"
    by: str
    reason: str = ""
