"""One stream a call: attempt after attempt, until one answer counts or none is left. One a circuit: see steering."""

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
from services.gateway.chain import DOUBTFUL, STAYED, Receipts, ahead, before, endpoint_at, local, resume_at, seeks
from services.gateway.config import Chain, Endpoint
from services.gateway.facts import AttemptReturned, EndpointFact
from services.gateway.steering import Budget, Circuit, Steering, steer, steered

LOOKUP = timedelta(seconds=2)  # for what was learned
NET = timedelta(seconds=15)  # after its deadline an attempt is lost, whoever still holds its stream


@dataclass(frozen=True, slots=True)
class Unasked: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """Goes on at the time that is due. Attempts that are `doubtful` were given up without a word from them."""

    call: CallModel
    wake_at: datetime | None = None  # none while an attempt is out
    receipts: tuple[AttemptFailed, ...] = ()
    doubtful: frozenset[int] = frozenset()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Flying:
    """An attempt is out."""

    out: AttemptStarted
    since: Ready


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing counts any more; attempts that are still out may come back, and are paid for.

    A reply `stands` until it is rejected."""

    out: frozenset[int] = frozenset()
    cancelled: bool = False
    stands: bool = False


Call = Unasked | Ready | Flying | Settled | Circuit | Budget


def gateway(chain: Chain) -> Decider[Call]:
    """The chain's configuration is the policy: what was decided under another one is not decided again under this."""

    def decide(state: Call, message: Message, context: Context) -> Iterable[Message]:
        match state:
            case _ if isinstance(message, EndpointFact):
                yield from steer(chain, state, message, context)

            case Unasked():
                match message:
                    case CallModel():
                        yield begin(message, context)
                    case CancelCall(call=call):
                        yield CallCancelled(call=call)
                    case _:
                        pass

            case Ready():
                match message:
                    case WakeUp() if state.wake_at is not None and context.at >= state.wake_at:
                        yield go_on(state, context)
                    case CancelCall(call=call):
                        yield CallCancelled(call=call)
                    case AttemptReturned(attempt=attempt) if attempt in state.doubtful:
                        yield discarded(message, "superseded")
                    case _:
                        pass

            case Flying(out, since):
                match message:
                    case AttemptReturned(attempt=out.attempt, reply=ModelReplied() as reply):
                        yield from weigh(since, out, reply, context)
                    case AttemptReturned(attempt=out.attempt, failure=failure):
                        yield from fell(since, out, failure or gone(out), context)
                    case AttemptReturned(attempt=attempt) if attempt in since.doubtful:
                        yield discarded(message, "superseded")
                    case WakeUp():
                        yield from fell(since, out, gone(out), context)
                    case CancelCall(call=call):
                        yield CallCancelled(call=call)
                    case _:
                        pass

            case Settled():
                match message:
                    case AttemptReturned(attempt=attempt) if attempt in state.out:
                        yield discarded(message, "cancelled" if state.cancelled else "superseded")
                    case RejectReply(call=call, reasons=reasons) if state.stands:
                        yield ReplyRejected(call=call, reasons=reasons)
                    case _:
                        pass

            case Circuit() | Budget():
                pass

            case _:
                assert_never(state)

    def begin(call: CallModel, context: Context) -> Message:
        """The first attempt, which accepts the call; the answer, where none is needed; or that the call waits for a slot."""
        first = go_on(Ready(call), context)
        if not isinstance(first, AttemptStarted):
            return first
        if not context.may_perform:
            return CallAccepted(request=call, at=context.at)
        return first.model_copy(update={"request": call})

    def go_on(state: Ready, context: Context) -> AttemptStarted | ModelReplied | ModelFailed:
        call, receipts = state.call, state.receipts
        endpoint = endpoint_at(chain, call, receipts, context.at)
        if seeks(chain, call, receipts, endpoint, context.at):
            return lookup(state, context)
        if endpoint and not ahead(chain, call, endpoint):
            return attempt(state, endpoint, context)
        answer, falls = local(chain, call, receipts, context.at)
        if answer is None:
            return failed(state, falls, "deadline" if context.at >= call.deadline else verdict(falls))
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
            cost=spent(receipts),
            estimated=any(receipt.estimated for receipt in receipts),
            policy=chain.policy,
        )

    def weigh(state: Ready, out: AttemptStarted, reply: ModelReplied, context: Context) -> Iterator[Message]:
        """A reply counts, unless it is itself less sure than was asked for. One that says nothing of that does count."""
        least = state.call.minimum_confidence
        if least is not None and reply.confidence is not None and reply.confidence < least:
            detail = f"{reply.confidence:g} where {least:g} was asked for"
            fall = Fall(tier=out.tier, provider=out.provider, model=reply.model, reason="low-confidence", detail=detail)
            yield from fell(state, out, receipt_of(out, reply, fall), context)
            return
        yield reply.model_copy(
            update={
                "call": state.call.call,
                "attempt": out.attempt,
                "tier": out.tier,
                "confidence": chain.prior(out.tier) if reply.confidence is None else reply.confidence,
                "falls": before(chain, state.call, state.receipts, out.tier),
                "cost": spent(state.receipts) + reply.cost,
                "estimated": reply.estimated or any(receipt.estimated for receipt in state.receipts),
                "policy": chain.policy,
            }
        )

    def fell(state: Ready, out: AttemptStarted, failure: AttemptFailed, context: Context) -> Iterator[Message]:
        """The receipt, and where the call goes on at once, what it comes to; an attempt only where it can be made now."""
        number = 0 if failure.fall.reason in STAYED else out.attempt
        fall = failure.fall.model_copy(update={"tier": out.tier, "attempt": number})
        receipt = failure.model_copy(update={"call": state.call.call, "fall": fall})
        due_ = resume_at(chain, state.call, (*state.receipts, receipt), context.at)
        receipt = receipt.model_copy(update={"resume_at": due_})
        yield receipt
        after = again(state, receipt)
        if out.safety == "never-repeat" and fall.reason in DOUBTFUL:
            yield failed(after, tuple(r.fall for r in after.receipts), "in-doubt")
        elif due_ <= context.at:
            then = go_on(after, context)
            if context.may_perform or not isinstance(then, AttemptStarted):
                yield then

    return Decider(Unasked(), decide, evolve, wake_at, policy=chain.policy)


