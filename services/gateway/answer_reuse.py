"""Which recorded answers the cache may use again, and for which calls. Pure."""

import hashlib
import json
from decimal import Decimal

from contracts.gateway import CallModel, Learned, ModelReplied
from hansard.codec import Invalid, decode
from hansard.references import references
from services.gateway.config import LOCAL_TIERS, Chain
from services.gateway.local_tiers import normalised, question_of
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


def reused(chain: Chain, message: StoredMessage, call: CallModel) -> ModelReplied | None:
    """The recorded answer as an answer to this call, if it may still be used again."""
    try:
        source = decode(ModelReplied, message.data)
    except Invalid:
        return None
    if message.at is None or not may_be_reused(chain, source, source.confidence):
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
