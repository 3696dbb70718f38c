"""What the notifier's performer reports to its own streams: recorded, never published."""

from pydantic import AwareDatetime

from contracts.notifier import Missed
from hansard.message import Outcome, Path, Value


class Taken(Value):
    """The endpoint took it."""

    status: int
    latency_ms: float


class DeliveryReturned(Outcome):
    """The outcome of one attempt. `retry_at`: when the endpoint wants to be asked again, if it said so."""

    kind = "hansard.notifier.delivery-returned.v1"
    delivery: Path
    taken: Taken | None = None
    missed: Missed | None = None
    retry_at: AwareDatetime | None = None
    unreadable: str = ""  # why what is to be sent cannot be read from the content store
