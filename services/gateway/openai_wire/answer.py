"""The body of an answer, read and checked. Pure."""

import re
from typing import NamedTuple

from pydantic import JsonValue

from contracts.gateway import CallModel, FallReason, ToolCall
from services.gateway.openai_wire.errors import ReportedError, meaning, read_error
from services.gateway.openai_wire.request import Api
from services.gateway.openai_wire.structured import BadSchema, Unfit, structured
from services.gateway.openai_wire.thinking import without_thinking
from services.gateway.openai_wire.tolerant import Json, clean, listed, load, mapping, refusal_of, string, text_of
from services.gateway.openai_wire.tool_calls import tool_calls
from services.gateway.openai_wire.usage import Tokens, estimated_tokens, read_usage

NAME = 200  # characters of a model's name

# Why a model stopped, in the words of OpenAI. A word that is not here is kept.
FINISHED = {
    **dict.fromkeys(("", "stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete", "completed", "done"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
}
# What is there is no answer. Part of a word is enough: "network_error", "insufficient_system_resource", "aborted".
_FAILED = re.compile(
    r"error|fail|abort|cancel|time.?out|interrupt|network|insufficient|malformed|unexpected|overload|disconnect|preempt"
    r"|incomplete|in_progress|queued"
)
_FILTERED = re.compile(
    r"filter|safety|sensitiv|refus|recitation|blocklist|blocked|prohibited|spii|guardrail|moderat|violat|policy"
)


class NoUsableAnswer(Exception):
    """Why an attempt has no answer that counts. `paid`: the answer that it has all the same, which costs money. `error`: what the
    endpoint reports in place of one."""

    def __init__(self, reason: FallReason, detail: str, paid: "Answer | None" = None, error: ReportedError | None = None) -> None:
        super().__init__(detail)
        self.reason: FallReason = reason
        self.detail = detail
        self.paid = paid
        self.error = error


class Answer(NamedTuple):
    """The answer of an endpoint. `received`: tokens of it and of reasoning, estimated, for an endpoint that does not report
    them."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    model: str
    id: str
    tokens: Tokens
    refusal: str = ""
    data: JsonValue = None
    received: int = 0

    @classmethod
    def of_pieces(cls, received: int) -> "Answer":
        """What came of an answer that broke off, which costs money."""
        return cls("", (), "", "", "", Tokens(), received=received)


def read_answer(api: Api, raw: bytes, call: CallModel, received: int = 0) -> Answer:
    """Raises NoUsableAnswer, see `checked` and `parsed`."""
    return checked(parsed(api, raw, received), call)


def parsed(api: Api, raw: bytes, received: int = 0) -> Answer:
    """Raises NoUsableAnswer if the body is not an answer of this interface: `error`, or as the error that it reports means.
    `received`: tokens that came, estimated, if they were counted as they came."""
    try:
        given = load(raw)
    except ValueError as error:
        raise NoUsableAnswer("error", f"the body is no answer: it is not JSON ({error})") from None
    body = mapping(given)
    answered = body.get("choices") if api == "chat" else body.get("output")
    choice = mapping(next(iter(listed(answered)), None)) if api == "chat" else {}
    if (told := read_error(given) or read_error(choice)) is not None:
        raise failed_answer(told, api, body, received)
    if not isinstance(answered, list | dict):
        told = read_error(given, anywhere=True)
        if told is not None and told.message:
            raise failed_answer(told, api, {}, received)
        raise NoUsableAnswer("error", f"the body is no answer: it has no {'choices' if api == 'chat' else 'output'}")
    if api == "chat" and choice and not {"text", "finish_reason"} & choice.keys() and not _message(choice):
        raise NoUsableAnswer("error", "the body is no answer: its choice has no message")
    if answered and not any(isinstance(one, dict) for one in listed(answered)):
        raise NoUsableAnswer("error", "the body is no answer: what it lists are no objects")
    return _answer(api, body, received)


def checked(answer: Answer, call: CallModel) -> Answer:
    """Raises NoUsableAnswer: `error` if it broke off, `invalid-output` if it is empty or does not fit the schema, `refused` if
    the model or a filter refused."""
    if answer.refusal:
        raise NoUsableAnswer("refused", f"the model refused: {answer.refusal}", answer)
    if _FILTERED.search(answer.finish_reason):
        raise NoUsableAnswer("refused", f"a filter stopped the answer ({answer.finish_reason})", answer)
    if _FAILED.search(answer.finish_reason):
        raise NoUsableAnswer("error", f"the answer broke off ({answer.finish_reason})", answer)
    if not answer.text.strip() and not answer.tool_calls:
        raise NoUsableAnswer("invalid-output", f"the answer is empty (finish reason: {answer.finish_reason})", answer)
    if answer.finish_reason == "length" and not all(_is_json(called.arguments) for called in answer.tool_calls):
        raise NoUsableAnswer("invalid-output", "a tool call was cut off at the token limit", answer)
    if call.response_schema is None or answer.tool_calls:
        return answer
    try:
        return answer._replace(data=structured(call.response_schema, answer.text))
    except BadSchema as error:
        raise NoUsableAnswer("refused", f"the requested schema is not a JSON Schema: {error}", answer) from None
    except Unfit as error:
        cut = ", and it was cut off at the token limit" if answer.finish_reason == "length" else ""
        raise NoUsableAnswer("invalid-output", f"{error}{cut}", answer) from None


def _is_json(text: str) -> bool:
    try:
        load(text.encode())
    except ValueError:
        return False
    return True


def failed_answer(error: ReportedError, api: Api, body: Json, received: int = 0) -> NoUsableAnswer:
    """An error in place of an answer, or in its midst: then what came before it is paid for."""
    answer = _answer(api, body, received)
    paid = answer if answer.text or answer.tool_calls or answer.tokens != Tokens() else None
    return NoUsableAnswer(meaning(error), f"the endpoint failed: {error.detail}", paid, error)


def _answer(api: Api, body: Json, received: int) -> Answer:
    text, reasoning, refusal, calls, finish = _chat(body) if api == "chat" else _responses(body)
    written = [part for call in calls for part in (call.name, call.arguments)]
    finish = clean(finish.strip().lower().removeprefix("finish_reason_"))
    return Answer(
        text=clean(without_thinking(text)),
        tool_calls=calls,
        finish_reason="tool_calls" if calls and FINISHED.get(finish) == "stop" else FINISHED.get(finish, finish),
        model=clean(string(body.get("model")))[:NAME],
        id=clean(string(body.get("id"))),
        tokens=read_usage(body),
        refusal=clean(refusal),
        received=max(received, estimated_tokens(text, reasoning, *written)),
    )


_Read = tuple[str, str, str, tuple[ToolCall, ...], str]  # text, reasoning, refusal, tool calls, finish reason


def _chat(body: Json) -> _Read:
    choices = [choice for choice in listed(body.get("choices")) if isinstance(choice, dict)]
    choice = choices[0] if choices else {"finish_reason": "no choice"}
    message = _message(choice)
    content, finish = message.get("content"), choice.get("finish_reason")
    if isinstance(finish, dict):  # SGLang's own form
        finish = f"{string(finish.get('type'))} {string(finish.get('message'))}"
    return (
        text_of(content) or text_of(choice.get("text")),
        string(message.get("reasoning_content")) or string(message.get("reasoning")),
        string(message.get("refusal")) or refusal_of(content),
        tool_calls(message.get("tool_calls") or message.get("function_call")),
        string(finish),
    )


def _message(choice: Json) -> Json:
    return mapping(choice.get("message")) or mapping(choice.get("delta"))


def _responses(body: Json) -> _Read:
    items = [item for item in listed(body.get("output")) if isinstance(item, dict)]
    contents = [item.get("content") for item in items if string(item.get("type")) in ("message", "")]
    called = [{**item, "id": item.get("call_id") or item.get("id")} for item in items if item.get("type") == "function_call"]
    status, why = string(body.get("status")).lower(), mapping(body.get("incomplete_details")).get("reason")
    finish = string(why) or ("" if status == "completed" else status)
    thought = [text for item in items if item.get("type") == "reasoning" for text in (item.get("summary"), item.get("content"))]
    return (
        "".join(map(text_of, contents)),
        "".join(string(mapping(part).get("text")) for parts in thought for part in listed(parts)),
        "".join(map(refusal_of, contents)),
        tool_calls(called),
        finish,
    )


def confidence(data: JsonValue) -> float | None:
    """The model's own confidence, if its structured output has one."""
    given = data.get("confidence") if isinstance(data, dict) else None
    usable = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= 1
    return float(given) if usable and isinstance(given, int | float) else None
