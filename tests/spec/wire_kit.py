"""A response as bytes, read as the gateway's client reads it: whole or as events, whatever its media type says."""

import json
from datetime import UTC, datetime
from typing import Any

from contracts.gateway import CallModel, ChatMessage
from services.gateway.openai_wire.answer import Answer, NoUsableAnswer, checked, parsed
from services.gateway.openai_wire.events import ResponseBody
from services.gateway.openai_wire.request import Api
from services.gateway.openai_wire.streamed_answer import StreamedAnswer

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
DONE = "[DONE]"


def asks(**more: Any) -> CallModel:
    messages = (ChatMessage(role="user", content="Why is the sky blue?"),)
    return CallModel(**{"call": "a/1", "messages": messages, "deadline": datetime(2026, 1, 1, tzinfo=UTC), **more})


def whole(content: Any = "Fine.", finish: Any = "stop", usage: Any = USAGE, choice: Any = None, **message: Any) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}]
    choices[0].update(choice or {})
    return json.dumps({"id": "c-1", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage}).encode()


def chunk(content: Any = None, finish: Any = None, **delta: Any) -> dict[str, Any]:
    delta = delta if content is None else {"content": content, **delta}
    return {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def events(*given: Any, end: str = "\n\n") -> bytes:
    """Each object as an event; a text stands as it is."""
    return "".join(one if isinstance(one, str) else f"data: {json.dumps(one)}{end}" for one in given).encode()


def stream(*given: Any) -> bytes:
    return events(*given, f"data: {DONE}\n\n")


def read(raw: bytes, api: Api = "chat", size: int = 0, largest: int = 10**6, **call: Any) -> tuple[list[str], Answer]:
    """The pieces that a watcher sees, and the answer. `size`: bytes that come at once; 0: all.

    Raises NoUsableAnswer, TooLarge, and ValueError for an event that is broken."""
    body, answer, pieces = ResponseBody(largest), StreamedAnswer(api, largest), list[str]()
    size = size or max(len(raw), 1)
    for start in range(0, len(raw), size):
        pieces += [text for event in body.add(raw[start : start + size]) if (text := answer.add(event))]
        if answer.ended:
            break
    else:
        pieces += [text for event in body.end() if (text := answer.add(event))]
    pieces += [rest for rest in [answer.rest()] if rest]
    found = parsed(api, answer.body() if body.streamed else body.whole(), answer.received)
    return pieces, checked(found, asks(**call))


def why(raw: bytes, api: Api = "chat", **call: Any) -> NoUsableAnswer:
    try:
        _, answer = read(raw, api, **call)
    except NoUsableAnswer as error:
        return error
    raise AssertionError(f"it counts as an answer: {answer}")
