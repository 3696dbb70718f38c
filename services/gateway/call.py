"""One model call: attempt after attempt, until one answer counts or no tier is left. One stream a call. Pure.

    NoCall      CallAccepted → Waiting · AttemptStarted → Attempting · ModelReplied, ModelFailed, CallCancelled → Settled
    Waiting     AttemptStarted → Attempting · ModelReplied, ModelFailed, CallCancelled → Settled
    Attempting  AttemptFailed → Waiting · ModelReplied, CallCancelled → Settled

The first attempt accepts the call if a slot is free (`Context.may_perform`). If none is free, `CallAccepted` does, and the call
waits for a slot.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

from contracts.gateway import (
    AttemptFailed,
    AttemptStarted,
    CallAccepted,
    CallCancelled,
    CallModel,
    CancelCall,
    Fall,
    ModelFailed,
    ModelReplied,
    RejectReply,
    ReplyDiscarded,
    ReplyRejected,
)
from hansard.decider import Context, Decider, WakeUp
from hansard.identity import idempotency_key
from hansard.message import Message
from hansard.values import Attribution, Estimated, Usage, carried
from services.gateway.answer_reuse import why_not_reused
from services.gateway.config import Chain, Endpoint
from services.gateway.facts import AttemptReturned
from services.gateway.fallback import (
    DOUBTFUL,
    NOT_SENT,
    Failures,
    answer_without_model,
    answered_before,
    cache_is_next,
    endpoint_at,
    falls_before,
    resume_at,
)

CACHE_TIMEOUT = timedelta(seconds=2)
LOST_AFTER = timedelta(seconds=15)  # after its deadline an attempt is lost, even if a process still holds its stream


@dataclass(frozen=True, slots=True)
class NoCall: ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """Goes on at `wake_at`. The attempts in `doubtful` were given up, and may still come back."""

    call: CallModel
    wake_at: datetime | None = None  # None while an attempt is out
    failures: tuple[AttemptFailed, ...] = ()
    doubtful: frozenset[int] = frozenset()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Attempting:
    """One attempt is out. `before`: the call without it."""

    intent: AttemptStarted
    before: Waiting


@dataclass(frozen=True, slots=True)
class Settled:
    """No outcome counts any more. Attempts in `out` may still come back; their cost is recorded.

    A reply `stands` until it is rejected."""

    out: frozenset[int] = frozenset()
    cancelled: bool = False
    stands: bool = False


Call = NoCall | Waiting | Attempting | Settled


def call_decider(chain: Chain) -> Decider[Call]:
    def decide(state: Call, message: Message, context: Context) -> Iterable[Message]:
        match state:
            case NoCall():
                return _when_new(chain, message, context)
            case Waiting():
                return _when_waiting(chain, state, message, context)
            case Attempting():
                return _when_attempting(chain, state, message, context)
            case Settled():
                return _when_settled(state, message)
            case _:
                assert_never(state)

    return Decider(NoCall(), decide, evolve, wake_at, policy=chain.policy)


def _when_new(chain: Chain, message: Message, context: Context) -> Iterator[Message]:
    match message:
        case CallModel():
            yield _begin(chain, message, context)
        case CancelCall(call=call):
            yield CallCancelled(call=call)
        case _:
            pass


def _when_waiting(chain: Chain, state: Waiting, message: Message, context: Context) -> Iterator[Message]:
    match message:
        case WakeUp() if state.wake_at is not None and context.at >= state.wake_at:
            yield _go_on(chain, state, context)
        case CancelCall(call=call):
            yield CallCancelled(call=call)
        case AttemptReturned(attempt=attempt) if attempt in state.doubtful:
            yield _discarded(message, "superseded")
        case _:
            pass


def _when_attempting(chain: Chain, state: Attempting, message: Message, context: Context) -> Iterator[Message]:
    intent, before = state.intent, state.before
    match message:
        case AttemptReturned(attempt=intent.attempt, reply=ModelReplied() as reply):
            yield from _after_reply(chain, before, intent, reply, context)
        case AttemptReturned(attempt=intent.attempt, failure=failure):
            yield from _after_failure(chain, before, intent, failure or _lost(intent), context)
        case AttemptReturned(attempt=attempt) if attempt in before.doubtful:
            yield _discarded(message, "superseded")
        case WakeUp():
            yield from _after_failure(chain, before, intent, _lost(intent), context)
        case CancelCall(call=call):
            yield CallCancelled(call=call)
        case _:
            pass


def _when_settled(state: Settled, message: Message) -> Iterator[Message]:
    match message:
        case AttemptReturned(attempt=attempt) if attempt in state.out:
            yield _discarded(message, "cancelled" if state.cancelled else "superseded")
        case RejectReply(call=call, reasons=reasons) if state.stands:
            yield ReplyRejected(call=call, reasons=reasons)
        case _:
            pass


def evolve(state: Call, message: Message) -> Call:
    match state, message:
        case NoCall(), CallAccepted(request=call, at=at):
            return Waiting(call, wake_at=at)
        case NoCall(), AttemptStarted(request=CallModel() as call):
            return Attempting(message, before=Waiting(call, attempts=message.attempt))
        case NoCall(), ModelReplied() | ModelFailed():
            return Settled(stands=isinstance(message, ModelReplied))
        case NoCall(), CallCancelled():
            return Settled(cancelled=True)
        case Waiting(), AttemptStarted():
            return Attempting(message, before=replace(state, attempts=message.attempt, wake_at=None))
        case Attempting(_, before), AttemptFailed():
            return _with_failure(before, message)
        case Waiting(), ReplyDiscarded(attempt=attempt):
            return replace(state, doubtful=state.doubtful - {attempt})
        case Attempting(_, before), ReplyDiscarded(attempt=attempt):
            return replace(state, before=replace(before, doubtful=before.doubtful - {attempt}))
        case Waiting(), ModelReplied() | ModelFailed():
            return Settled(out=state.doubtful, stands=isinstance(message, ModelReplied))
        case Attempting(_, before), ModelReplied():
            return Settled(out=before.doubtful, stands=True)
        case Waiting(), CallCancelled():
            return Settled(out=state.doubtful, cancelled=True)
        case Attempting(intent, before), CallCancelled():
            return Settled(out=before.doubtful | {intent.attempt}, cancelled=True)
        case Settled(out), ReplyDiscarded(attempt=attempt):
            return replace(state, out=out - {attempt})
        case Settled(), ReplyRejected():
            return replace(state, stands=False)
        case _:
            return state


def wake_at(state: Call) -> datetime | None:
    """When a call goes on. While an attempt is out: when it is given up, in case no process reports its outcome."""
    match state:
        case Waiting(wake_at=at):
            return at
        case Attempting(intent):
            return intent.deadline + LOST_AFTER
        case _:
            return None


def _begin(chain: Chain, call: CallModel, context: Context) -> Message:
    """The first attempt, which accepts the call; an answer without a model; or that the call waits for a slot."""
    first = _go_on(chain, Waiting(call), context)
    if not isinstance(first, AttemptStarted):
        return first
    if not context.may_perform:
        return CallAccepted(request=call, at=context.at)
    return first.model_copy(update={"request": call})


def _go_on(chain: Chain, state: Waiting, context: Context) -> AttemptStarted | ModelReplied | ModelFailed:
    call, failures = state.call, state.failures
    endpoint = endpoint_at(chain, call, failures, context.at)
    if cache_is_next(chain, call, failures, endpoint, context.at):
        return _cache_lookup(state, context)
    if endpoint and not answered_before(chain, call, endpoint):
        return _attempt(state, endpoint, context)
    answer, falls = answer_without_model(chain, call, failures, context.at)
    if answer is None:
        return _failed(state, falls, "deadline" if context.at >= call.deadline else _reason_of(falls))
    return ModelReplied(
        call=call.call,
        attempt=0,
        tier=answer.tier,
        provider="hansard",
        model=answer.tier,
        text=answer.text,
        confidence=chain.prior(answer.tier),
        sources=answer.sources,
        falls=falls,
        latency_ms=0,
        cost=_cost_of(failures),
        estimated=any(failure.estimated for failure in failures),
        policy=chain.policy,
    )


def _after_reply(
    chain: Chain, state: Waiting, intent: AttemptStarted, reply: ModelReplied, context: Context
) -> Iterator[Message]:
    """A reply counts unless it gives a confidence of its own below the one that was asked for, or is an earlier one that may not
    be used again."""
    if reply.learned is not None and (detail := why_not_reused(chain, reply, reply.learned, context.at)):
        fall = Fall(tier=intent.tier, provider=intent.provider, model=intent.model, reason="miss", detail=detail)
        yield from _after_failure(chain, state, intent, _failure_of(intent, reply, fall), context)
        return
    least = state.call.minimum_confidence
    if least is not None and reply.confidence is not None and reply.confidence < least:
        detail = f"{reply.confidence:g} where {least:g} was asked for"
        fall = Fall(tier=intent.tier, provider=intent.provider, model=reply.model, reason="low-confidence", detail=detail)
        yield from _after_failure(chain, state, intent, _failure_of(intent, reply, fall), context)
        return
    yield reply.model_copy(
        update={
            "call": state.call.call,
            "attempt": intent.attempt,
            "tier": intent.tier,
            "confidence": chain.prior(intent.tier) if reply.confidence is None else reply.confidence,
            "falls": falls_before(chain, state.failures, intent.tier),
            "cost": _cost_of(state.failures) + reply.cost,
            "estimated": reply.estimated or any(failure.estimated for failure in state.failures),
            "policy": chain.policy,
        }
    )


def _after_failure(
    chain: Chain, state: Waiting, intent: AttemptStarted, failure: AttemptFailed, context: Context
) -> Iterator[Message]:
    """The failed attempt and, if the call goes on at once, what follows; the next attempt only if a slot is free for it."""
    number = 0 if failure.fall.reason in NOT_SENT else intent.attempt
    fall = failure.fall.model_copy(update={"tier": intent.tier, "attempt": number})
    failure = failure.model_copy(update={"call": state.call.call, "fall": fall})
    resume = resume_at(chain, state.call, (*state.failures, failure), context.at)
    failure = failure.model_copy(update={"resume_at": resume})
    yield failure
    after = _with_failure(state, failure)
    if intent.safety == "never-repeat" and fall.reason in DOUBTFUL:
        yield _failed(after, tuple(one.fall for one in after.failures), "in-doubt")
    elif fall.reason == "content-missing":
        yield _failed(after, (fall,), "refused").model_copy(update={"detail": fall.detail})
    elif resume <= context.at:
        step = _go_on(chain, after, context)
        if context.may_perform or not isinstance(step, AttemptStarted):
            yield step


def _with_failure(state: Waiting, failure: AttemptFailed) -> Waiting:
    lost = {failure.fall.attempt} if failure.fall.reason == "lost" else set()
    return replace(state, wake_at=failure.resume_at, failures=(*state.failures, failure), doubtful=state.doubtful | lost)


def _attempt(state: Waiting, endpoint: Endpoint, context: Context) -> AttemptStarted:
    call = state.call
    repairs = sum(f.fall.reason == "invalid-output" and f.fall.tier == endpoint.name for f in state.failures)
    return AttemptStarted(
        attempt=state.attempts + 1,
        safety=endpoint.safety,
        # the same for a repeated request; a repair is a different request
        key=idempotency_key(context.tenant, context.workflow, call.call, repairs),
        deadline=min(call.deadline, context.at + timedelta(seconds=endpoint.timeout)),
        call=call.call,
        tier=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.name,
    )


def _cache_lookup(state: Waiting, context: Context) -> AttemptStarted:
    """Searching the cache's index is an attempt too, so that what was found, and when, is on the record."""
    call = state.call
    return AttemptStarted(
        attempt=state.attempts + 1,
        safety="safe",
        key="",
        deadline=min(call.deadline, context.at + CACHE_TIMEOUT),
        call=call.call,
        tier="cache",
        provider="hansard",
        model="cache",
        endpoint="cache",
    )


