"""Which recorded answers the cache may use again, and for which calls. Pure."""

import hashlib
import json
from datetime import datetime, timedelta
from decimal import Decimal

from contracts.gateway import CallModel, Learned, ModelReplied
from hansard.codec import Invalid, decode
from hansard.references import references
from services.gateway.config import LOCAL_TIERS, Chain
from services.gateway.local_tiers import miss, normalised, question_of
from shared.eventstore.model import StoredMessage


def cache_key(tenant: str, call: CallModel) -> bytes:
    """32 bytes, the same for every call that asks the same: tenant, role, class of model, messages, passages and form of the
    answer. The case, spacing and closing punctuation of the last question do not count."""
    last = max((n for n, message in enumerate(call.messages) if message.role == "user"), default=-1)
    messages = [
        (m.role, normalised(m.content) if n == last else m.content, m.tool_call_id, [c.model_dump() for c in m.tool_calls])
        for n, m in enumerate(call.messages)
    ]
    passages = [(passage.source, passage.text) for passage in call.passages]
    wholes = [reference.sha256 for reference in references(call)]
    form = [wholes, call.response_schema, call.tools, call.temperature, call.max_output_tokens]
    whole = [tenant, call.role, call.model_class, messages, passages, normalised(question_of(call)), form]
    return hashlib.sha256(json.dumps(whole, ensure_ascii=True, sort_keys=True).encode()).digest()


def may_be_reused(chain: Chain, reply: ModelReplied, confidence: float | None) -> bool:
    """Whether this is a model's own, whole answer of enough confidence. One whose confidence is not known is not used again."""
    return (
        chain.learns
        and reply.tier not in LOCAL_TIERS
        and reply.finish_reason == "stop"
        and not reply.tool_calls
        and bool(reply.text.strip())
        and confidence is not None
        and confidence >= chain.learning.confidence
    )


def why_not_reused(chain: Chain, reply: ModelReplied, learned: Learned, at: datetime) -> str:
    """Why the recorded answer that the cache has found may not be used again at that time; "" if it may."""
    if not may_be_reused(chain, reply.model_copy(update={"tier": learned.tier}), reply.confidence):
        return miss("cache").detail
    if at - learned.at > timedelta(hours=chain.learning.hours):
        return f"the recorded answer is of {learned.at:%Y-%m-%d %H:%M} UTC, and too old"
    return ""


def found_again(message: StoredMessage, call: CallModel) -> ModelReplied | None:
    """The recorded answer as an answer to this call; None if it cannot be read. Whether it counts is for the call's stream."""
    try:
        source = decode(ModelReplied, message.data)
    except Invalid:
        return None
    if message.at is None:
        return None
    stream = message.stream
    learned = Learned(event=str(message.id), workflow=stream.workflow, stream=stream.name, tier=source.tier, at=message.at)
    return source.model_copy(
        update={
            "call": call.call,
            "attempt": 0,
            "tier": "cache",
            "falls": (),
            "latency_ms": 0.0,
            "cost": Decimal(0),
            "input_tokens": 0,
            "output_tokens": 0,
            "estimated": False,
            "learned": learned,
        }
    )
