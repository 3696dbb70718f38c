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

MANY = 1_000  # inbox entries of one stream that are searched for a wake-up


@dataclass(frozen=True)
class ShownMessage:
    """A message, ready to be shown. `causation_id` is "" if nothing caused it. `woke_up`: it was stored at a wake-up, and
    `causation_id` is the id of the message that its stream stored before."""

    id: str
    at: datetime
    workflow: str
    stream: str
    kind: str
    causation_id: str
    data: Mapping[str, Any] = field(repr=False)
    topic: str = ""
    tenant: str = "default"
    woke_up: bool = False

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
        known = "wake-up" if message.woke_up else self.numbers.get(message.causation_id)
        return f"← {known or _within(message, min(32 + len(self.numbers), MANY)) or message.causation_id[:6]}"


def _within(message: ShownMessage, entries: int) -> str:
    """Names a performer's outcome or a wake-up by its id alone: neither is stored. Tries the ids of the first `entries`."""
    stream = Stream(message.tenant, message.workflow, message.stream)
    for n in range(1, entries + 1):
        if message.causation_id == str(outcome_causation_id(stream, n)):
            return f"try {n}"
        if message.causation_id == str(wake_up_causation_id(stream, n - 1)):
            return "wake-up"
    return ""
