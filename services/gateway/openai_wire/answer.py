"""The body of an answer, read and checked. Pure."""

import json
import re
from typing import Any, NamedTuple

import jsonschema_rs
from pydantic import BaseModel, Field, JsonValue, ValidationError

from contracts.gateway import CallModel, FallReason, ToolCall
from services.gateway.openai_wire.request import Api, Json

_FENCED = re.compile(r"\A\s*```[a-z]*\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)


class NoUsableAnswer(Exception):
    """Why an attempt has no answer that counts. `paid`: the answer that it has all the same, which costs money."""

    def __init__(self, reason: FallReason, detail: str, paid: "Answer | None" = None) -> None:
        super().__init__(detail)
        self.reason: FallReason = reason
        self.detail = detail
        self.paid = paid


class Answer(NamedTuple):
    """The answer of an endpoint. `tokens`: input, cached input among them, output; None if the endpoint does not report them."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    model: str
    id: str
    tokens: tuple[int, int, int] | None
    refusal: str = ""
    data: JsonValue = None


class _Cached(BaseModel):
    cached_tokens: int | None = None


class _Function(BaseModel):
    name: str = ""
    arguments: str | Json = ""


class _Called(BaseModel):
    id: str | None = None
    function: _Function = _Function()


class _Part(BaseModel):
    type: str = ""
    text: str = ""
    refusal: str = ""


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Called] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Cached | None = None


class _ChatAnswer(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None
    id: str | None = None


class _Item(BaseModel):
    type: str = ""
    content: list[_Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class _Incomplete(BaseModel):
    reason: str = ""


class _ResponsesAnswer(BaseModel):
    output: list[_Item]
    status: str | None = None
    incomplete_details: _Incomplete | None = None
    error: Json | None = None
    usage: _Usage | None = None
    model: str | None = Field(default=None)
    id: str | None = None


class _Error(BaseModel):
    message: str


class _Failed(BaseModel):
    error: _Error


def read_answer(api: Api, raw: bytes, call: CallModel) -> Answer:
    """Raises NoUsableAnswer: `error` if the body is not an answer of this interface, `invalid-output` if the answer is empty or
    does not fit the schema, `refused` if the model or a filter refused."""
    try:
        answer = _read_chat(raw) if api == "chat" else _read_responses(raw)
    except ValidationError as error:
        if message := _error_message(raw):
            raise NoUsableAnswer("error", f"the endpoint failed: {message}") from None
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NoUsableAnswer("error", f"the body is no answer: {where} {first['msg']}".replace("  ", " ")) from None
    if answer.refusal:
        raise NoUsableAnswer("refused", f"the model refused: {answer.refusal}", answer)
    if answer.finish_reason == "content_filter" and not answer.text:
        raise NoUsableAnswer("refused", "a content filter withheld the answer", answer)
    if not answer.text.strip() and not answer.tool_calls:
        raise NoUsableAnswer("invalid-output", f"the answer is empty (finish reason: {answer.finish_reason})", answer)
    if call.response_schema is None or answer.tool_calls:
        return answer
    return answer._replace(data=_structured(call.response_schema, answer))


def _read_chat(raw: bytes) -> Answer:
    given = _ChatAnswer.model_validate_json(raw)
    choice = given.choices[0] if given.choices else _Choice(message=_Message(), finish_reason="no choice")
    content = choice.message.content
    parts = content if isinstance(content, list) else []
    return Answer(
        text=clean(content if isinstance(content, str) else "".join(part.text for part in parts)),
        tool_calls=tuple(
            ToolCall(id=called.id or f"call_{n}", name=clean(called.function.name), arguments=_arguments(called.function))
            for n, called in enumerate(choice.message.tool_calls or ())
        ),
        finish_reason=clean(choice.finish_reason or "stop"),
        model=clean(given.model or ""),
        id=clean(given.id or ""),
        tokens=_tokens(given.usage),
        refusal=clean(choice.message.refusal or "".join(part.refusal for part in parts)),
    )


def _error_message(raw: bytes) -> str:
    """The error message in place of an answer, which some endpoints send with status 200."""
    try:
        return clean(_Failed.model_validate_json(raw).error.message)
    except ValidationError:
        return ""


def _arguments(function: _Function) -> str:
    given = function.arguments
    return clean(given if isinstance(given, str) else json.dumps(given))


def _read_responses(raw: bytes) -> Answer:
    given = _ResponsesAnswer.model_validate_json(raw)
    if given.error or given.status in ("failed", "cancelled"):
        raise NoUsableAnswer("error", f"the response {given.status}: {clean(str((given.error or {}).get('message', '')))}")
    parts = [part for item in given.output if item.type == "message" for part in item.content or ()]
    calls = tuple(
        ToolCall(id=item.call_id, name=clean(item.name), arguments=clean(item.arguments))
        for item in given.output
        if item.type == "function_call"
    )
    why = given.incomplete_details.reason if given.incomplete_details else ""
    return Answer(
        text=clean("".join(part.text for part in parts)),
        tool_calls=calls,
        finish_reason={"max_output_tokens": "length"}.get(why, clean(why)) or ("tool_calls" if calls else "stop"),
        model=clean(given.model or ""),
        id=clean(given.id or ""),
        tokens=_tokens(given.usage),
        refusal=clean("".join(part.refusal for part in parts)),
    )


def _tokens(usage: _Usage | None) -> tuple[int, int, int] | None:
    if usage is None:
        return None
    given = usage.prompt_tokens if usage.input_tokens is None else usage.input_tokens
    output = usage.completion_tokens if usage.output_tokens is None else usage.output_tokens
    details = usage.input_tokens_details or usage.prompt_tokens_details
    if given is None or output is None or not 0 <= given < 2**53 or not 0 <= output < 2**53:
        return None
    return given, min(max((details.cached_tokens if details else 0) or 0, 0), given), output


def _structured(schema: Json, answer: Answer) -> JsonValue:
    fenced = _FENCED.match(answer.text)
    try:
        data = json.loads(fenced[1] if fenced else answer.text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        cut = ", and it was cut off at the token limit" if answer.finish_reason == "length" else ""
        raise NoUsableAnswer("invalid-output", f"it is not JSON ({error}){cut}", answer) from None
    try:
        checker = jsonschema_rs.validator_for(schema, offline=True)
    except ValueError as error:
        raise NoUsableAnswer("refused", f"the requested schema is not a JSON Schema: {_first_line(error)}", answer) from None
    if wrong := next(checker.iter_errors(data), None):
        where = "/".join(str(step) for step in wrong.instance_path)
        raise NoUsableAnswer(
            "invalid-output", f"it does not fit the schema{' at ' + where if where else ''}: {wrong.message}", answer
        )
    cleaned: JsonValue = _clean(data)
    return cleaned


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def confidence(data: JsonValue) -> float | None:
    """The model's own confidence, if its structured output has one."""
    given = data.get("confidence") if isinstance(data, dict) else None
    usable = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1
    return float(given) if usable and isinstance(given, int | float) else None


def clean(text: str) -> str:
    """Without what neither the store nor JSON text can hold: NUL and lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _clean(data: Any) -> Any:
    match data:
        case str():
            return clean(data)
        case list():
            return [_clean(part) for part in data]
        case dict():
            return {clean(name): _clean(part) for name, part in data.items()}
        case _:
            return data
