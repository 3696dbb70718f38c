"""Records that carry an event, whole or broken, to try the envelope with."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from hansard.envelope import Envelope, Unreadable

Inbound = list[tuple[str | bytes, bytes | None]]

BODY = b'{"text":"What is an event log?"}'
KIND = "hansard.requests.submit.v1"
CE: Inbound = [("ce_specversion", b"1.0"), ("ce_id", b"order-77"), ("ce_source", b"/shop"), ("ce_type", KIND.encode())]
STRUCTURED: Inbound = [("content-type", b"application/cloudevents+json")]
FULL = Envelope(
    id="5f0c3a52-9d34-5b0e-8d53-0f8c4a1b7e11",
    source="/hansard/router",
    type=KIND,
    data=BODY,
    correlation_id="order-77",
    tenant="acme",
    subject="router",
    time=datetime(2026, 1, 5, 9, 0, 0, 123456, UTC),
    causation_id="a0dff75b-0eb9-50b0-a43c-b2cbc0d1ae72",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    sequence=7,
    datahash="f3fb9d68",
    replayed="yes",
)


def with_(name: str, value: bytes | None) -> Inbound:
    """The four headers that every message needs, with one of them replaced or a fifth added."""
    return [*((n, v) for n, v in CE if n != name), (name, value)]


def without(name: str) -> Inbound:
    return [header for header in CE if header[0] != name]


def event(**members: Any) -> bytes:
    """A structured event; a member that is `...` is left out."""
    whole = {"specversion": "1.0", "id": "order-77", "source": "/shop", "type": KIND, "data": {"text": "What?"}} | members
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def assert_printable(unreadable: Unreadable) -> None:
    """The reason goes into a dead letter, a log and a terminal."""
    assert len(str(unreadable)) < 400
    assert str(unreadable).isprintable()
    for value in unreadable.known.values():
        assert len(value) <= 512
        assert value.isprintable()
