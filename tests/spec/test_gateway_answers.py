"""Answers as endpoints give them: what each means, and what none of their oddities may cost."""

import json
from typing import Any

import pytest

from contracts.gateway import ToolCall
from services.gateway.openai_wire.request import Api
from services.gateway.openai_wire.tolerant import clean
from services.gateway.openai_wire.usage import Tokens, estimated_tokens
from tests.spec.wire_kit import ANSWER_SCHEMA, USAGE, read, whole, why


def responses(*output: Any, **more: Any) -> bytes:
    usage = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
    body = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": output, "usage": usage}
    return json.dumps(body | more).encode()


def message(text: str = "Fine.", **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, **more}]}


# What is read

TEXTS: dict[str, tuple[Api, bytes]] = {
    "parts": ("chat", whole([{"type": "text", "text": "Fi"}, {"type": "text", "text": "ne."}])),
    "null in a part": ("chat", whole([{"type": "text", "text": "Fine.", "refusal": None}])),
    "a part that is null": ("chat", whole([None, {"type": "text", "text": "Fine."}])),
    "a part without a type": ("chat", whole([{"text": "Fine."}])),
    "parts that are texts": ("chat", whole(["Fi", "ne."])),
    "one part that is no list": ("chat", whole({"type": "text", "text": "Fine."})),
    "a text that is an object": ("chat", whole([{"type": "text", "text": {"value": "Fine.", "annotations": []}}])),
    "a part of reasoning": (
        "chat",
        whole([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Fine."}]),
    ),
    "a part of references": ("chat", whole([{"type": "text", "text": "Fine."}, {"type": "reference", "reference_ids": [1]}])),
    "a number as id": ("chat", whole().replace(b'"c-1"', b"17")),
    "null as id": ("chat", whole().replace(b'"c-1"', b"null")),
    "a list as model": ("chat", whole().replace(b'"m"', b'["m"]')),
    "null as model": ("chat", whole().replace(b'"m"', b"null")),
    "details as a list": ("chat", whole(usage=USAGE | {"prompt_tokens_details": []})),
    "details as a text": ("chat", whole(usage=USAGE | {"completion_tokens_details": "none"})),
    "usage as a list": ("chat", whole(usage=[])),
    "numbers of tokens as texts": ("chat", whole(usage={name: str(number) for name, number in USAGE.items()})),
    "tool calls that are null": ("chat", whole(tool_calls=None)),
    "tool calls that are empty": ("chat", whole(tool_calls={})),
    "a refusal that is empty": ("chat", whole(refusal="")),
    "a refusal that is null": ("chat", whole(refusal=None)),
    "an error that is null": ("chat", whole(choice={"error": None})),
    "an error that is empty": ("chat", whole().replace(b'"id"', b'"error": {}, "id"')),
    "an error of nulls": ("chat", whole().replace(b'"id"', b'"error": {"code": null, "message": ""}, "id"')),
    "success as code": ("chat", whole().replace(b'"id"', b'"code": 0, "message": "success", "id"')),
    "success in base_resp": ("chat", whole().replace(b'"id"', b'"base_resp": {"status_code": 0, "status_msg": ""}, "id"')),
    "the index as text": ("chat", whole(choice={"index": "0"})),
    "one choice that is no list": ("chat", b'{"choices": {"message": {"content": "Fine."}, "finish_reason": "stop"}}'),
    "a finish reason that is null": ("chat", whole(finish=None)),
    "a finish reason that is a number": ("chat", whole(finish=0)),
    "an old form of choice": ("chat", b'{"choices": [{"text": "Fine.", "finish_reason": "stop"}]}'),
    "a byte order mark": ("chat", b"\xef\xbb\xbf" + whole()),
    "white space before it": ("chat", b"\n\n  " + whole()),
    "reasoning beside it": ("chat", whole(reasoning_content="hm", reasoning="hm")),
    "nulls in items": (
        "responses",
        responses(
            {"type": "reasoning", "summary": [], "content": None, "name": None},
            {"type": "message", "call_id": None, "content": [{"type": "output_text", "text": "Fine.", "refusal": None}]},
        ),
    ),
    "content as text": ("responses", responses({"type": "message", "content": "Fine."})),
    "reasoning text in an item": (
        "responses",
        responses({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}, message()),
    ),
    "an item that is null": ("responses", responses(None, message())),
    "items of tools of the endpoint": ("responses", responses({"type": "web_search_call", "id": "w"}, message())),
    "no status": ("responses", responses(message(), status=None)),
    "an error of a response that is null": ("responses", responses(message(), error=None)),
    "details of a response as a list": ("responses", responses(message(), incomplete_details=[])),
}


@pytest.mark.parametrize(("api", "raw"), TEXTS.values(), ids=TEXTS)
def test_an_oddity_costs_no_answer(api: Api, raw: bytes) -> None:
    _, answer = read(raw, api)
    assert (answer.text, answer.finish_reason) == ("Fine.", "stop" if answer.finish_reason != "0" else "0")


SURROGATES = [
    ("Nice \ud83d day", "Nice \ufffd day"),
    ("\ude00 alone", "\ufffd alone"),
    ("end \ud83d", "end \ufffd"),
    ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ("a\x00b", "a\ufffdb"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), SURROGATES, ids=range(len(SURROGATES)))
def test_half_a_character_is_a_replacement_character(given: str, expected: str) -> None:
    assert read(whole(given))[1].text == expected
    assert read(whole(json.dumps({"answer": given})), response_schema=ANSWER_SCHEMA)[1].data == {"answer": expected}
    assert clean(given).encode()


def test_bytes_that_are_not_utf8_cost_no_answer() -> None:
    assert read(whole("Fine?").replace(b"?", b"\xff"))[1].text == "Fine\ufffd"


CALL = {"id": "a", "type": "function", "function": {"name": "temp", "arguments": '{"t": "Bonn"}'}}
CALLS: dict[str, tuple[Api, bytes, tuple[tuple[str, str, str], ...]]] = {
    "as it should be": ("chat", whole(None, "tool_calls", tool_calls=[CALL]), (("a", "temp", '{"t": "Bonn"}'),)),
    "arguments as an object": (
        "chat",
        whole(None, tool_calls=[{"id": "a", "function": {"name": "temp", "arguments": {"t": "Bonn"}}}]),
        (("a", "temp", '{"t": "Bonn"}'),),
    ),
    "no arguments": (
        "chat",
        whole(None, tool_calls=[{"id": "a", "function": {"name": "temp", "arguments": ""}}]),
        (("a", "temp", "{}"),),
    ),
    "arguments that are null": (
        "chat",
        whole(None, tool_calls=[{"id": "a", "function": {"name": "temp", "arguments": None}}]),
        (("a", "temp", "{}"),),
    ),
    "a number as id of a call": ("chat", whole(None, tool_calls=[CALL | {"id": 7}]), (("7", "temp", '{"t": "Bonn"}'),)),
    "no id": ("chat", whole(None, tool_calls=[CALL | {"id": None}]), (("call_0", "temp", '{"t": "Bonn"}'),)),
    "two calls under one id": (
        "chat",
        whole(None, tool_calls=[CALL, CALL]),
        (("a", "temp", '{"t": "Bonn"}'), ("a_1", "temp", '{"t": "Bonn"}')),
    ),
    "one call that is no list": ("chat", whole(None, tool_calls=CALL), (("a", "temp", '{"t": "Bonn"}'),)),
    "the function of old": (
        "chat",
        whole(None, "function_call", function_call={"name": "temp", "arguments": "{}"}),
        (("call_0", "temp", "{}"),),
    ),
    "an item without a call id": (
        "responses",
        responses({"type": "function_call", "id": "f", "call_id": None, "name": "temp", "arguments": "{}"}),
        (("f", "temp", "{}"),),
    ),
    "arguments of an item as an object": (
        "responses",
        responses({"type": "function_call", "call_id": "f", "name": "temp", "arguments": {"t": 1}}),
        (("f", "temp", '{"t": 1}'),),
    ),
}


@pytest.mark.parametrize(("api", "raw", "expected"), CALLS.values(), ids=CALLS)
def test_tool_calls_are_read(api: Api, raw: bytes, expected: Any) -> None:
    _, answer = read(raw, api)
    assert answer.tool_calls == tuple(ToolCall(id=id, name=name, arguments=written) for id, name, written in expected)
    assert answer.finish_reason == "tool_calls"


# Why a model stopped

FAILED = ["error", "network_error", "abort", "aborted", "cancelled", "timeout", "server_error", "insufficient_system_resource"]
FAILED += ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "FINISH_REASON_ERROR", "model_error", "interrupted"]
FILTERED = ["content_filter", "safety", "SAFETY", "sensitive", "refusal", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT"]
FILTERED += ["SPII", "guardrail_intervened", "IMAGE_SAFETY", "content_filtered"]


@pytest.mark.parametrize("finish", FAILED)
def test_half_of_an_answer_that_failed_is_no_answer(finish: str) -> None:
    error = why(whole("Half of an ans", finish))
    assert (error.reason, finish.lower().removeprefix("finish_reason_") in error.detail) == ("error", True)
    assert error.paid is not None
    assert error.paid.tokens.output == 10


@pytest.mark.parametrize("finish", FILTERED)
def test_what_a_filter_left_of_an_answer_is_no_answer(finish: str) -> None:
    error = why(whole("Half of an ans", finish))
    assert (error.reason, error.paid is not None) == ("refused", True)


def test_the_error_in_a_choice_has_its_words_and_its_cost() -> None:
    error = why(whole("Half", "error", choice={"error": {"code": 502, "message": "upstream gone"}}))
    assert (error.reason, "upstream gone" in error.detail) == ("error", True)
    assert error.paid is not None
    beside = why(whole("Half", "stop").replace(b'"id"', b'"error": {"code": 429, "message": "slow down"}, "id"'))
    assert (beside.reason, beside.paid is not None) == ("rate-limit", True)
    assert why(whole("Half", {"type": "abort", "message": "client gone"})).reason == "error"


@pytest.mark.parametrize(
    ("status", "reason"), [("failed", "error"), ("cancelled", "error"), ("incomplete", "error"), ("in_progress", "error")]
)
def test_a_response_that_is_not_completed_is_no_answer(status: str, reason: str) -> None:
    assert why(responses(message("Half of"), status=status), "responses").reason == reason


def test_a_response_that_a_filter_stopped_is_refused() -> None:
    cut = responses(message("Half of"), status="incomplete", incomplete_details={"reason": "content_filter"})
    assert why(cut, "responses").reason == "refused"


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        *((word, "stop") for word in ("STOP", "eos", "eos_token", "stop_sequence", "end" + "_turn", "COMPLETE", "")),
        *((word, "length") for word in ("max_tokens", "MAX_TOKENS", "model_length", "FINISH_REASON_MAX_TOKENS")),
        ("model_context_window_exceeded", "length"),
        ("whatever", "whatever"),
    ],
)
def test_the_words_of_other_providers_for_an_end_are_understood(finish: str, expected: str) -> None:
    assert read(whole("Fine.", finish))[1].finish_reason == expected


