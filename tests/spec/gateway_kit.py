"""Messages of a model call at 12:00, and the tiers that answer it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from contracts.gateway import AttemptFailed, AttemptStarted, CallAccepted, CallModel, ChatMessage, Fall, FallReason, ModelReplied
from hansard.decider import Context, Decider, WakeUp
from hansard.message import Message
from services.gateway.call import call_decider
from services.gateway.config import Chain, Endpoint
from services.gateway.facts import AttemptReturned
from tests.decisions import decided

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALL = "specialists/draft.1/1"
ANSWERS: dict[str, Any] = {
    "known": [{"question": "What is your refund policy?", "answer": "30 days."}],
    "notice": "No model answered:",
    "fixed": [{"words": ["price"], "answer": "see the prices."}, {"answer": "ask a person."}],
}
FIRST = Endpoint(name="first", url="https://api.openai.com/v1", model="gpt-4o", timeout=20)
SECOND = Endpoint(name="second", url="http://127.0.0.1:1/v1", model="small", timeout=20)


def tiers(*endpoints: Endpoint, **more: Any) -> Chain:
    return Chain.model_validate({"endpoints": endpoints, "answers": ANSWERS, "learning": {"hours": 0}, **more})


def at(seconds: float = 0) -> Context:
    return Context(causation_id=UUID(int=1), at=NOON + timedelta(seconds=seconds), workflow="w", tenant="t")


def full(seconds: float = 0) -> Context:
    """As `at`, while no slot is free."""
    return replace(at(seconds), may_perform=False)


def asks(question: str = "Why is the sky blue?", **more: Any) -> CallModel:
    return CallModel(
        call=CALL,
        messages=(ChatMessage(role="user", content=question),),
        **{"deadline": NOON + timedelta(seconds=60), **more},
    )


def accepted(call: CallModel | None = None) -> CallAccepted:
    return CallAccepted(request=call or asks(), at=NOON)


def begun(call: CallModel | None = None, endpoint: Endpoint = FIRST, **more: Any) -> AttemptStarted:
    """The first attempt of a call that did not wait."""
    return started(1, endpoint, **more).model_copy(update={"request": call or asks()})


def started(attempt: int = 1, endpoint: Endpoint = FIRST, seconds: float = 0, **more: Any) -> AttemptStarted:
    return AttemptStarted(
        attempt=attempt,
        safety=more.pop("safety", "safe"),
        key=more.pop("key", KEY),
        deadline=NOON + timedelta(seconds=min(seconds + endpoint.timeout, more.pop("until", 60))),
        call=CALL,
        tier=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.name,
    )


def key(repairs: int = 0) -> str:
    decider = call_decider(tiers(FIRST))
    stored: list[Message] = decided(decider, [], asks(), at())
    for attempt in range(1, repairs + 1):
        stored += decided(decider, stored, failure(fell("invalid-output", attempt)), at())
    intent = stored[-1]
    assert isinstance(intent, AttemptStarted)
    return intent.key


def fell(reason: FallReason, attempt: int = 1, endpoint: Endpoint = FIRST, detail: str = "", **more: Any) -> AttemptFailed:
    for name in ("retry_at", "resume_at"):
        if name in more:
            more[name] = NOON + timedelta(seconds=more[name])
    fall = Fall(
        tier=endpoint.name,
        attempt=attempt,
        provider=endpoint.provider,
        model=endpoint.model,
        reason=reason,
        detail=detail,
    )
    return AttemptFailed(call=CALL, fall=fall, latency_ms=5, **more)


def then(failed: AttemptFailed, seconds: float) -> AttemptFailed:
    """The failed attempt after which the call goes on at that time."""
    return failed.model_copy(update={"resume_at": NOON + timedelta(seconds=seconds)})


def failure(failed: AttemptFailed) -> AttemptReturned:
    return AttemptReturned(attempt=failed.fall.attempt, call=CALL, failure=failed)


def replied(attempt: int = 1, endpoint: Endpoint = FIRST, **more: Any) -> ModelReplied:
    return ModelReplied(
        **{
            "call": CALL,
            "attempt": attempt,
            "tier": endpoint.name,
            "provider": endpoint.provider,
            "model": endpoint.model,
            "text": "Rayleigh.",
            "latency_ms": 7,
            "cost": Decimal("0.002"),
            "input_tokens": 10,
            "output_tokens": 3,
            **more,
        }
    )


def success(reply: ModelReplied) -> AttemptReturned:
    return AttemptReturned(attempt=reply.attempt, call=CALL, reply=reply)


def lost(attempt: int = 1, endpoint: Endpoint = FIRST, **more: Any) -> AttemptFailed:
    detail = "whoever made this attempt fell silent; what became of it, and what it cost, is not known"
    return fell("lost", attempt, endpoint, detail, estimated=True, **more).model_copy(update={"latency_ms": 0})


def woken_up(decider: Decider[Any], stored: list[Message], seconds: float) -> list[Message]:
    """What is stored after a wake-up. The next wake-up is later than that."""
    more = decided(decider, stored, WakeUp(), at(seconds))
    resume_at = decider.wake_at(decider.fold([*stored, *more]))
    assert resume_at is None or resume_at > at(seconds).at
    return more


KEY = key()
