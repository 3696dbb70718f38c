"""A whole answer as the server-sent events of its stream. Pure."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]


def streamed(path: str, body: Json, answer: Json) -> list[bytes]:
    """The events of Responses or of Chat Completions, for the request `body`."""
    if path.endswith("/responses"):
        return [_event(event["type"], event) for event in _numbered(_responses(answer))]
    usage = bool(body.get("stream_options", {}).get("include_usage"))
    return [*(_data(event) for event in _chat(answer, usage=usage)), b"data: [DONE]\n\n"]


def failing(path: str, events: list[bytes]) -> list[bytes]:
    """Half of the events, then the error event of the interface."""
    error = {"type": "error", "code": "server_error", "message": "scripted failure in the midst", "param": None}
    last = _event("error", error) if path.endswith("/responses") else _data({"error": error})
    return [*half(events), last]


def half(events: list[bytes]) -> list[bytes]:
    return events[: len(events) // 2]


def _chat(answer: Json, *, usage: bool) -> Iterator[Json]:
    head = {name: answer[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for choice in answer["choices"]:
        message = choice["message"]
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": token} for token in _tokens(message["content"])]
        for n, call in enumerate(message.get("tool_calls") or ()):
            function = call["function"]
            deltas.append({"tool_calls": [call | {"index": n, "function": function | {"arguments": ""}}]})
            deltas += [
                {"tool_calls": [{"index": n, "function": {"arguments": token}}]} for token in _tokens(function["arguments"])
            ]
        for delta in deltas:
            yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if usage and "usage" in answer:
        yield head | {"choices": [], "usage": answer["usage"]}


def _responses(answer: Json) -> Iterator[Json]:
    begun = {name: value for name, value in answer.items() if name != "usage"} | {"status": "in_progress", "output": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for n, item in enumerate(answer["output"]):
        place = {"output_index": n, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": n, "item": item | _unwritten(item)}
        for part, content in enumerate(item.get("content", ())):
            at = place | {"content_index": part}
            yield {"type": "response.content_part.added", **at, "part": content | {"text": ""}}
            for token in _tokens(content["text"]):
                yield {"type": "response.output_text.delta", **at, "delta": token}
            yield {"type": "response.output_text.done", **at, "text": content["text"]}
            yield {"type": "response.content_part.done", **at, "part": content}
        for token in _tokens(item.get("arguments")):
            yield {"type": "response.function_call_arguments.delta", **place, "delta": token}
        yield {"type": "response.output_item.done", "output_index": n, "item": item}
    yield {"type": f"response.{answer['status']}", "response": answer}


def _unwritten(item: Json) -> Json:
    return {"content": [], "status": "in_progress"} if "content" in item else {"arguments": ""}


def _numbered(events: Iterable[Json]) -> Iterator[Json]:
    return (event | {"sequence_number": n} for n, event in enumerate(events))


def _tokens(text: str | None) -> list[str]:
    return re.findall(r"\S+\s*", text or "")


def _data(event: Json) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _event(name: str, event: Json) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data(event)
