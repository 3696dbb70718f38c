"""CloudEvents 1.0 over Kafka: binary mode out, binary and structured mode in.

Source: CloudEvents 1.0.2 core, Kafka protocol binding, JSON format; extensions `sequence`, `traceparent` (distributed
tracing), and ours: `correlationid`, `causationid`, `tenant`, `datahash`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

TENANT = "default"
Headers = Sequence[tuple[str, bytes]]

_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,199}\Z"
)  # workflows, tenants: safe in keys, paths and logs
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}\Z")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Unreadable(ValueError):
    """What was heard is no CloudEvent of ours: the reason, and as much of its envelope as could be read."""

    def __init__(self, reason: str, known: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.known = known or {}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The context attributes of one message. `data` is the JSON body as bytes, verbatim."""

    id: str
    source: str
    type: str
    data: bytes
    correlationid: str
    tenant: str = TENANT
    subject: str = ""
    time: datetime | None = None
    causationid: str = ""
    traceparent: str = ""
    sequence: int = 0
    datahash: str = ""
    replayed: str = ""


def headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """Binary mode: the attributes as Kafka headers, in the order in which they are declared."""
    return [(name, value.encode()) for name, value in _attributes(envelope)]


def _attributes(envelope: Envelope) -> Iterable[tuple[str, str]]:
    yield "ce_specversion", "1.0"
    yield "ce_id", envelope.id
    yield "ce_source", envelope.source
    yield "ce_type", envelope.type
    yield "content-type", "application/json"
    yield "ce_correlationid", envelope.correlationid
    yield "ce_tenant", envelope.tenant
    if envelope.subject:
        yield "ce_subject", envelope.subject
    if envelope.time is not None:
        yield "ce_time", rfc3339(envelope.time)
    if envelope.causationid:
        yield "ce_causationid", envelope.causationid
    if envelope.traceparent:
        yield "ce_traceparent", envelope.traceparent
    if envelope.sequence:
        yield "ce_sequence", f"{envelope.sequence:010}"
    if envelope.datahash:
        yield "ce_datahash", envelope.datahash
    if envelope.replayed:
        yield "ce_replayed", envelope.replayed


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read(value: bytes | None, given: Iterable[tuple[Any, bytes | None]]) -> Envelope:
    """The envelope of a Kafka record, in binary or structured mode.

    Raises Unreadable, with the attributes that could be read, for anything that is not a CloudEvent 1.0 with JSON data.
    """
    raw = dict(_decoded(given))
    content_type = raw.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/cloudevents+json":
        raw, value = _structured(value, raw)
    elif content_type.startswith("application/cloudevents"):
        raise Unreadable(
            f"content-type {content_type}: only application/cloudevents+json is read in structured mode", raw
        )
    elif content_type not in ("", "application/json", "text/json") and not content_type.endswith("+json"):
        raise Unreadable(f"content-type {content_type}: the data must be JSON", raw)
    return _envelope(raw, value)


def _decoded(given: Iterable[tuple[Any, bytes | None]]) -> Iterable[tuple[str, str]]:
    seen: dict[str, str] = {}
    for name, value in given:
        try:
            key = name if isinstance(name, str) else bytes(name).decode()
            key = key.lower()
            if not key.startswith("ce_") and key != "content-type":
                continue
            text = (value or b"").decode()
        except UnicodeDecodeError as bad:
            raise Unreadable(
                f"header {name!r} is not UTF-8: {bad.reason} at byte {bad.start}", seen
            ) from None
        if key in seen:
            raise Unreadable(f"header {key} is there twice", seen)
        seen[key] = text
        yield key, text


def _structured(value: bytes | None, outer: dict[str, str]) -> tuple[dict[str, str], bytes]:
    try:
        event = json.loads(value or b"")
    except (ValueError, RecursionError) as bad:
        raise Unreadable(f"the body is not a structured CloudEvent: {bad}", outer) from None
    if not isinstance(event, dict):
        raise Unreadable("the body is not a structured CloudEvent: not a JSON object", outer)
    attributes = {
        f"ce_{k.lower()}": v if isinstance(v, str) else json.dumps(v)
        for k, v in event.items()
        if k not in ("data", "data_base64")
    }
    if "data" not in event:
        raise Unreadable("a structured CloudEvent must carry its data as JSON, in `data`", attributes)
    try:
        return attributes, json.dumps(
            event["data"], ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (UnicodeEncodeError, ValueError) as bad:
        raise Unreadable(f"the data is not JSON in UTF-8: {bad}", attributes) from None


def _envelope(raw: dict[str, str], value: bytes | None) -> Envelope:
    def need(name: str, shape: re.Pattern[str] = _PRINTABLE) -> str:
        text = raw.get(f"ce_{name}", "")
        if not shape.match(text):
            raise Unreadable(
                f"ce_{name} is missing"
                if not text
                else f"ce_{name} is not of the form {shape.pattern}: {text[:80]!r}",
                raw,
            )
        return text

    def may(name: str, shape: re.Pattern[str] = _PRINTABLE) -> str:
        return need(name, shape) if raw.get(f"ce_{name}") else ""

    if raw.get("ce_specversion") != "1.0":
        raise Unreadable(f"ce_specversion must be 1.0, not {raw.get('ce_specversion', 'missing')!r}", raw)
    if value is None:
        raise Unreadable("there is no body", raw)
    id_ = need("id")
    sequence = raw.get("ce_sequence", "0")
    if not (sequence.isascii() and sequence.isdigit() and len(sequence) < 12):
        raise Unreadable(f"ce_sequence is not a number: {sequence[:80]!r}", raw)
    return Envelope(
        id=id_,
        source=need("source"),
        type=need("type"),
        data=value,
        correlationid=may("correlationid", _NAME) or _workflow_of(id_, raw),
        tenant=may("tenant", _TENANT) or TENANT,
        subject=may("subject"),
        time=_time(raw),
        causationid=may("causationid"),
        traceparent=raw.get("ce_traceparent", "")
        if _TRACEPARENT.match(raw.get("ce_traceparent", ""))
        else "",
        sequence=int(sequence),
        datahash=may("datahash"),
        replayed=may("replayed"),
    )


def _workflow_of(id_: str, raw: dict[str, str]) -> str:
    if not _NAME.match(id_):
        raise Unreadable(
            f"ce_id is to name the workflow and is not of the form {_NAME.pattern}: send ce_correlationid too",
            raw,
        )
    return id_


def _time(raw: dict[str, str]) -> datetime | None:
    text = raw.get("ce_time")
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise Unreadable(f"ce_time is not RFC 3339: {text[:80]!r}", raw) from None
    if at.tzinfo is None:
        raise Unreadable(f"ce_time has no time zone: {text[:80]!r}", raw)
    return at
