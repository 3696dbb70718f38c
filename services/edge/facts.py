"""Facts that the HTTP door reports to its own streams. They are recorded and never published."""

from pydantic import Field

from contracts.approval import ReviewAction
from hansard.message import Outcome


class ReviewGiven(Outcome):
    """A review came over HTTP, with a token that was verified. `attempt` is always 1."""

    kind = "hansard.edge.review-given.v1"
    review: ReviewAction
    identity: str = Field(description="the token's issuer and subject, with a blank between them")
