"""A call as the body of a request. Pure."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from contracts.gateway import CallModel, ChatMessage
from services.gateway.config import Endpoint
from services.gateway.openai_wire.fields import FIELDS, LIMITS, Field, Refused
from services.gateway.openai_wire.tolerant import Json

Api = Literal["chat", "responses"]
PATHS: dict[Api, str] = {"chat": "/chat/completions", "responses": "/responses"}


class Request(NamedTuple):
    """`fields`: those in it that an endpoint may refuse, and that have another form or may be left out. `without`: those that are
    left out or in another form already."""

    body: Json
    fields: Refused
    without: tuple[str, ...] = ()


def make_request(
    call: CallModel, endpoint: Endpoint, api: Api, model: str, repair: str = "", *, refused: Refused = frozenset(), stream: bool
) -> Request:
    """`repair`: what was wrong with the last output, for the model to correct. `refused`: fields that the endpoint does not
    take."""
    form = _form(call, refused)
    messages = _messages(call, repair, refused, in_prompt=form in ("json_object", "prompt"))
    body = _chat(call, messages) if api == "chat" else _responses(call, messages)
    fields: set[Field] = set()
    if form in ("json_schema", "json_object"):
        fields.add(form)
        _add_format(body, api, form, call.response_schema)
    if any(message.role == "system" for message in messages) or _repeats(messages):
        fields.add("system")
    for field, written in _optional(call, endpoint, api, refused, stream=stream):
        fields.add(field)
        body |= written
    if api == "responses":
        body["max_output_tokens"] = call.max_output_tokens
    if refused.intersection(LIMITS):
        fields -= set(LIMITS)  # it has no third name, and without a limit an answer could cost anything
    without: tuple[str, ...] = ()
    if refused:
        all_fields = make_request(call, endpoint, api, model, repair, stream=stream).fields
        without = tuple(field for field in FIELDS if field in all_fields & refused)
    return Request({"model": model, **body}, frozenset(fields) - refused, without)


def request_body(call: CallModel, endpoint: Endpoint, api: Api, model: str, repair: str = "") -> Json:
    return make_request(call, endpoint, api, model, repair, stream=False).body


def _form(call: CallModel, refused: Refused) -> Literal["json_schema", "json_object", "prompt", ""]:
    """How the endpoint is told the form of a structured answer."""
    if call.response_schema is None:
        return ""
    forms: tuple[Literal["json_schema", "json_object"], ...] = ("json_schema", "json_object")
    return next((form for form in forms if form not in refused), "prompt")


def _optional(call: CallModel, endpoint: Endpoint, api: Api, refused: Refused, *, stream: bool) -> Iterator[tuple[Field, Json]]:
    """The fields that may be left out or have another name, each with what is added to the body for it."""
    if call.temperature is not None and "temperature" not in refused:
        yield "temperature", {"temperature": call.temperature}
    if api == "chat":
        new = endpoint.provider in ("openai", "azure.ai.openai")
        names = (endpoint.max_tokens_field or LIMITS[new], *LIMITS)
        limit = next((name for name in names if name not in refused), None)
        if limit is not None:
            yield limit, {limit: call.max_output_tokens}
    elif "store" not in refused:
        yield "store", {"store": False}
    if stream and "stream" not in refused:
        yield "stream", {"stream": True}
        if api == "chat" and "stream_options" not in refused:
            yield "stream_options", {"stream_options": {"include_usage": True}}


def _messages(call: CallModel, repair: str, refused: Refused, *, in_prompt: bool) -> Sequence[ChatMessage]:
    messages = list(call.messages)
    if in_prompt:
        schema = json.dumps(call.response_schema, ensure_ascii=False, separators=(",", ":"))
        form = f"Answer with JSON that fits this JSON Schema, and with nothing else: {schema}"
        messages = _with_system(messages, form)
    if repair:
        correction = f"Your last answer could not be used: {repair}. Answer again, and correct that."
        messages.append(ChatMessage(role="user", content=correction))
    return _without_system(messages) if "system" in refused else messages


def _with_system(messages: list[ChatMessage], text: str) -> list[ChatMessage]:
    if messages and messages[0].role == "system":
        first = messages[0]
        return [first.model_copy(update={"content": f"{first.content}\n\n{text}"}), *messages[1:]]
    return [ChatMessage(role="system", content=text), *messages]


def _without_system(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """What the system says as the user's, and what the user says in several messages in a row as one: some templates know no
    system and want the roles to alternate."""
    joined: list[ChatMessage] = []
    for message in messages:
        role = "user" if message.role == "system" else message.role
        if joined and role == "user" == joined[-1].role:
            joined[-1] = joined[-1].model_copy(update={"content": f"{joined[-1].content}\n\n{message.content}"})
        else:
            joined.append(message.model_copy(update={"role": role}))
    return joined


def _repeats(messages: Sequence[ChatMessage]) -> bool:
    return any(one.role == "user" == other.role for one, other in pairwise(messages))


def _add_format(body: Json, api: Api, form: str, schema: Json | None) -> None:
    described = _format(schema or {})
    if api == "responses":
        body["text"] = {"format": {"type": form, **described} if form == "json_schema" else {"type": form}}
    else:
        body["response_format"] = {"type": form, "json_schema": described} if form == "json_schema" else {"type": form}


def _chat(call: CallModel, messages: Iterable[ChatMessage]) -> Json:
    body: Json = {"messages": [_chat_message(message) for message in messages]}
    if call.tools:
        body["tools"] = list(call.tools)
    return body


def _chat_message(message: ChatMessage) -> Json:
    written: Json = {"role": message.role, "content": message.content}
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        written["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in message.tool_calls
        ]
    return written


def _responses(call: CallModel, messages: Iterable[ChatMessage]) -> Json:
    body: Json = {"input": [item for message in messages for item in _items(message)]}
    if call.tools:
        body["tools"] = [_flat(tool) for tool in call.tools]
    return body


def _items(message: ChatMessage) -> Iterable[Json]:
    if message.role == "tool":
        yield {"type": "function_call_output", "call_id": message.tool_call_id or "", "output": message.content}
        return
    if message.content or not message.tool_calls:
        yield {"role": message.role, "content": message.content}
    for call in message.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _flat(tool: Json) -> Json:
    """A tool in the form of Responses, from the form of Chat Completions."""
    function = tool.get("function")
    return {"type": "function", **function} if isinstance(function, dict) else tool


def _format(schema: Json) -> Json:
    return {"name": "answer", "schema": schema, "strict": _closed(schema)}


def _closed(schema: Any) -> bool:
    """Whether strict mode accepts the schema: every object requires all its fields and allows no others."""
    if isinstance(schema, list):
        return all(_closed(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        fields = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(fields) != set(schema.get("required", ())):
            return False
        if not _closed(list(fields.values())):
            return False
    return all(_closed(schema[key]) for key in ("items", "anyOf") if key in schema) and _closed(
        list(schema.get("$defs", {}).values())
    )
