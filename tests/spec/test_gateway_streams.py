"""Streamed answers as endpoints give them, event by event and byte by byte."""

import json
from typing import Any

import pytest

from services.gateway.openai_wire.events import TooLarge
from services.gateway.openai_wire.request import Api
from services.gateway.openai_wire.usage import Tokens
from tests.spec.wire_kit import ANSWER_SCHEMA, DONE, USAGE, chunk, events, read, stream, whole, why

FINE = (chunk("Fi"), chunk("ne."), chunk(finish="stop"))
END = f"data: {DONE}\n\n"


def text(delta: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": delta}


def completed(*output: Any, **more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": output, **more}}


MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Fine."}]}
STREAMS: dict[str, tuple[Api, bytes]] = {
    "as it should be": ("chat", stream(*FINE)),
    "an event without data": ("chat", stream("data:\n\n", *FINE)),
    "an event of a name alone": (
        "chat",
        stream(chunk("Fi"), ": ping\n\n", "event: ping\n\n", chunk("ne."), chunk(finish="stop")),
    ),
    "an event with an id alone": ("chat", stream(chunk("Fi"), "id: 7\n\n", "retry: 100\n\n", chunk("ne."), chunk(finish="stop"))),
    "words instead of data": ("chat", stream(": PROCESSING\n\n", "data: ping\n\n", *FINE)),
    "a ping with data": ("chat", stream('event: ping\ndata: {"type": "ping"}\n\n', *FINE)),
    "the end mark alone": ("chat", stream(chunk("Fine."), {"choices": [], "usage": USAGE})),
    "the count of tokens instead of the end mark": ("chat", events(chunk("Fine."), {"choices": [], "usage": USAGE})),
    "no end mark": ("chat", events(*FINE)),
    "no line after the end": ("chat", events(chunk("Fine."), f"data: {json.dumps(chunk(finish='stop'))}")),
    "the end mark in lower case": ("chat", events(chunk("Fine."), "data: [done]\n\n")),
    "carriage returns": ("chat", stream(*FINE).replace(b"\n", b"\r")),
    "both ends of line": ("chat", stream(*FINE).replace(b"\n", b"\r\n")),
    "no empty lines between": ("chat", stream(*FINE).replace(b"\n\n", b"\n")),
    "no space behind the colon": ("chat", stream(*FINE).replace(b"data: ", b"data:")),
    "a byte order mark": ("chat", b"\xef\xbb\xbf" + stream(*FINE)),
    "data in several lines": ("chat", stream(*FINE).replace(b', "choices"', b',\ndata: "choices"')),
    "parts in a delta": ("chat", stream(chunk([{"type": "text", "text": "Fi"}]), chunk("ne."), chunk(finish="stop"))),
    "thinking in parts": (
        "chat",
        stream(chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]), *FINE),
    ),
    "reasoning in deltas of its own": ("chat", stream(chunk(reasoning_content="hm"), chunk(reasoning="hm"), *FINE)),
    "thinking in the text": ("chat", stream(chunk("<thi"), chunk("nk>hm</th"), chunk("ink>\n\n"), *FINE)),
    "a delta that is null": ("chat", stream({"choices": [{"delta": None}]}, *FINE)),
    "choices that are null": ("chat", stream({"choices": None, "id": 1}, *FINE)),
    "results of a filter for the prompt": ("chat", stream({"choices": [], "prompt_filter_results": [{}]}, *FINE)),
    "all at once": ("chat", stream({"choices": [{"message": {"content": "Fine."}, "finish_reason": "stop"}]})),
    "the message again at the end": (
        "chat",
        stream(chunk("Fine."), {"choices": [{"message": {"content": "Fine."}, "delta": {}, "finish_reason": "stop"}]}),
    ),
    "a choice that was not asked for": (
        "chat",
        stream(chunk("Fi"), {"choices": [{"index": 1, "delta": {"content": "Bad"}}]}, chunk("ne."), chunk(finish="stop")),
    ),
    "in one piece though it was to be streamed": ("chat", whole("Fine.")),
    "something behind the end": ("chat", stream(*FINE) + events({"error": {"message": "late"}})),
    "nothing but pieces and an empty output": ("responses", events(text("Fi"), text("ne."), completed())),
    "pieces and reasoning as output": ("responses", events(text("Fine."), completed({"type": "reasoning", "summary": []}))),
    "pieces and null as output": ("responses", events(text("Fine."), completed() | {"response": {"id": "r", "output": None}})),
    "items that are done": (
        "responses",
        events({"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}, completed()),
    ),
    "pieces and the end mark": ("responses", stream(text("Fi"), text("ne."))),
    "the last event alone": ("responses", events(completed(MESSAGE))),
    "types in the names of events": (
        "responses",
        b'event: response.output_text.delta\ndata: {"delta": "Fine."}\n\n' + events(completed()),
    ),
    "a response in one piece": ("responses", json.dumps(completed(MESSAGE)["response"]).encode()),
}


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize(("api", "raw"), STREAMS.values(), ids=STREAMS)
def test_an_oddity_of_a_stream_costs_no_answer(api: Api, raw: bytes, size: int) -> None:
    pieces, answer = read(raw, api, size)
    assert (answer.text, answer.finish_reason) == ("Fine.", "stop")
    assert "".join(pieces) in ("Fine.", "")


def test_a_character_in_two_halves_is_one() -> None:
    raw = stream(chunk("Nice \ud83d"), chunk("\ude00 d\ud83day"), chunk(finish="stop"))
    pieces, answer = read(raw)
    assert (answer.text, "".join(pieces)) == ("Nice \U0001f600 d\ufffday",) * 2


def test_what_only_looks_like_thinking_is_shown() -> None:
    pieces, answer = read(stream(chunk("<"), chunk("th"), chunk("ing>"), chunk(finish="stop")))
    assert ("".join(pieces), answer.text) == ("<thing>", "<thing>")
    assert read(stream(chunk("<th"), chunk(finish="stop")))[0] == ["<th"]


def test_a_count_of_tokens_in_the_midst_is_not_the_end() -> None:
    early = {"choices": [], "usage": USAGE}
    assert read(events(chunk("Fi"), early, chunk("ne."), chunk(finish="stop")))[1].text == "Fine."
    assert why(events(chunk("Fi"), early, chunk("ne."))).detail == "the stream ended before the answer did"


# Tool calls


def call(index: Any = 0, id: Any = None, name: Any = None, arguments: Any = None) -> dict[str, Any]:
    given = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return chunk(tool_calls=[{key: value for key, value in given.items() if value is not None}])


BONN, KIEL = '{"t":"Bonn"}', '{"t":"Kiel"}'
TEMP, WIND = ("a", "temp", BONN), ("b", "wind", KIEL)
CALLS: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str, str]]]] = {
    "in fragments": ([call(0, "a", "temp", '{"t"'), call(0, None, None, ':"Bonn"}')], [TEMP]),
    "the name again": ([call(0, "a", "temp", '{"t":'), call(0, "a", "temp", '"Bonn"}')], [TEMP]),
    "the name so far": ([call(0, "a", "te", ""), call(0, "a", "temp", BONN)], [TEMP]),
    "the name in fragments": ([call(0, "a", "te", ""), call(0, None, "mp", BONN)], [TEMP]),
    "the arguments so far": ([call(0, "a", "temp", '{"t":'), call(0, "a", "temp", BONN)], [TEMP]),
    "arguments as an object": ([call(0, "a", "temp", {"t": "Bonn"})], [("a", "temp", '{"t": "Bonn"}')]),
    "one index for two": ([call(0, "a", "temp", BONN), call(0, "b", "wind", KIEL)], [TEMP, WIND]),
    "one index for two in fragments": (
        [
            *(call(0, "a", "temp", '{"t":'), call(0, None, None, '"Bonn"}')),
            *(call(0, "b", "wind", '{"t"'), call(0, None, None, ':"Kiel"}')),
        ],
        [TEMP, WIND],
    ),
    "two, mixed": (
        [
            *(call(0, "a", "temp", '{"t":'), call(1, "b", "wind", '{"t":')),
            *(call(0, None, None, '"Bonn"}'), call(1, None, None, '"Kiel"}')),
        ],
        [TEMP, WIND],
    ),
    "no index": ([call(None, "a", "temp", BONN), call(None, "b", "wind", KIEL)], [TEMP, WIND]),
    "no index in fragments": (
        [call(None, "a", "temp", '{"t":'), call(None, None, None, '"Bonn"}'), call(None, "b", "wind", KIEL)],
        [TEMP, WIND],
    ),
    "no ids and one index": (
        [call(0, "", "temp", BONN), call(0, "", "temp", KIEL)],
        [("call_0", "temp", BONN), ("call_1", "temp", KIEL)],
    ),
    "a number as id": ([call(0, 7, "temp", BONN)], [("7", "temp", BONN)]),
    "no arguments": ([call(0, "a", "temp")], [("a", "temp", "{}")]),
    "the id later": ([call(0, None, "temp", '{"t":'), call(0, "a", None, '"Bonn"}')], [TEMP]),
    "the index as text": ([call("0", "a", "temp", '{"t":'), call("0", None, None, '"Bonn"}')], [TEMP]),
    "two in one event": (
        [
            chunk(
                tool_calls=[
                    {"id": "a", "function": {"name": "temp", "arguments": BONN}},
                    {"id": "b", "function": {"name": "wind", "arguments": KIEL}},
                ]
            )
        ],
        [TEMP, WIND],
    ),
    "one that is no list": ([chunk(tool_calls={"id": "a", "function": {"name": "temp", "arguments": BONN}})], [TEMP]),
    "the function of old": (
        [chunk(function_call={"name": "temp", "arguments": '{"t":'}), chunk(function_call={"arguments": '"Bonn"}'})],
        [("call_0", "temp", BONN)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CALLS.values(), ids=CALLS)
def test_tool_calls_of_a_stream_are_put_together(given: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    _, answer = read(stream(*given, chunk(finish="tool_calls")))
    assert [(one.id, one.name, one.arguments) for one in answer.tool_calls] == expected


def test_tool_calls_of_a_response_are_put_together() -> None:
    item = {"type": "function_call", "call_id": "a", "name": "temp", "arguments": ""}
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    done = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": BONN}
    finished = {"type": "response.output_item.done", "output_index": 0, "item": item | {"arguments": BONN}}
    for given in ([added, done, completed()], [finished, completed()], [added, done, finished, completed()]):
        _, answer = read(events(*given), "responses")
        assert [(one.id, one.name, one.arguments) for one in answer.tool_calls] == [TEMP]


# Failures in the midst

ERROR = {"code": 502, "message": "upstream gone"}
BROKEN: dict[str, tuple[Api, bytes]] = {
    "in a choice": ("chat", events(chunk("Half"), {"choices": [{"delta": {}, "finish_reason": "error", "error": ERROR}]})),
    "beside choices": ("chat", events(chunk("Half"), chunk(finish="error") | {"error": ERROR})),
    "alone": ("chat", events(chunk("Half"), {"error": ERROR})),
    "as a text": ("chat", events(chunk("Half"), {"error": "upstream gone"})),
    "in a list": ("chat", events(chunk("Half"), [{"error": ERROR}])),
    "as an event": ("chat", events(chunk("Half"), 'event: error\ndata: {"message": "upstream gone"}\n\n')),
    "as a type": (
        "chat",
        events(chunk("Half"), {"type": "error", "error": {"type": "overloaded_error", "message": "upstream gone"}}),
    ),
    "with the end mark": ("chat", stream(chunk("Half"), {"error": ERROR})),
    "as an event of a response": ("responses", events(text("Half"), {"type": "error", "message": "upstream gone"})),
    "in an event of a response": ("responses", events(text("Half"), {"type": "error", "error": ERROR})),
    "as the end of a response": (
        "responses",
        events(
            text("Half"), {"type": "response.failed", "response": {"status": "failed", "error": {"message": "upstream gone"}}}
        ),
    ),
    "without a type": ("responses", events(text("Half"), {"error": ERROR})),
}


@pytest.mark.parametrize(("api", "raw"), BROKEN.values(), ids=BROKEN)
def test_a_failure_in_the_midst_has_its_words_and_its_cost(api: Api, raw: bytes) -> None:
    error = why(raw, api)
    assert (error.reason, "upstream gone" in error.detail) == ("error", True)
    assert error.paid is not None
    assert error.paid.received == 1


@pytest.mark.parametrize("finish", ["error", "network_error", "abort", "insufficient_system_resource"])
def test_a_stream_that_ends_in_failure_is_no_answer(finish: str) -> None:
    assert why(stream(chunk("Half"), chunk(finish=finish))).reason == "error"
    assert why(stream(chunk("Half"), chunk(finish="content_filter"))).reason == "refused"


def test_an_event_that_is_broken_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        read(events(chunk("Half"), 'data: {"choices": [{"delta": {"content": \n\n', chunk("of it"), chunk(finish="stop")))


# Tokens and limits

USAGES: list[tuple[Any, ...]] = [
    (chunk(finish="stop") | {"usage": USAGE},),
    (chunk(finish="stop"), {"choices": [], "usage": USAGE}),
    (chunk(finish="stop") | {"x_groq": {"usage": USAGE}},),
    ({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]},),
    (chunk(finish="stop") | {"usage": USAGE}, {"choices": [], "usage": None}),
    (chunk(finish="stop") | {"usage": USAGE}, {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
    (chunk("") | {"usage": USAGE | {"completion_tokens": 1, "total_tokens": 21}}, chunk(finish="stop") | {"usage": USAGE}),
]


@pytest.mark.parametrize("last", USAGES, ids=range(len(USAGES)))
def test_the_tokens_of_a_stream_are_read_wherever_they_stand(last: Any) -> None:
    assert read(stream(chunk("Fine."), *last))[1].tokens == Tokens(20, 0, 10, 30)


def test_reasoning_that_was_to_be_seen_is_estimated() -> None:
    _, answer = read(stream(chunk(reasoning_content="x" * 400), chunk("abcd"), chunk("abcd"), chunk(finish="stop")))
    assert (answer.tokens, answer.received) == (Tokens(), 102)
    assert read(whole("abcdabcd", usage=None, reasoning_content="x" * 400))[1].received == 102
    assert read(whole("<think>" + "x" * 400 + "</think>abcd", usage=None))[1].received > 100


ENDLESS: dict[str, tuple[Api, list[Any]]] = {
    "text": ("chat", [chunk("word ") for _ in range(1000)]),
    "one event": ("chat", ['data: {"choices": "' + "x" * 5000]),
    "one line that is no data": ("chat", ["event: " + "x" * 5000]),
    "data in many lines": ("chat", ["data: x\n"] * 5000),
    "arguments": ("chat", [call(0, "a", "temp", "x" * 10) for _ in range(1000)]),
    "tool calls": ("chat", [call(n, f"a{n}", "temp", "") for n in range(1000)]),
    "a refusal": ("chat", [chunk(refusal="never ") for _ in range(1000)]),
    "text of a response": ("responses", [text("word ") for _ in range(1000)]),
    "items of a response": (
        "responses",
        [{"type": "response.output_item.done", "output_index": n, "item": MESSAGE} for n in range(1000)],
    ),
    "a refusal of a response": ("responses", [{"type": "response.refusal.delta", "delta": "never "} for _ in range(1000)]),
    "one body": ("chat", ['{"choices": [{"message": {"content": "' + "x" * 5000]),
    "words": ("chat", ["<html>" + "x" * 5000]),
}


@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize(("api", "given"), ENDLESS.values(), ids=ENDLESS)
def test_nothing_is_read_beyond_its_limit(api: Api, given: list[Any], size: int) -> None:
    with pytest.raises(TooLarge):
        read(events(*given), api, size, largest=2000)


def test_signs_of_life_are_no_part_of_the_limit() -> None:
    assert read(stream(*(": ping\n\n" for _ in range(1000)), *FINE), largest=500)[1].text == "Fine."


def test_a_structured_answer_is_streamed() -> None:
    raw = stream(chunk('{"answer"'), chunk(': "blue"}'), chunk(finish="stop"))
    assert read(raw, response_schema=ANSWER_SCHEMA)[1].data == {"answer": "blue"}
