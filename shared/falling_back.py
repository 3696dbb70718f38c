"""Why an answer of the gateway is not that of its best tier, in words for whoever reads the result. Pure."""

from collections.abc import Iterable

from contracts.gateway import Fall, ModelReplied
from shared.shortening import shortened

REASON = 300  # characters of one reason
REASONS = 20  # of one message


def why(fall: Fall) -> str:
    """`primary: 401, the key was refused`."""
    return shortened(f"{fall.tier}: {fall.detail or fall.reason}", REASON)


def degraded_by(reply: ModelReplied) -> tuple[str, ...]:
    """Why better tiers did not give this answer, each reason once; empty where none was passed over.

    A tier that failed and then answered is no worse for it; a cache that is asked first and has no answer is none that failed.
    """
    return some(why(fall) for fall in reply.falls if fall.tier != reply.tier and fall.reason != "miss")


def some(reasons: Iterable[str]) -> tuple[str, ...]:
    """Each reason once, and no more than a message should carry."""
    found = tuple(dict.fromkeys(reasons))
    return found if len(found) <= REASONS else (*found[: REASONS - 1], f"and {len(found) - REASONS + 1} more reasons")