def evolve(state: Call, message: Message) -> Call:
    if isinstance(message, Steering):
        return steered(state, message)
    match state, message:
        case Unasked(), CallAccepted(request=call, at=at):
            return Ready(call, wake_at=at)
        case Unasked(), AttemptStarted(request=CallModel() as call):
            return Flying(message, since=Ready(call, attempts=message.attempt))
        case Unasked(), ModelReplied() | ModelFailed():
            return Settled(stands=isinstance(message, ModelReplied))
        case Unasked(), CallCancelled():
            return Settled(cancelled=True)
        case Ready(), AttemptStarted():
            return Flying(message, since=replace(state, attempts=message.attempt, wake_at=None))
        case Flying(_, since), AttemptFailed():
            return again(since, message)
        case Ready(), ReplyDiscarded(attempt=attempt):
            return replace(state, doubtful=state.doubtful - {attempt})
        case Flying(_, since), ReplyDiscarded(attempt=attempt):
            return replace(state, since=replace(since, doubtful=since.doubtful - {attempt}))
        case Ready(), ModelReplied() | ModelFailed():
            return Settled(out=state.doubtful, stands=isinstance(message, ModelReplied))
        case Flying(_, since), ModelReplied():
            return Settled(out=since.doubtful, stands=True)
        case Ready(), CallCancelled():
            return Settled(out=state.doubtful, cancelled=True)
        case Flying(out, since), CallCancelled():
            return Settled(out=since.doubtful | {out.attempt}, cancelled=True)
        case Settled(out), ReplyDiscarded(attempt=attempt):
            return replace(state, out=out - {attempt})
        case Settled(), ReplyRejected():
            return replace(state, stands=False)
        case _:
            return state


def again(since: Ready, receipt: AttemptFailed) -> Ready:
    lost = {receipt.fall.attempt} if receipt.fall.reason == "lost" else set()
    return replace(since, wake_at=receipt.resume_at, receipts=(*since.receipts, receipt), doubtful=since.doubtful | lost)


def wake_at(state: Call) -> datetime | None:
    """When a call goes on. While an attempt is out, who makes it holds the stream, and this is the net under it."""
    match state:
        case Ready(wake_at=at):
            return at
        case Flying(out):
            return out.deadline + NET
        case _:
            return None


def attempt(state: Ready, endpoint: Endpoint, context: Context) -> AttemptStarted:
    call = state.call
    repairs = sum(r.fall.reason == "invalid-output" and r.fall.tier == endpoint.name for r in state.receipts)
    return AttemptStarted(
        attempt=state.attempts + 1,
        safety=endpoint.safety,
        # the same for a repeated request; a repair asks something else
        key=idempotency_key(context.tenant, context.workflow, call.call, repairs),
        deadline=min(call.deadline, context.at + timedelta(seconds=endpoint.timeout)),
        call=call.call,
        tier=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        endpoint=endpoint.name,
    )


def lookup(state: Ready, context: Context) -> AttemptStarted:
    """What the cache has learned comes as a receipt too: only so is it on the record what was found, and when."""
    call = state.call
    return AttemptStarted(
        attempt=state.attempts + 1,
        safety="safe",
        key="",
        deadline=min(call.deadline, context.at + LOOKUP),
        call=call.call,
        tier="cache",
        provider="hansard",
        model="cache",
        endpoint="cache",
    )


def gone(out: AttemptStarted) -> AttemptFailed:
    detail = "whoever made this attempt fell silent; what became of it, and what it cost, is not known"
    return AttemptFailed(
        call=out.call,
        fall=Fall(tier=out.tier, provider=out.provider, model=out.model, reason="lost", detail=detail),
        latency_ms=0,
        estimated=True,
    )


def receipt_of(out: AttemptStarted, reply: ModelReplied, fall: Fall) -> AttemptFailed:
    return AttemptFailed(
        call=out.call,
        fall=fall,
        latency_ms=reply.latency_ms,
        cost=reply.cost,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        estimated=reply.estimated,
    )


def discarded(message: AttemptReturned, because: str) -> ReplyDiscarded:
    paid = message.reply or message.failure
    return ReplyDiscarded.model_validate(
        {
            "call": message.call,
            "attempt": message.attempt,
            "because": because,
            "cost": paid.cost if paid else Decimal(0),
            "input_tokens": paid.input_tokens if paid else 0,
            "output_tokens": paid.output_tokens if paid else 0,
        }
    )


def failed(state: Ready, falls: tuple[Fall, ...], reason: str) -> ModelFailed:
    detail = "; ".join(f"{fall.tier}: {fall.reason}" for fall in falls)
    return ModelFailed.model_validate(
        {"call": state.call.call, "reason": reason, "falls": falls, "detail": detail, "cost": spent(state.receipts)}
    )


def verdict(falls: tuple[Fall, ...]) -> str:
    asked = [fall.reason for fall in falls if fall.attempt]
    return "refused" if asked and set(asked) == {"refused"} else "no-answer"


def spent(receipts: Receipts) -> Decimal:
    return sum((receipt.cost for receipt in receipts), Decimal(0))
