"""The tiers that answer without a model: known answers, quoted passages, fixed replies. Pure."""

import re
import unicodedata
from typing import NamedTuple

from contracts.gateway import CallModel, Fall
from services.gateway.config import Chain
from services.gateway.extractive import extract

_WORD = re.compile(r"[^\W_]+")


class LocalAnswer(NamedTuple):
    """An answer without a model."""

    tier: str
    text: str
    sources: tuple[str, ...] = ()


def local_answer(chain: Chain, tier: str, call: CallModel) -> LocalAnswer | None:
    """The answer of one tier: `cache`, `extractive` or `rules`. None where it has none, and where a text is not what was asked
    for: no text stands for data, or for a confidence that the tier does not have."""
    least, prior = call.minimum_confidence, chain.prior(tier)
    if call.response_schema is not None or (least is not None and prior is not None and prior < least):
        return None
    match tier:
        case "cache":
            return known_answer(chain, call)
        case "extractive":
            found = extract(question_of(call), call.passages, chain.support)
            return LocalAnswer("extractive", *found) if found else None
        case _:
            return fixed_reply(chain, call)


def known_answer(chain: Chain, call: CallModel) -> LocalAnswer | None:
    """The known answer to a question that stands alone: no passages and no earlier conversation could change it."""
    alone = not call.passages and all(message.role in ("system", "user") for message in call.messages)
    if "cache" not in chain.order or not alone or sum(message.role == "user" for message in call.messages) > 1:
        return None
    question = normalised(question_of(call))
    return next((LocalAnswer("cache", k.answer) for k in chain.answers.known if normalised(k.question) == question), None)


def fixed_reply(chain: Chain, call: CallModel) -> LocalAnswer | None:
    words = {word.casefold() for word in _WORD.findall(question_of(call))}
    for reply in chain.answers.fixed:
        if not reply.words or words.intersection(reply.words):
            return LocalAnswer("rules", f"{chain.answers.notice} {reply.answer}".strip())
    return None


def miss(tier: str, call: CallModel | None = None) -> Fall:
    """Why a tier without a model did not answer."""
    if call is not None and call.response_schema is not None:
        return Fall(tier=tier, provider="hansard", model=tier, reason="miss", detail="it gives a text, and data is asked for")
    why = {"cache": "no known answer", "extractive": "no passage supports an answer", "rules": "no fixed reply"}
    return Fall(tier=tier, provider="hansard", model=tier, reason="miss", detail=why[tier])


def question_of(call: CallModel) -> str:
    """The question in short, or else the last message of a user."""
    return call.question or next((m.content for m in reversed(call.messages) if m.role == "user"), "")


def normalised(question: str) -> str:
    """Without case, spacing and closing punctuation."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split()).rstrip("?.! ")