def _lost(intent: AttemptStarted) -> AttemptFailed:
    detail = "whoever made this attempt fell silent; what became of it, and what it cost, is not known"
    return AttemptFailed(
        call=intent.call,
        fall=Fall(reason="lost", detail=detail, **carried(intent, Attribution)),
        latency_ms=0,
        estimated=True,
    )


def _failure_of(intent: AttemptStarted, reply: ModelReplied, fall: Fall) -> AttemptFailed:
    return AttemptFailed(call=intent.call, fall=fall, latency_ms=reply.latency_ms, **carried(reply, Usage, Estimated))


def _discarded(message: AttemptReturned, because: str) -> ReplyDiscarded:
    paid = message.reply or message.failure
    usage = carried(paid, Usage) if paid else {"cost": Decimal(0)}
    return ReplyDiscarded.model_validate({"call": message.call, "attempt": message.attempt, "because": because, **usage})


def _failed(state: Waiting, falls: tuple[Fall, ...], reason: str) -> ModelFailed:
    detail = "; ".join(f"{fall.tier}: {fall.reason}" for fall in falls)
    return ModelFailed.model_validate(
        {"call": state.call.call, "reason": reason, "falls": falls, "detail": detail, "cost": _cost_of(state.failures)}
    )


def _reason_of(falls: tuple[Fall, ...]) -> str:
    reasons = [fall.reason for fall in falls if fall.attempt]
    return "refused" if reasons and set(reasons) == {"refused"} else "no-answer"


def _cost_of(failures: Failures) -> Decimal:
    return sum((failure.cost for failure in failures), Decimal(0))
