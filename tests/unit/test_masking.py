"""No secret in any rendering: by its value where it is known, by its form where it is not."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode
from prometheus_client import Counter

from contracts.catalog import Topics
from hansard.decider import CannotProcess
from infra.cli.finding import Finding
from services.gateway.facts import AttemptReturned
from services.gateway.performer.outcomes import DETAIL, Progress, failed
from shared.masking import mask, mask_environment, masked
from shared.runtime.inbound import cause_of
from shared.settings import Settings
from shared.telemetry.http import _app
from shared.telemetry.traces import MaskingExporter
from tests.processes import given_environment

SECRET = "s3cr/t p@ss:w\u00f6rd'\"\\"


@pytest.mark.parametrize(
    "shown", [str, repr, json.dumps, lambda s: json.dumps(s, ensure_ascii=False), lambda s: repr(s.encode()), quote]
)
def test_a_known_secret_is_hidden_however_it_is_written(shown: Any) -> None:
    mask(SECRET)
    assert masked(f"<{shown(SECRET)}>").strip("<>'\"b") == "***"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://me:p4ss@db/d failed", "postgresql://me:***@db/d failed"),
        ("https://me:p@ss@host/v1", "https://me:***@host/v1"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': 'Bearer ***'}"),
        ("('authorization', b'Basic QWxhZGRpbg==')", "('authorization', b'Basic ***')"),
        ("Proxy-Authorization: x1y2", "Proxy-Authorization: ***"),
        ("sent with bearer abcdefgh12", "sent with bearer ***"),
        ("sasl_plain_password='xyz', x=1", "sasl_plain_password='***', x=1"),
        ('{"client_secret": "xyz"}', '{"client_secret": "***"}'),
        ("HANSARD_KAFKA_PASSWORD=xyz", "HANSARD_KAFKA_PASSWORD=***"),
        ("api-key: abc123", "api-key: ***"),
        ("Incorrect API key provided: sk-proj-abcdefghijklm.", "Incorrect API key provided: ***."),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "***"),
        (f"the key hansard_{'0' * 16}_{'aB-' * 14}x is", "the key *** is"),
        ("a -----BEGIN PRIVATE KEY-----\nMC4CAQAw+/\nBQ==\n-----END PRIVATE KEY-----\nb", "a ***\nb"),
        ("cut: -----BEGIN EC PRIVATE KEY-----\\nMC4CAQ", "cut: ***"),
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden(text: str, left: str) -> None:
    assert masked(text) == left == masked(left)


@pytest.mark.parametrize(
    ("password", "text", "left"),
    [
        ("secret", '{"client_secret": "xyz"}', '{"client_secret": "***"}'),
        ("secret", '{"client_secret": "secret"}', '{"client_secret": "***"}'),
        ("Secret", "Secret=Secret, secret_of='Secret'", "Secret=***, secret_of='***'"),
        ("password", "HANSARD_KAFKA_PASSWORD=password", "HANSARD_KAFKA_PASSWORD=***"),
        ("password", "login('me', 'password')", "login('me', '***')"),
        ("api_key", "https://h/v1?api_key=api_key&x=1", "https://h/v1?api_key=***&x=1"),
        ("client_secret", '{"client_secret": "xyz client_secret"}', '{"***": "xyz ***"}'),
    ],
)
def test_a_password_that_is_a_word_of_a_fields_name_hides_values_and_no_name(password: str, text: str, left: str) -> None:
    mask(password)
    assert masked(text) == left == masked(left)


@pytest.mark.parametrize(
    "text",
    [
        "password authentication failed for user hansard",
        "max_tokens: 300, tokens=5, token 7",
        "http://127.0.0.1:8000/v1 answers",
        "stream default/w1/planner at 12:00:01",
        "task-id: 5",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    mask("short")
    assert masked(text) == text


def test_secrets_of_the_settings_and_of_the_environment_are_known() -> None:
    given = {
        "HANSARD_POSTGRES": "postgresql://u:of%40postgres@h/d?sslpassword=x",
        "HANSARD_POSTGRES_OWNER": "postgresql://o@h/d?password=of-the-owner",
        "HANSARD_KAFKA_PASSWORD": "of-kafka",
        "HANSARD_MODEL_KEY": "of-the-model",
        "HANSARD_MODEL_URL": "https://u:of-the-address@h/v1",
        "HANSARD_OTLP": "https://h/v1/traces?api_key=of-traces",
    }
    with given_environment(given):
        settings = Settings()
    mask_environment({"X_TOKEN": "of-a-token", "OTEL_EXPORTER_OTLP_HEADERS": "a=of-header-a,b=of-header-b", "KEYS": "of-no-name"})
    words = [
        "of@postgres",
        "of-the-owner",
        "of-kafka",
        "of-the-model",
        "of-the-address",
        "of-traces",
        "of-a-token",
        "of-header-b",
    ]
    assert masked(" ".join(words)) == " ".join(["***"] * len(words))
    assert masked("of-no-name") == "of-no-name"
    assert not [word for word in words if word in f"{settings!r} {settings}"]


# Where texts are shown


def test_a_key_that_an_endpoint_repeats_is_hidden_before_its_text_is_cut() -> None:
    mask("the-key-of-this-endpoint")
    detail = "x" * (DETAIL - 8) + "the-key-of-this-endpoint"
    returned = failed(intent(), Progress(), "refused", detail)
    assert isinstance(returned, AttemptReturned) and returned.failure
    assert returned.failure.fall.detail == "x" * (DETAIL - 8) + "***"


def intent() -> Any:
    from tests.spec.gateway_kit import started

    return started()


def test_dead_letters_and_findings_hide_secrets() -> None:
    mask("a-known-secret")
    try:
        raise ValueError("not with a-known-secret")
    except ValueError as error:
        assert cause_of(error).detail == "ValueError: not with ***"
    finding = Finding("x", "a-known-secret", "correct postgresql://u:p4ssw0rd@h")
    assert (finding.found, finding.fix) == ("***", "correct postgresql://u:***@h")
    assert CannotProcess("invalid", "x") and Topics()


def test_spans_hide_secrets() -> None:
    mask("a-known-secret")
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(MaskingExporter(exporter)))
    with provider.get_tracer("t").start_as_current_span("by a-known-secret", attributes={"a": "a-known-secret", "n": 1}) as span:
        span.set_attribute("list", ["x", "a-known-secret"])
        span.add_event("a-known-secret", {"e": "a-known-secret"})
        span.set_status(Status(StatusCode.ERROR, "a-known-secret"))
    (seen,) = exporter.get_finished_spans()
    assert "a-known-secret" not in seen.to_json() and seen.to_json().count("***") == 6
    assert seen.attributes == {"a": "***", "n": 1, "list": ("x", "***")}
    assert seen.context == span.get_span_context()


class Unwell:
    name, alive = "router", True
    health: Mapping[str, str] = {"event_store": 'refused for "a-known-secret"'}
    warnings: Mapping[str, str] = {}


@pytest.mark.parametrize("path", ["/ready", "/health", "/metrics"])
async def test_pages_hide_secrets(path: str) -> None:
    mask("a-known-secret")
    _counter().labels("a-known-secret").inc()
    sent: list[Any] = []

    async def send(part: Any) -> None:
        sent.append(part)

    await _app([Unwell()])({"path": path}, None, send)  # type: ignore[list-item, arg-type]
    body = sent[1]["body"].decode()
    assert "***" in body and "a-known-secret" not in body
    assert path == "/metrics" or json.loads(body)["router"]["event_store"] == 'refused for "***"'


def _counter() -> Counter:
    try:
        return Counter("tests_masking_total", "x", ["label"])
    except ValueError:  # made before
        from prometheus_client import REGISTRY

        return REGISTRY._names_to_collectors["tests_masking_total"]  # type: ignore[return-value]
