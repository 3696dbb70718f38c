"""Which tier next. Pure: the configuration, the call, the receipts so far and one recorded time."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from contracts.gateway import AttemptFailed, CallModel, Fall, FallReason
from services.gateway.config import LOCAL_TIERS, Chain, Endpoint
from services.gateway.extractive import extract

STAYED: frozenset[FallReason] = frozenset({"circuit-open", "retry-budget", "miss"})  # nothing left the house
PASSING: frozenset[FallReason] = frozenset({"error", "rate-limit", "lost"})  # the same endpoint may do better later
DOUBTFUL: frozenset[FallReason] = frozenset({"error", "timeout", "lost"})  # the endpoint may have acted all the same
_WORD = re.compile(r"[^\W_]+")
Receipts = Sequence[AttemptFailed]


class Local(NamedTuple):
    """An answer without a model."""

    tier: str
    text: str
    sources: tuple[str, ...] = ()


def endpoint_at(chain: Chain, call: CallModel, receipts: Receipts, at: datetime) -> Endpoint | None:
    """The endpoint to ask at that time: the best that is not exhausted and need not be waited for."""
    if at >= call.deadline:
        return None
    return next((e for e, not_before in _open(chain, call, receipts) if not_before is None or not_before <= at), None)


def resume_at(chain: Chain, call: CallModel, receipts: Receipts, at: datetime) -> datetime:
    """When the call goes on after the last of these receipts, heard `at`: at once, which is `at`, or later.

    A short wait for a better endpoint is taken before a worse one is asked. A longer one, only where no other is left
    and there is no known answer. What lies at or behind the deadline is not waited for.
    """
    waits = [not_before or at for _, not_before in _open(chain, call, receipts)]
    soon = next((wait for wait in waits if wait <= at + timedelta(seconds=chain.patience)), None)
    if soon is None and waits and known(chain, call) is None and not seeks(chain, call, receipts, None, at):
        soon = min(waits)
    return soon if soon is not None and at < soon < call.deadline else at


def seeks(chain: Chain, call: CallModel, receipts: Receipts, endpoint: Endpoint | None, at: datetime) -> bool:
    """Whether what was learned is looked up now, before this endpoint or where none is left: once, in the cache's place."""
    if not chain.learns or at >= call.deadline or any(receipt.fall.tier == "cache" for receipt in receipts):
        return False
    before = chain.order[: chain.order.index(endpoint.name)] if endpoint else chain.order
    places = [tier for tier in before if tier in LOCAL_TIERS]
    if "cache" not in places:
        return False
    return not any(answered(chain, tier, call) for tier in places[: places.index("cache") + 1])


def _open(chain: Chain, call: CallModel, receipts: Receipts) -> Iterator[tuple[Endpoint, datetime | None]]:
    """Endpoints that may still be asked, best first, with the time before which they must not."""
    for endpoint in chain.serving(call.model_class):
        own = [receipt for receipt in receipts if receipt.fall.tier == endpoint.name]
        reasons = [receipt.fall.reason for receipt in own]
        passing = sum(reason in PASSING for reason in reasons)
        unusable = reasons.count("invalid-output")
        if passing + unusable == len(reasons) and passing <= endpoint.max_retries and unusable <= chain.repairs:
            yield endpoint, own[-1].retry_at if own else None


def local(chain: Chain, call: CallModel, receipts: Receipts, at: datetime) -> tuple[Local | None, tuple[Fall, ...]]:
    """The best answer without a model, and every fall before it."""
    falls = [receipt.fall for receipt in receipts]
    if not chain.endpoints:
        falls.append(Fall(tier="endpoints", reason="no-endpoint", detail="no endpoint is configured"))
    tried = {fall.tier for fall in falls}
    for tier in chain.order:
        if endpoint := chain.by_name.get(tier):
            if at >= call.deadline and tier not in tried:
                falls.append(unasked(endpoint))
        elif answer := answered(chain, tier, call):
            return answer, tuple(falls)
        elif tier not in tried:
            falls.append(missed(tier))
    return None, tuple(falls)


def before(chain: Chain, call: CallModel, receipts: Receipts, tier: str) -> tuple[Fall, ...]:
    """The falls of a call that this endpoint answered: attempts that failed, and tiers without a model placed before it."""
    places = chain.order[: chain.order.index(tier)] if tier in chain.order else ()
    falls = tuple(receipt.fall for receipt in receipts)
    tried = {fall.tier for fall in falls}
    return (*falls, *(missed(place) for place in places if place in LOCAL_TIERS and place not in tried))


def ahead(chain: Chain, call: CallModel, endpoint: Endpoint) -> Local | None:
    """The answer of a tier without a model that is placed before this endpoint."""
    tiers = (tier for tier in chain.order[: chain.order.index(endpoint.name)] if tier in LOCAL_TIERS)
    return next((answer for tier in tiers if (answer := answered(chain, tier, call))), None)


def unasked(endpoint: Endpoint) -> Fall:
    return Fall(
        tier=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        reason="timeout",
        detail="the deadline of the call had passed before it could be asked",
    )


def missed(tier: str) -> Fall:
    why = {"cache": "no known answer", "extractive": "no passage supports an answer", "rules": "no fixed reply"}
    return Fall(tier=tier, provider="hansard", model=tier, reason="miss", detail=why[tier])


def answered(chain: Chain, tier: str, call: CallModel) -> Local | None:
    match tier:
        case "cache":
            return known(chain, call)
        case "extractive":
            found = extract(asked(call), call.passages, chain.support)
            return Local("extractive", *found) if found else None
        case _:
            return fixed(chain, call)


def known(chain: Chain, call: CallModel) -> Local | None:
    """The known answer to a question that stands alone: no passages, no talk before it, that could change it."""
    alone = not call.passages and all(message.role in ("system", "user") for message in call.messages)
    if "cache" not in chain.order or not alone or sum(message.role == "user" for message in call.messages) > 1:
        return None
    question = normalised(asked(call))
    return next((Local("cache", k.answer) for k in chain.answers.known if normalised(k.question) == question), None)


def fixed(chain: Chain, call: CallModel) -> Local | None:
    words = {word.casefold() for word in _WORD.findall(asked(call))}
    for reply in chain.answers.fixed:
        if not reply.words or words.intersection(reply.words):
            return Local("rules", f"{chain.answers.notice} {reply.answer}".strip())
    return None


def asked(call: CallModel) -> str:
    """The question in short, or what a person said last."""
    return call.question or next((m.content for m in reversed(call.messages) if m.role == "user"), "")


def normalised(question: str) -> str:
    """Without case, spacing and closing punctuation."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split()).rstrip("?.! ")