def test_a_tool_call_that_was_cut_off_is_no_answer() -> None:
    cut = {"id": "a", "function": {"name": "temp", "arguments": '{"t": "Bo'}}
    error = why(whole(None, "length", tool_calls=[cut]))
    assert (error.reason, "cut off" in error.detail) == ("invalid-output", True)
    assert read(whole(None, "stop", tool_calls=[cut]))[1].tool_calls[0].arguments == '{"t": "Bo'


# What a model thinks

THOUGHT = [
    "<think>\nThe user wants X.\n</think>\n\nFinal words.",
    "<thinking>X</thinking>Final words.",
    "<THINK>X</THINK> Final words.",
    "\n <think></think>\n<think>twice</think>\nFinal words.",
    "<thought>X</thought>\nFinal words.",
    "[THINK]X[/THINK]Final words.",
    "◁think▷X◁/think▷Final words.",
    "<|channel|>analysis<|message|>X<|end|><|start|>assistant<|channel|>final<|message|>Final words.",
    "The template opened it.\n</think>\n\nFinal words.",
]


@pytest.mark.parametrize("text", THOUGHT)
def test_what_a_model_thinks_is_no_part_of_its_answer(text: str) -> None:
    assert read(whole(text))[1].text == "Final words."


@pytest.mark.parametrize(
    "text",
    [
        "Close it with `</think>` and go on.",
        "The mark <think> begins it, and </think> ends it.",
        "<thing>x</thing>",
        "< think about it",
        "  I think, therefore I am.",
        "[thinking of you]",
    ],
)
def test_an_answer_about_thinking_is_an_answer(text: str) -> None:
    pieces, answer = read(whole(text))
    assert (pieces, answer.text) == ([], text)


