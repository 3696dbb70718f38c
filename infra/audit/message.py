"""One message as a line that a person reads: its stream, its kind, its cause and its cost. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from hansard.identity import outcome_causation_id, wake_up_causation_id
from infra.audit.summaries import summary
from infra.audit.text import money, short
from shared.eventstore.model import Stream

WAKE_UP = "wake-up"
MANY = 1_000  # inbox entries of one stream among which a wake-up is looked for


@dataclass(frozen=True)
class ShownMessage:
    """A message, ready to be shown. `causation_id` is "" where nothing caused it. `cause`: `wake-up` or `attempt 2` where it is
    known that this id is of no message, but of what came from within the stream. The outcome of an attempt is on no topic."""

    id: str
    at: datetime
    workflow: str
    stream: str
    kind: str
    causation_id: str
    data: Mapping[str, Any] = field(repr=False)
    topic: str = ""
    tenant: str = "default"
    cause: str = ""

    @property
    def service(self) -> str:
        return self.stream.partition("/")[0]

    @property
    def name(self) -> str:
        """`hansard.gateway.model-replied.v1` in short: `model-replied`."""
        return short(self.kind)

    @property
    def cost(self) -> Decimal:
        """US dollars that this message names."""
        return money(self.data.get("cost"))

    @property
    def summary(self) -> str:
        return summary(self.kind, self.data)


@dataclass
class Numbering:
    """Numbers messages in the order in which they are shown, so that a line can name its cause by number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, message: ShownMessage) -> int:
        return self.numbers.setdefault(message.id, len(self.numbers) + 1)

    def causation(self, message: ShownMessage) -> str:
        """`← 3`; `← wake-up` or `← try 2` for a cause within the stream; a short id for a message not shown yet."""
        if not message.causation_id:
            return ""
        known = message.cause or self.numbers.get(message.causation_id) or cause_within(message, 32 + len(self.numbers))
        return f"← {str(known).replace('attempt', 'try') or message.causation_id[:6]}"


def cause_within(message: ShownMessage, entries: int = 32) -> str:
    """`wake-up` or `attempt 2`; "" for any other cause. A performer's outcome and a wake-up are no stored messages: only their
    id tells. Tries the ids of the first `entries`."""
    stream = Stream(message.tenant, message.workflow, message.stream)
    for n in range(1, min(entries, MANY) + 1):
        if message.causation_id == str(outcome_causation_id(stream, n)):
            return f"attempt {n}"
        if message.causation_id == str(wake_up_causation_id(stream, n - 1)):
            return WAKE_UP
    return ""
