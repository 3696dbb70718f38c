"""The outcomes of attempts without a reply."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from contracts.gateway import AttemptFailed, AttemptStarted, Fall, FallReason
from hansard.values import Attribution, carried
from services.gateway.facts import AttemptReturned
from services.gateway.openai_wire.answer import clean
from shared.masking import masked

NO_SLOT = "no slot was free in time"
DETAIL = 300  # characters


@dataclass
class Progress:
    """How far an attempt has come."""

    began: float = field(default_factory=time.perf_counter)
    sent: bool = False

    @property
    def latency_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 3)


def not_sent(intent: AttemptStarted, reason: FallReason, detail: str, until: datetime | None = None) -> AttemptReturned:
    """No request left this process. `until`: of the circuit, if it is open."""
    fall = Fall(tier=intent.tier, provider=intent.provider, model=intent.model, reason=reason, detail=masked(detail))
    failure = AttemptFailed(call=intent.call, fall=fall, latency_ms=0, circuit_open_until=until)
    return AttemptReturned(attempt=intent.attempt, call=intent.call, failure=failure)


def failed(
    intent: AttemptStarted,
    progress: Progress,
    reason: FallReason,
    detail: str,
    retry_at: datetime | None = None,
    cost: Decimal = Decimal(0),
    tokens: tuple[int, int] = (0, 0),
    estimated: bool = False,
) -> AttemptReturned:
    """`tokens`: input and output. `estimated`: the cost is not known exactly."""
    fall = Fall(
        attempt=intent.attempt,
        reason=reason,
        detail=clean(masked(detail))[:DETAIL],  # some endpoints repeat the key; cut first, it would not be found
        **carried(intent, Attribution),
    )
    failure = AttemptFailed(
        call=intent.call,
        fall=fall,
        latency_ms=progress.latency_ms,
        cost=cost,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        retry_at=retry_at,
        estimated=estimated,
    )
    return AttemptReturned(attempt=intent.attempt, call=intent.call, failure=failure)
