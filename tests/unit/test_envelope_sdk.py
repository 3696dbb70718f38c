"""The official CloudEvents SDK reads what we write, and we read what it writes: its version 2, and the one before."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import kafka as old_sdk
from cloudevents.v1.http import CloudEvent as OldCloudEvent

from hansard.envelope import headers, read
from tests.unit.envelope_kit import BODY, FULL, KIND

SDK_ATTRIBUTES = {
    "specversion": "1.0",
    "id": FULL.id,
    "source": FULL.source,
    "type": FULL.type,
    "datacontenttype": "application/json",
    "correlationid": "order-77",
    "tenant": "acme",
    "subject": "router",
    "causationid": FULL.causation_id,
    "traceparent": FULL.traceparent,
    "sequence": "0000000007",
    "datahash": "f3fb9d68",
    "replayed": "yes",
}


def ours() -> dict[str, bytes]:
    return dict(headers(FULL))


def test_the_sdk_reads_what_we_write() -> None:
    seen = sdk.from_kafka_event(sdk.KafkaMessage(ours(), b"order-77", FULL.data))
    assert seen.get_attributes() == SDK_ATTRIBUTES | {"time": FULL.time, "partitionkey": "order-77"}
    assert seen.get_data() == json.loads(FULL.data)


def test_the_older_sdk_reads_what_we_write() -> None:
    seen = old_sdk.from_binary(old_sdk.KafkaMessage(ours(), b"order-77", FULL.data))
    attributes = dict(seen.get_attributes())
    assert attributes == SDK_ATTRIBUTES | {"time": "2026-01-05T09:00:00.123456Z", "partitionkey": b"order-77"}
    assert seen.get_data() == json.loads(FULL.data)


@pytest.mark.parametrize("write", [sdk.to_binary_event, sdk.to_structured_event], ids=["binary", "structured"])
@pytest.mark.parametrize("data", [json.loads(BODY), BODY], ids=["object", "bytes"])
def test_we_read_what_the_sdk_writes(write: Any, data: Any) -> None:
    message = write(CloudEvent(SDK_ATTRIBUTES | {"time": FULL.time, "partitionkey": "order-77"}, data))
    envelope = read(message.value, list(message.headers.items()))
    assert json.loads(envelope.data) == json.loads(BODY)
    assert envelope == replace(FULL, data=envelope.data)


@pytest.mark.parametrize("write", [old_sdk.to_binary, old_sdk.to_structured], ids=["binary", "structured"])
def test_we_read_what_the_older_sdk_writes(write: Any) -> None:
    message = write(OldCloudEvent(SDK_ATTRIBUTES | {"time": "2026-01-05T09:00:00.123456Z"}, json.loads(BODY)))
    envelope = read(message.value, list(message.headers.items()))
    assert json.loads(envelope.data) == json.loads(BODY)
    assert envelope == replace(FULL, data=envelope.data)


def test_we_read_an_event_of_the_sdk_with_the_required_attributes_only() -> None:
    event = CloudEvent({"type": KIND, "source": "/shop", "id": "order-77", "specversion": "1.0"}, {"text": "What?"})
    for message in (sdk.to_binary_event(event), sdk.to_structured_event(event)):
        assert json.loads(read(message.value, list(message.headers.items())).data) == {"text": "What?"}
