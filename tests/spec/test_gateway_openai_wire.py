"""The forms of Chat Completions and Responses: what is sent, and what is read from an answer."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.gateway import CallModel, ChatMessage
from services.gateway.config import Endpoint
from services.gateway.openai_wire.answer import Answer, NoUsableAnswer, confidence, read_answer
from services.gateway.openai_wire.events import Event
from services.gateway.openai_wire.request import Api, request_body
from services.gateway.openai_wire.streamed_answer import StreamedAnswer
from services.gateway.openai_wire.usage import Tokens
from shared.retry_after import retry_after

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def asks(**more: Any) -> CallModel:
    messages = (ChatMessage(role="user", content="Why?"),)
    return CallModel(**{"call": "a/1", "messages": messages, "deadline": NOON, **more})


def chat(content: Any, finish: str | None = "stop", **message: Any) -> bytes:
    written = {"role": "assistant", "content": content, **message}
    return json.dumps({"id": "i", "model": "m", "choices": [{"message": written, "finish_reason": finish}]}).encode()


def responses(*output: Any, **more: Any) -> bytes:
    return json.dumps({"id": "i", "model": "m", "status": "completed", "output": output, **more}).encode()


def unusable(api: Any, raw: bytes, **more: Any) -> NoUsableAnswer:
    with pytest.raises(NoUsableAnswer) as caught:
        read_answer(api, raw, asks(**more))
    return caught.value


def test_content_may_come_in_parts() -> None:
    assert read_answer("chat", chat([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), asks()).text == "ab"


def test_unknown_fields_are_not_an_error() -> None:
    answer = read_answer("chat", b'{"choices": [{"message": {"content": "a", "new": 1}}], "newer": {}}', asks())
    assert (answer.text, answer.finish_reason, answer.model, answer.tokens) == ("a", "stop", "", Tokens())


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"a"', b"{}", b'{"choices": 3}', b'{"choices": [{"message": 1}]}', b"\xff"]
)
def test_a_body_that_is_not_an_answer_is_an_error(raw: bytes) -> None:
    assert unusable("chat", raw).reason == "error"
    assert unusable("responses", raw).reason == "error"


def test_characters_that_no_store_can_hold_are_removed_from_the_text_and_the_data() -> None:
    assert read_answer("chat", chat("a\x00b"), asks()).text == "a\ufffdb"
    structured = read_answer("chat", chat('{"answer": "a\\u0000b\\ud800c"}'), asks(response_schema=SCHEMA))
    assert structured.data == {"answer": "a\ufffdb\ufffdc"}
    json.dumps(structured.data, ensure_ascii=False).encode()


def test_output_with_a_number_that_is_not_json_is_unusable() -> None:
    assert unusable("chat", chat('{"answer": NaN}'), response_schema=SCHEMA).reason == "invalid-output"


def test_json_without_end_is_unusable() -> None:
    assert unusable("chat", chat("[" * 100_000), response_schema=SCHEMA).reason == "invalid-output"


def test_output_within_a_code_fence_is_read() -> None:
    fenced = chat('```json\n{"answer": "a"}\n```')
    assert read_answer("chat", fenced, asks(response_schema=SCHEMA)).data == {"answer": "a"}


def test_the_error_says_where_the_output_does_not_fit_the_schema() -> None:
    error = unusable("chat", chat('{"answer": 1}'), response_schema=SCHEMA)
    assert error.reason == "invalid-output"
    assert "at answer" in error.detail
    assert error.paid is not None  # it is paid for


def test_the_error_says_that_the_output_was_cut_off() -> None:
    assert "token limit" in unusable("chat", chat('{"ans', "length"), response_schema=SCHEMA).detail


def test_a_schema_that_is_not_valid_is_refused() -> None:
    assert unusable("chat", chat("{}"), response_schema={"type": "nonsense"}).reason == "refused"


def test_a_schema_is_never_fetched_from_an_address() -> None:
    error = unusable("chat", chat("{}"), response_schema={"$ref": "http://127.0.0.1:1/schema"})
    assert error.reason == "refused"


def test_a_refusal_is_final_and_not_repaired() -> None:
    assert unusable("chat", chat(None, refusal="I will not."), response_schema=SCHEMA).reason == "refused"
    assert unusable("chat", chat("", "content_filter")).reason == "refused"
    refused = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    assert unusable("responses", responses(refused)).reason == "refused"


def test_a_response_that_failed_is_an_error() -> None:
    error = unusable("responses", responses(status="failed", error={"message": "overloaded"}))
    assert (error.reason, "overloaded" in error.detail) == ("error", True)


def test_reasoning_before_an_answer_is_not_part_of_it() -> None:
    reasoning = {"type": "reasoning", "summary": []}
    message = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    assert read_answer("responses", responses(reasoning, message), asks()).text == "a"


def test_an_answer_that_was_cut_off_has_the_finish_reason_length_in_both_interfaces() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    cut = responses(message, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert read_answer("responses", cut, asks()).finish_reason == "length"
    assert read_answer("chat", chat("a", "length"), asks()).finish_reason == "length"


def test_tokens_are_read_only_if_they_make_sense() -> None:
    def tokens(**usage: Any) -> Any:
        raw = json.dumps({"choices": [{"message": {"content": "a"}}], "usage": usage}).encode()
        return read_answer("chat", raw, asks()).tokens[:3]

    assert tokens(prompt_tokens=5, completion_tokens=2) == (5, 0, 2)
    cached = {"cached_tokens": 9}
    assert tokens(prompt_tokens=5, completion_tokens=2, prompt_tokens_details=cached) == (5, 5, 2)
    assert tokens(prompt_tokens=-5, completion_tokens=2) == (None, 0, 2)
    assert tokens(prompt_tokens=None, completion_tokens=2) == (None, 0, 2)


@pytest.mark.parametrize(
    ("data", "expected"),
    [({"confidence": 0.5}, 0.5), ({"confidence": 1}, 1.0), ({"confidence": True}, None), ({"confidence": 2}, None),
     ({"confidence": "high"}, None), ({}, None), (None, None), ([0.5], None)],
)  # fmt: skip
def test_a_models_confidence_is_a_number_from_zero_to_one_or_unknown(data: Any, expected: float | None) -> None:
    assert confidence(data) == expected


def test_strict_mode_is_requested_only_if_the_schema_allows_it() -> None:
    endpoint = Endpoint(name="e", url="http://x/v1")

    def strict(schema: Any) -> Any:
        body = request_body(asks(response_schema=schema), endpoint, "chat", "m")
        return body["response_format"]["json_schema"]["strict"]

    assert strict(SCHEMA)
    assert not strict(SCHEMA | {"required": []})
    assert not strict(SCHEMA | {"properties": {"answer": {"type": "object"}}})
    assert not strict({"type": "object", "properties": {}})


def test_the_token_limit_has_the_name_that_the_endpoint_knows() -> None:
    def limit(**more: Any) -> set[str]:
        return {name for name in request_body(asks(), Endpoint(name="e", **more), "chat", "m") if "max" in name}

    assert limit(url="https://api.openai.com/v1") == {"max_completion_tokens"}
    assert limit(url="http://x/v1") == {"max_tokens"}
    assert limit(url="http://x/v1", max_tokens_field="max_completion_tokens") == {"max_completion_tokens"}


def test_tools_have_the_form_of_each_interface() -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    call, endpoint = asks(tools=({"type": "function", "function": function},)), Endpoint(name="e", url="http://x/v1")
    assert request_body(call, endpoint, "chat", "m")["tools"] == [{"type": "function", "function": function}]
    assert request_body(call, endpoint, "responses", "m")["tools"] == [{"type": "function", **function}]


# Streamed answers


def chat_event(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def gathered(api: Api, *events: Any) -> tuple[list[str], Answer]:
    answer = StreamedAnswer(api)
    texts = [text for event in events if (text := answer.add(Event(event)))]
    return texts, read_answer(api, answer.body(), asks())


def test_a_streamed_answer_of_chat_completions_is_read_like_one_in_one_piece() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    events = [
        chat_event(role="assistant", content=""),
        chat_event(content="Ray"),
        chat_event(content="leigh."),
        chat_event("stop"),
    ]
    texts, answer = gathered("chat", *events, usage)
    assert texts == ["Ray", "leigh."]
    assert (answer.text, answer.finish_reason, answer.model, answer.id, answer.tokens) == (
        "Rayleigh.",
        "stop",
        "m",
        "c1",
        Tokens(3, 0, 2),
    )


def test_tool_calls_that_come_in_pieces_are_put_together() -> None:
    def piece(index: int, name: str = "", arguments: str = "", **more: str) -> dict[str, Any]:
        return chat_event(tool_calls=[{"index": index, **more, "function": {"name": name, "arguments": arguments}}])

    events = [piece(0, "weather", id="x"), piece(1, "time", "{}", id="y"), piece(0, "", '{"town":'), piece(0, "", '"Rome"}')]
    _, answer = gathered("chat", *events, chat_event("tool_calls"))
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [("x", "weather", '{"town":"Rome"}'), ("y", "time", "{}")]


def test_a_streamed_answer_of_responses_is_its_last_event() -> None:
    whole = {
        "id": "r1",
        "model": "m",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Rayleigh."}]}],
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }
    deltas = [{"type": "response.output_text.delta", "delta": piece} for piece in ("Ray", "leigh.")]
    texts, answer = gathered(
        "responses", {"type": "response.created"}, *deltas, {"type": "response.completed", "response": whole}
    )
    assert (texts, answer.text, answer.tokens) == (["Ray", "leigh."], "Rayleigh.", Tokens(3, 0, 2))


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_stream_that_ends_before_its_answer_is_an_error(api: Api) -> None:
    answer = StreamedAnswer(api)
    answer.add(Event(chat_event(content="Ray") if api == "chat" else {"type": "response.output_text.delta", "delta": "Ray"}))
    with pytest.raises(NoUsableAnswer, match="ended before") as ended:
        answer.body()
    assert ended.value.reason == "error"


@pytest.mark.parametrize(
    "event", [None, [], "x", {}, {"choices": 1}, {"choices": [1]}, chat_event(content=7), chat_event(tool_calls=[1])]
)
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_events_that_make_no_sense_are_skipped(api: Api, event: Any) -> None:
    assert StreamedAnswer(api).add(Event(event)) == ""


# When to call again


def test_a_date_is_measured_by_the_clock_that_was_sent_with_it_or_else_by_the_stores() -> None:
    date, sent = "Thu, 01 Jan 2026 03:00:08 GMT", "Thu, 01 Jan 2026 03:00:00 GMT"
    stores = datetime(2026, 1, 1, 3, 0, 5, tzinfo=UTC)
    assert retry_after({"retry-after": date, "date": sent}, stores) == stores + timedelta(seconds=8)
    assert retry_after({"retry-after": date}, stores) == stores + timedelta(seconds=3)


@pytest.mark.parametrize("given", ["0", "-5", "nan", "1e999", "soon", "Wed, 99 Foo 2026 99:99:99 GMT", ""])
def test_a_wait_that_makes_no_sense_is_ignored(given: str) -> None:
    assert retry_after({"retry-after": given}, NOON) is None


def test_an_endless_wait_is_cut_to_a_day() -> None:
    then = retry_after({"retry-after": "99999999999"}, NOON)
    assert then is not None
    assert then < NOON + timedelta(days=1, seconds=1)