@pytest.mark.parametrize("text", ["<think>I must not stop", "<think>all</think>\n", "[THINK]never closed"])
def test_thoughts_alone_are_no_answer(text: str) -> None:
    assert why(whole(text, "length")).reason == "invalid-output"


# Structured answers

BLUE = '{"answer": "blue"}'
STRUCTURED = [
    BLUE,
    f"```json\n{BLUE}\n```",
    f"```JSON\n{BLUE}\n```",
    f"```\r\n{BLUE}\r\n```",
    f"``` json {BLUE} ```",
    f"~~~json\n{BLUE}\n~~~",
    f"```json\n{BLUE}",
    f"Here it is:\n```json\n{BLUE}\n```\nHope this helps!",
    f"Here it is: {BLUE} Hope this helps!",
    f"<think>\nmusing {{not json}}\n</think>\n\n{BLUE}",
    f"musing {{not json}}, and not {{\"answer\": \"red\"}}\n</think>\n{BLUE}",
    f"Between {{these}} and [those]: {BLUE}",
    f"{BLUE}\n{BLUE}",
    f"\ufeff{BLUE}\u200b",
    json.dumps(BLUE),
    '{"answer":\n"blue"}\n\n',
    f"<answer>{BLUE}</answer>",
    f"```python\nprint(1)\n```\nand\n```json\n{BLUE}\n```",
]  # fmt: skip


