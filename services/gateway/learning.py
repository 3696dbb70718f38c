"""Which answers are good enough to be used again, and for which calls. Pure."""

import hashlib
import json
from decimal import Decimal

from contracts.gateway import CallModel, Learned, ModelReplied
from hansard.codec import Invalid, decode
from services.gateway.chain import asked, normalised
from services.gateway.config import LOCAL_TIERS, Chain
from shared.eventstore.model import StoredMessage


def key(tenant: str, call: CallModel) -> bytes:
    """32 bytes that stand for what is asked: by whom, of what class of model, in what context. The last question counts
    without case, spacing and closing punctuation."""
    last = max((n for n, message in enumerate(call.messages) if message.role == "user"), default=-1)
    emitted = [
        (m.role, normalised(m.content) if n == last else m.content, m.tool_call_id, [c.model_dump() for c in m.tool_calls])
        for n, m in enumerate(call.messages)
    ]
    passages = [(passage.source, passage.text) for passage in call.passages]
    form = [call.response_schema, call.tools, call.temperature, call.max_output_tokens]
    whole = [tenant, call.role, call.model_class, emitted, passages, normalised(asked(call)), form]
    return hashlib.sha256(json.dumps(whole, ensure_ascii=True, sort_keys=True).encode()).digest()


def worth_learning(chain: Chain, reply: ModelReplied, confidence: float | None) -> bool:
    """A model's own, whole and sure answer. One that nobody is sure of is not learned."""
    return (
        chain.learns
        and reply.tier not in LOCAL_TIERS
        and reply.finish_reason == "stop"
        and not reply.tool_calls
        and bool(reply.text.strip())
        and confidence is not None
        and confidence >= chain.learning.confidence
    )


def used_again(chain: Chain, message: StoredMessage, call: CallModel) -> ModelReplied | None:
    """The recorded answer as an answer to this call, if it is still one that may be learned."""
    try:
        source = decode(ModelReplied, message.data)
    except Invalid:
        return None
    if message.at is None or not worth_learning(chain, source, source.confidence):
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
