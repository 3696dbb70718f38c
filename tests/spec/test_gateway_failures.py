"""Failures by their meaning, and the refusals that name a field: as providers write them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.gateway import ChatMessage, FallReason
from services.gateway.config import Endpoint
from services.gateway.openai_wire.errors import ReportedError, error_of_status, meaning, read_error
from services.gateway.openai_wire.fields import FIELDS, Field, is_of_the_call, refused_field
from services.gateway.openai_wire.request import Api, make_request
from tests.spec.wire_kit import ANSWER_SCHEMA, asks, why

STATUS: list[tuple[int, Any, FallReason]] = [
    (400, {}, "refused"),
    (401, {"error": {"message": "no"}}, "refused"),
    (402, {}, "refused"),
    (403, {}, "refused"),
    (404, {}, "refused"),
    (408, {}, "error"),
    (409, {}, "error"),
    (413, {}, "refused"),
    (422, {}, "refused"),
    (424, {"error": {"message": "the model behind it failed"}}, "error"),
    (425, {}, "error"),
    (429, {}, "rate-limit"),
    (498, {"error": {"message": "flex tier capacity exceeded", "type": "capacity"}}, "rate-limit"),
    (499, {}, "error"),
    (500, {}, "error"),
    (501, {}, "refused"),
    (502, "<html>Bad gateway</html>", "error"),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, "error"),
    (520, {}, "error"),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
    (302, "", "refused"),
    (429, {"error": {"message": "no more", "type": "insufficient_quota", "code": "insufficient_quota"}}, "refused"),
    (429, {"error": {"message": "no more", "type": "rate_limit_exceeded", "code": "rate_limit_exceeded"}}, "rate-limit"),
    (429, {"error": {"message": "no more", "type": "exceeded_current_quota_error"}}, "refused"),
    (429, [{"error": {"code": 429, "message": "no more", "status": "RESOURCE_EXHAUSTED"}}], "rate-limit"),
    (403, {"error": {"message": "no more", "type": "insufficient_quota"}}, "refused"),
    (403, {"error": {"message": "no more", "status": "RESOURCE_EXHAUSTED"}}, "rate-limit"),
    (400, {"error": {"message": "no more", "code": "billing_hard_limit_reached"}}, "refused"),
    (400, {"error": {"message": "no more", "code": "rate_limit_exceeded"}}, "rate-limit"),
    (503, {"error": {"message": "no more", "code": "insufficient_quota"}}, "refused"),
]


@pytest.mark.parametrize(("status", "body", "reason"), STATUS)
def test_a_status_has_its_meaning(status: int, body: Any, reason: FallReason) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = error_of_status(status, raw)
    assert meaning(error) == reason
    assert f"status {status}" in error.detail
    if "no more" in str(body):
        assert "no more" in error.detail


BODIES: list[tuple[Any, FallReason, str]] = [
    ({"error": {"code": 429, "message": "slow down"}}, "rate-limit", "slow down"),
    ({"error": {"code": "429", "message": "slow down"}}, "rate-limit", "slow down"),
    ({"error": {"status": 429, "message": "slow down"}}, "rate-limit", "slow down"),
    ({"error": {"code": 402, "message": "no credit"}}, "refused", "no credit"),
    ({"error": {"code": 401, "message": "no key"}}, "refused", "no key"),
    ({"error": {"code": 498, "message": "no capacity"}}, "rate-limit", "no capacity"),
    ({"error": {"code": 424, "message": "behind it"}}, "error", "behind it"),
    (
        {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "upstream gone"}}},
        "error",
        "upstream gone",
    ),
    ({"error": {"code": "insufficient_quota", "message": "spent"}}, "refused", "spent"),
    ({"error": {"type": "insufficient_quota", "message": "spent"}}, "refused", "spent"),
    ({"error": {"type": "rate_limit_error", "message": "slow"}}, "rate-limit", "slow"),
    ({"error": {"type": "authentication_error", "message": "who"}}, "refused", "who"),
    ({"error": {"type": "server_error", "message": "broken"}}, "error", "broken"),
    ({"error": "model is loading"}, "error", "model is loading"),
    ({"error": "insufficient_quota"}, "refused", "insufficient_quota"),
    ({"error": "Rate limit reached"}, "rate-limit", "Rate limit reached"),
    ({"error": "Payment Required: no credits"}, "refused", "no credits"),
    ({"error": ["model is loading"]}, "error", "model is loading"),
    ({"error": [{"message": "model is loading"}]}, "error", "model is loading"),
    ({"error": 429, "message": "slow down"}, "rate-limit", "slow down"),
    ({"error": True, "message": "it broke"}, "error", "it broke"),
    ({"error": {"error": {"message": "it broke"}}}, "error", "it broke"),
    ({"error": "it broke", "error_type": "overloaded"}, "error", "it broke"),
    ({"code": "rate_limit_exceeded", "error": "slow down"}, "rate-limit", "slow down"),
    ({"errors": [{"code": 5007, "message": "No such model"}], "success": False}, "error", "No such model"),
    ({"detail": "it broke"}, "error", "it broke"),
    ({"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required"}]}, "error", "Field required"),
    ({"object": "error", "message": "it broke", "type": "BadRequestError", "code": 400}, "refused", "it broke"),
    ({"message": "Unauthorized", "code": 401}, "refused", "Unauthorized"),
    ({"message": "it broke"}, "error", "it broke"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error", "Overloaded"),
    ([{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}], "rate-limit", "slow down"),
    ({"base_resp": {"status_code": 1004, "status_msg": "invalid api key"}, "choices": None}, "refused", "invalid api key"),
    ({"error": {"message": '{"error": {"code": 429, "message": "slow down"}}'}}, "rate-limit", "slow down"),
    ("it broke", "error", "it broke"),
    ({"choices": None}, "error", "no choices"),
]


@pytest.mark.parametrize(("body", "reason", "words"), BODIES)
def test_an_error_in_place_of_an_answer_has_its_meaning_and_its_words(body: Any, reason: FallReason, words: str) -> None:
    error = why(json.dumps(body).encode())
    assert (error.reason, words in error.detail, error.paid) == (reason, True, None)


def test_how_long_google_wants_to_be_left_alone_is_read() -> None:
    error = read_error([{"error": {"code": 429, "message": "x", "details": [{"@type": "RetryInfo", "retryDelay": "34.5s"}]}}])
    assert error is not None
    assert error.wait == 34.5


@pytest.mark.parametrize("given", [None, 7, {}, [], {"a": 1}, {"error": None}, {"error": {}}, {"error": ""}, {"error": False}])
def test_where_nothing_failed_there_is_no_error(given: Any) -> None:
    assert read_error(given) is None


# Refusals that name a field

SENT = frozenset(FIELDS)
CHAT = SENT - {"store"}


ROWS = yaml.safe_load(Path(__file__).with_name("gateway_refusals.yaml").read_text("utf-8"))
REFUSALS: list[tuple[int, Any, Field]] = [(row["status"], row["body"], row["field"]) for row in ROWS if row["field"]]
OTHERWISE: list[tuple[int, Any]] = [(row["status"], row["body"]) for row in ROWS if not row["field"]]


def test_the_table_has_both_kinds() -> None:
    assert {field for _, _, field in REFUSALS} == SENT - {"json_object"}
    assert len(OTHERWISE) > 10


@pytest.mark.parametrize(("status", "body", "field"), REFUSALS, ids=[f"{n}-{one[2]}" for n, one in enumerate(REFUSALS)])
def test_the_field_that_an_endpoint_does_not_take_is_found(status: int, body: Any, field: Field) -> None:
    sent = SENT if field in ("store", "max_completion_tokens") else CHAT - {"max_completion_tokens", "json_object"}
    sent = sent - {"max_tokens"} if field == "max_completion_tokens" else sent
    assert refused_field(error_of_status(status, json.dumps(body).encode()), sent) == field
    in_200 = read_error(body, anywhere=True)  # how some report it under status 200
    assert in_200 is not None
    assert status == 500 or refused_field(in_200, sent) == field


@pytest.mark.parametrize(("status", "body"), OTHERWISE, ids=range(len(OTHERWISE)))
def test_a_refusal_about_something_else_stays_a_refusal(status: int, body: Any) -> None:
    assert refused_field(error_of_status(status, json.dumps(body).encode()), SENT - {"max_completion_tokens"}) is None


def test_a_field_that_was_not_sent_is_not_found() -> None:
    error = ReportedError("'temperature' is not supported", 400, fields=("temperature",))
    assert refused_field(error, frozenset({"stream"})) is None


def test_a_schema_that_an_endpoint_rejects_shows_nothing_about_other_schemas() -> None:
    message = "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is required to be supplied"
    body = {"error": {"message": message, "type": "invalid_request_error", "param": "response_format", "code": None}}
    error = error_of_status(400, json.dumps(body).encode())
    assert (refused_field(error, SENT), is_of_the_call(error)) == ("json_schema", True)
    lasting = [error_of_status(status, json.dumps(body).encode()) for status, body, _ in REFUSALS]
    assert not any(map(is_of_the_call, lasting))


# What is sent without them

ENDPOINT = Endpoint(name="e", url="http://x/v1")
FULL = asks(
    messages=(ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Why?")),
    temperature=0.2,
    response_schema=ANSWER_SCHEMA,
    tools=({"type": "function", "function": {"name": "f"}},),
)


def sent(*refused: Field, api: Api = "chat", endpoint: Endpoint = ENDPOINT, stream: bool = True, **more: Any) -> dict[str, Any]:
    call = FULL.model_copy(update=more)
    return make_request(call, endpoint, api, "m", refused=frozenset(refused), stream=stream).body


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("field", FIELDS)
def test_no_refusal_costs_a_message_a_tool_or_the_model(api: Api, field: Field) -> None:
    body = sent(field, api=api)
    text = json.dumps(body["messages" if api == "chat" else "input"])
    assert body["model"] == "m"
    assert body["tools"]
    assert "Be brief." in text
    assert "Why?" in text


def test_what_is_refused_is_left_out_or_has_its_other_form() -> None:
    assert sent("temperature") == {name: value for name, value in sent().items() if name != "temperature"}
    assert "stream_options" in sent()
    assert "stream_options" not in sent("stream_options")
    assert not {"stream", "stream_options"} & sent("stream").keys()
    assert "store" not in sent("store", api="responses")
    assert "max_completion_tokens" in sent("max_tokens")
    assert "max_tokens" in sent("max_completion_tokens", endpoint=Endpoint(name="e", url="https://api.openai.com/v1"))
    assert sent("system")["messages"] == [{"role": "user", "content": "Be brief.\n\nWhy?"}]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_schema_that_cannot_be_sent_is_in_the_prompt(api: Api) -> None:
    place, form = ("messages", "response_format") if api == "chat" else ("input", "text")
    kept, as_object, in_prompt = sent(api=api), sent("json_schema", api=api), sent("json_schema", "json_object", api=api)
    assert "additionalProperties" not in kept[place][0]["content"]
    assert (as_object[form].get("format") or as_object[form])["type"] == "json_object"
    assert form not in in_prompt
    for body in (as_object, in_prompt):
        assert "JSON" in body[place][0]["content"]
        assert '"additionalProperties":false' in body[place][0]["content"]
        assert body[place][0]["content"].startswith("Be brief.")


def test_a_limit_has_no_third_name_and_is_never_left_out_by_learning() -> None:
    request = make_request(FULL, ENDPOINT, "chat", "m", refused=frozenset({"max_tokens"}), stream=True)
    assert "max_completion_tokens" in request.body
    assert not {"max_tokens", "max_completion_tokens"} & request.fields


def test_what_was_given_up_is_told() -> None:
    refused: frozenset[Field] = frozenset({"temperature", "json_schema", "store"})
    assert make_request(FULL, ENDPOINT, "chat", "m", refused=refused, stream=False).without == ("temperature", "json_schema")
    assert make_request(FULL, ENDPOINT, "chat", "m", stream=False).without == ()


@pytest.mark.parametrize(
    ("roles", "joined"),
    [
        (("system", "user"), ("user",)),
        (("user", "user"), ("user",)),
        (("system", "user", "assistant", "user"), ("user", "assistant", "user")),
        (("system", "system", "user", "assistant", "tool", "user", "user"), ("user", "assistant", "tool", "user")),
    ],
)
def test_where_no_system_is_known_the_roles_alternate(roles: Any, joined: tuple[str, ...]) -> None:
    messages = tuple(ChatMessage(role=role, content=f"{n}") for n, role in enumerate(roles))
    body = sent("system", messages=messages, response_schema=None)
    assert tuple(message["role"] for message in body["messages"]) == joined
    text = "".join(message["content"] for message in body["messages"])
    assert [int(digit) for digit in text if digit.isdigit()] == list(range(len(roles)))