@pytest.mark.parametrize("text", STRUCTURED)
def test_the_one_answer_in_a_text_is_found(text: str) -> None:
    assert read(whole(text), response_schema=ANSWER_SCHEMA)[1].data == {"answer": "blue"}


def test_a_line_break_within_a_string_is_taken() -> None:
    assert read(whole('{"answer": "light\nblue"}'), response_schema=ANSWER_SCHEMA)[1].data == {"answer": "light\nblue"}


NO_DATA = {
    "two answers": '{"answer": "blue"} or {"answer": "red"}',
    "two fences": '```json\n{"answer": "blue"}\n```\n```json\n{"answer": "red"}\n```',
    "a part of broken JSON": '{"first": {"answer": "blue"}, "then',
    "a part of JSON that is broken in its midst": '{"x": 1e999, "first": {"answer": "blue"}}',
    "a part of other JSON": '{"first": {"answer": "blue"}}',
    "words": "The answer is blue.",
    "nothing but brackets": "{" * 5000,
    "nothing but lists": "[" * 100_000,
}


@pytest.mark.parametrize("text", NO_DATA.values(), ids=NO_DATA)
def test_what_is_not_surely_the_answer_is_none(text: str) -> None:
    error = why(whole(text), response_schema=ANSWER_SCHEMA)
    assert (error.reason, error.paid is not None) == ("invalid-output", True)


def nested(levels: int) -> str:
    return '{"a": ' * levels + "1" + "}" * levels


BEYOND = ['{"n": 1e999}', '{"n": -1e400}', '{"n": [1, {"m": 1E+309}]}', '{"n": NaN}', '{"n": Infinity}', nested(101), nested(300)]
BEYOND += [f'{{"n": {"9" * 4100}}}', "[" * 101 + "]" * 101]


@pytest.mark.parametrize("text", BEYOND, ids=range(len(BEYOND)))
def test_what_no_reader_of_json_can_hold_is_unusable(text: str) -> None:
    assert why(whole(text), response_schema={}).reason == "invalid-output"
    assert read(whole(nested(100)), response_schema={})[1].data is not None


# Tokens

REASONED = {"completion_tokens_details": {"reasoning_tokens": 500}}
PRICE = [
    (USAGE, Tokens(20, 0, 10, 30)),
    (USAGE | {"total_tokens": 5030, "completion_tokens_details": {"reasoning_tokens": 5000}}, Tokens(20, 0, 5010, 5030)),
    (USAGE | {"total_tokens": 630}, Tokens(20, 0, 610, 630)),
    ({"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81}, Tokens(21, 0, 60, 81)),
    ({"prompt_tokens": 20, "completion_tokens": 10, **REASONED}, Tokens(20, 0, 510)),
    (USAGE | {"completion_tokens": 700, "total_tokens": 720, **REASONED}, Tokens(20, 0, 700, 720)),
    ({"input_tokens": 20, "output_tokens": 10, "total_tokens": 60}, Tokens(20, 0, 40, 60)),
    ({"prompt_tokens": "20", "completion_tokens": 10.0}, Tokens(20, 0, 10)),
    ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Tokens()),
    ({"prompt_tokens": 0, "input_tokens": 20, "completion_tokens": 0, "output_tokens": 10}, Tokens(20, 0, 10)),
    ({"prompt_tokens": True, "completion_tokens": None}, Tokens()),
    ({"prompt_tokens": 10**12, "completion_tokens": 1e300}, Tokens()),
    ({"prompt_tokens": 20, "completion_tokens": 10, "prompt_cache_hit_tokens": 5}, Tokens(20, 5, 10)),
    ({"prompt_tokens": 20, "completion_tokens": 10, "cached_tokens": 99}, Tokens(20, 20, 10)),
    (None, Tokens()),
    ("none", Tokens()),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "expected"), PRICE, ids=range(len(PRICE)))
def test_the_tokens_that_are_billed_are_read(usage: Any, expected: Tokens) -> None:
    assert read(whole(usage=usage))[1].tokens == expected
    assert read(whole(usage=None, choice={"usage": usage}))[1].tokens == expected  # Moonshot


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("abcd", 1),
        ("abcde", 2),
        ("Straße", 2),
        ("Почему небо голубое?", 10),
        ("γιατί", 3),
        ("为什么天空是蓝色的", 9),
        ("空が青いのはなぜ", 8),
        ("하늘은 왜", 5),
        ("ทำไม", 4),
        ("आकाश", 4),
        ("\U0001f600\U0001f600", 4),
    ],
)
def test_every_script_is_estimated_for_what_it_is(text: str, expected: int) -> None:
    assert estimated_tokens(text) == expected
