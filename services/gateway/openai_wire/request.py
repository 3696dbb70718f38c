"""A call as the body of a request. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from contracts.gateway import CallModel, ChatMessage
from services.gateway.config import Endpoint

Json = dict[str, Any]
Api = Literal["chat", "responses"]
PATHS: dict[Api, str] = {"chat": "/chat/completions", "responses": "/responses"}


def request_body(call: CallModel, endpoint: Endpoint, api: Api, model: str, repair: str = "") -> Json:
    """`repair`: what was wrong with the last output, for the model to correct."""
    messages = call.messages
    if repair:
        correction = f"Your last answer could not be used: {repair}. Answer again, and correct that."
        messages = (*messages, ChatMessage(role="user", content=correction))
    body = _chat(call, endpoint, messages) if api == "chat" else _responses(call, messages)
    if call.temperature is not None:
        body["temperature"] = call.temperature
    return {"model": model, **body}


def _chat(call: CallModel, endpoint: Endpoint, messages: Sequence[ChatMessage]) -> Json:
    limit = endpoint.max_tokens_field or (
        "max_completion_tokens" if endpoint.provider in ("openai", "azure.ai.openai") else "max_tokens"
    )
    body: Json = {"messages": [_chat_message(message) for message in messages], limit: call.max_output_tokens}
    if call.tools:
        body["tools"] = list(call.tools)
    if call.response_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": _format(call.response_schema)}
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


def _responses(call: CallModel, messages: Sequence[ChatMessage]) -> Json:
    body: Json = {
        "input": [item for message in messages for item in _items(message)],
        "max_output_tokens": call.max_output_tokens,
        "store": False,
    }
    if call.tools:
        body["tools"] = [_flat(tool) for tool in call.tools]
    if call.response_schema is not None:
        body["text"] = {"format": {"type": "json_schema", **_format(call.response_schema)}}
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


def streaming_options(api: Api) -> Json:
    """What is added to the body of a request so that its answer is streamed and still reports its tokens."""
    return {"stream": True, "stream_options": {"include_usage": True}} if api == "chat" else {"stream": True}
