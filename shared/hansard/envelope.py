"""CloudEvents 1.0 over Kafka: binary mode out, binary and structured mode in.

Source: CloudEvents 1.0.2 core, Kafka protocol binding, JSON format; extensions `sequence`, `traceparent` (distributed
tracing), and those of this project: `correlationid`, `causationid`, `tenant`, `datahash`, `replayed`, `tasktoken`.

In binary mode the data is the record's value, in structured mode the bytes of `data` as the sender wrote them. Data is
never parsed and written again.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

TENANT = "default"
Headers = Sequence[tuple[str, bytes]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,199}\Z")  # workflows, tenants: safe in keys, paths and logs
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}\Z")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_SEQUENCE = re.compile(r"[0-9]{1,11}\Z", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,30})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\"';\s]+)", re.IGNORECASE)
_BLANK = re.compile(r"[ \t\n\r]*")

_EVERY_MESSAGE = "every message needs ce_specversion, ce_id, ce_source and ce_type"


def shown(text: str, limit: int) -> str:
    """`text` in a form that is safe in logs, dead letters and terminals: no control characters, no lone surrogates, not longer
    than `limit`."""
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return short if short.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in short)


class Unreadable(ValueError):
    """A Kafka record is not a CloudEvent 1.0 with JSON data. Has the reason, and the part of its envelope that could be read.

    `known` has the attributes under their names as headers (`ce_id`), made printable, at most 512 characters each.
    """

    def __init__(self, reason: str, known: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.known = {name: shown(value, 512)[:512] for name, value in (known or {}).items() if name in _KNOWN}


def named(unreadable: Unreadable, key: bytes | None) -> tuple[str, str] | None:
    """Tenant and workflow of a record whose envelope cannot be read, where its sender waits for the answer. They are named by its
    correlation id, its id or its Kafka key, the first that can name a workflow. None where it names none."""
    known = unreadable.known
    given = (known.get("ce_correlationid", ""), known.get("ce_id", ""), (key or b"").decode("utf-8", "replace"))
    workflow = next((name for name in given if _NAME.match(name)), None)
    tenant = known.get("ce_tenant") or TENANT
    return (tenant if _TENANT.match(tenant) else TENANT, workflow) if workflow else None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The context attributes of one message. `data` is the JSON body as bytes, as it was written."""

    id: str
    source: str
    type: str
    data: bytes
    correlation_id: str
    tenant: str = TENANT
    subject: str = ""
    time: datetime | None = None
    causation_id: str = ""
    traceparent: str = ""
    sequence: int = 0
    datahash: str = ""
    replayed: str = ""
    tasktoken: str = ""


ATTRIBUTES = ("specversion", *(name.replace("_", "") for name in Envelope.__dataclass_fields__ if name != "data"))
_KNOWN = frozenset(("content-type", "ce_datacontenttype", *(f"ce_{name}" for name in ATTRIBUTES)))


def headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """Binary mode: the attributes as Kafka headers, always in the same order."""
    return attribute_headers(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        tenant=envelope.tenant,
        subject=envelope.subject,
        time=envelope.time,
        causation_id=envelope.causation_id,
        traceparent=envelope.traceparent,
        sequence=envelope.sequence,
        datahash=envelope.datahash,
        replayed=envelope.replayed,
        tasktoken=envelope.tasktoken,
    )


def attribute_headers(
    *,
    id: str,
    source: str,
    type: str,
    correlation_id: str,
    tenant: str,
    subject: str = "",
    time: datetime | None = None,
    causation_id: str = "",
    traceparent: str = "",
    sequence: int = 0,
    datahash: str = "",
    replayed: str = "",
    tasktoken: str = "",
) -> list[tuple[str, bytes]]:
    """Same as `headers`, for attributes that are not in an Envelope: making one would take twice as long as writing it."""
    written = [
        _VERSION,
        ("ce_id", id.encode()),
        _recurring("ce_source", source),
        _recurring("ce_type", type),
        _JSON_TYPE,
        ("ce_correlationid", correlation_id.encode()),
        _recurring("ce_tenant", tenant),
    ]
    if subject:
        written.append(("ce_subject", subject.encode()))
    if time is not None:
        written.append(_time_header(time))
    if causation_id:
        written.append(("ce_causationid", causation_id.encode()))
    if traceparent:
        written.append(("ce_traceparent", traceparent.encode()))
    if sequence:
        written.append(("ce_sequence", b"%010d" % sequence))
    if datahash:
        written.append(("ce_datahash", datahash.encode()))
    if replayed:
        written.append(("ce_replayed", replayed.encode()))
    if tasktoken:
        written.append(("ce_tasktoken", tasktoken.encode()))
    return written


_VERSION = ("ce_specversion", b"1.0")
_JSON_TYPE = ("content-type", b"application/json")
_TRACE = "traceparent"


@lru_cache(1024)
def _recurring(name: str, value: str) -> tuple[str, bytes]:
    return name, value.encode()


@lru_cache(1024)
def _time_header(at: datetime) -> tuple[str, bytes]:
    return "ce_time", rfc3339(at).encode()


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read(value: bytes | None, given: Iterable[tuple[str | bytes, bytes | None]]) -> Envelope:
    """The envelope of a Kafka record, in binary or structured mode; a record without any `ce_` header is read as structured.

    Raises Unreadable, and no other error, for anything that is not a CloudEvent 1.0 with JSON data.
    """
    raw = _decoded(given)
    content_type = raw.get("content-type", "")
    if content_type != "application/json" or "ce_specversion" not in raw:
        if _structured(content_type, raw):
            raw, value = _from_structured(value, raw)
            content_type = raw.get("ce_datacontenttype", "")
        _must_be_json(content_type, raw)
    return _envelope(raw, value)


def _decoded(given: Iterable[tuple[str | bytes, bytes | None]]) -> dict[str, str]:
    seen: dict[str, str] = {}
    wrong = ""  # the first fault; what is readable after it may still name the workflow
    for name, value in given:
        try:
            key = name if name in _KNOWN else (name if isinstance(name, str) else bytes(name).decode()).lower()
            if key == _TRACE:  # not one of ours: it must not spoil a message, however it looks
                seen.setdefault(key, value.decode("ascii", "replace") if value else "")
            elif key in _KNOWN or key.startswith("ce_"):
                if key in seen:
                    wrong = wrong or f"header {shown(key, 80)} is there twice: send it once"
                else:
                    seen[key] = value.decode() if value else ""
        except UnicodeDecodeError as bad:
            wrong = wrong or f"header {shown(repr(name), 80)} is not UTF-8: {bad.reason} at byte {bad.start}"
    if wrong:
        raise Unreadable(wrong, seen)
    return seen


def _structured(content_type: str, raw: dict[str, str]) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    if media.startswith("application/cloudevents") and media != "application/cloudevents+json":
        raise Unreadable(f"content-type {shown(media, 80)}: send one event a record, as application/cloudevents+json", raw)
    return media == "application/cloudevents+json" or not any(name.startswith("ce_") for name in raw)


def _must_be_json(content_type: str, raw: dict[str, str]) -> None:
    media = content_type.partition(";")[0].strip().lower()
    if media not in ("", "application/json", "text/json") and not media.endswith("+json"):
        raise Unreadable(f"content-type {shown(media, 80)}: the data must be JSON, as application/json", raw)
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Unreadable(f"charset {shown(charset[1], 80)}: send JSON in UTF-8", raw)


def _from_structured(value: bytes | None, outer: dict[str, str]) -> tuple[dict[str, str], bytes]:
    raw = {name: outer.get(name, "") for name in ("content-type", _TRACE)}
    data: bytes | None = None
    try:
        for name, given, text in _members((value or b"").decode()):
            attribute = f"ce_{name}"
            if name == "data" or (name == "data_base64" and given is not None):
                if data is not None:
                    raise ValueError("its data is there twice: send `data` or `data_base64`, once")
                data = text.encode() if name == "data" else base64.b64decode(given, validate=True)
            elif attribute in _KNOWN and given is not None:
                if attribute in raw:
                    raise ValueError(f"`{name}` is there twice: send it once")
                if not isinstance(given, str) and name != "sequence":
                    raise ValueError(f"`{name}` must be a string, not {shown(text, 80)}")
                raw[attribute] = str(given)
    except (ValueError, TypeError, RecursionError) as bad:
        how = "" if outer.get("content-type", "").startswith("application/cloudevents") else "there are no ce_ headers, and "
        raise Unreadable(f"{how}the body is not a structured CloudEvent: {shown(str(bad), 200)}", raw) from None
    if data is None and "ce_specversion" in raw:
        raise Unreadable("a structured CloudEvent must carry its data as JSON, in `data`", raw)
    return raw, data or b""


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """The members of a JSON object: name, value, and the value as it is written."""

    def after(at: int, sign: str) -> int:
        at = _blank(text, at)
        if text[at : at + 1] != sign:
            raise ValueError(f"{sign} is missing at character {at}: it must be a JSON object in UTF-8")
        return _blank(text, at + 1)

    at = after(0, "{")
    more = text[at : at + 1] != "}"
    while more:
        name, end = _JSON.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"a name is missing at character {at}: it must be a JSON object in UTF-8")
        at = after(end, ":")
        value, end = _JSON.raw_decode(text, at)
        yield name, value, text[at:end]
        at = _blank(text, end)
        more = text[at : at + 1] != "}"
        if more:
            at = after(at, ",")
    if _blank(text, at + 1) != len(text):
        raise ValueError(f"something follows it at character {at + 1}")


def _blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_json)


def _envelope(raw: dict[str, str], value: bytes | None) -> Envelope:
    if raw.get("ce_specversion") != "1.0":
        given = shown(repr(raw["ce_specversion"]), 80) if "ce_specversion" in raw else "missing"
        raise Unreadable(f"ce_specversion must be 1.0 and is {given}: {_EVERY_MESSAGE}", raw)
    if value is None:
        raise Unreadable("there is no body: the data must be JSON", raw)
    get = raw.get
    id_, source, type_ = get("ce_id", ""), get("ce_source", ""), get("ce_type", "")
    subject, causation_id = get("ce_subject", ""), get("ce_causationid", "")
    datahash, replayed, tasktoken = get("ce_datahash", ""), get("ce_replayed", ""), get("ce_tasktoken", "")
    if not (id_ and source and type_):
        missing = next(name for name in ("ce_id", "ce_source", "ce_type") if not get(name))
        raise Unreadable(f"{missing} is missing: {_EVERY_MESSAGE}", raw)
    together = f"{id_}{source}{type_}{subject}{causation_id}{datahash}{replayed}{tasktoken}"
    if not (len(together) <= 512 and together.isascii() and together.isprintable()):
        _must_be_printable(raw)
    tenant = get("ce_tenant") or TENANT
    if tenant != TENANT and not _TENANT.match(tenant):
        raise _not_of(_TENANT, "ce_tenant", raw)
    sequence = get("ce_sequence", "")  # of others it is any string, as CloudEvents has it, and means nothing here
    return Envelope(
        id_,
        source,
        type_,
        value,
        _workflow(raw, id_),
        tenant,
        subject,
        _time(raw),
        causation_id,
        _traceparent(raw),
        int(sequence) if sequence and _SEQUENCE.match(sequence) else 0,
        datahash,
        replayed,
        tasktoken,
    )


def _traceparent(raw: dict[str, str]) -> str:
    """CloudEvents' attribute, or else the header that tracing libraries add to whatever is sent. A malformed one is none."""
    for name in ("ce_traceparent", _TRACE):
        given = raw.get(name, "")
        if given and _TRACEPARENT.match(given):
            return given
    return ""


def _must_be_printable(raw: dict[str, str]) -> None:
    for name in ("ce_id", "ce_source", "ce_type", "ce_subject", "ce_causationid", "ce_datahash", "ce_replayed", "ce_tasktoken"):
        text = raw.get(name)
        if text and not PRINTABLE.match(text):
            rule = f"{name} must have 1 to 512 characters, no control characters among them"
            raise Unreadable(f"{rule}, not {shown(repr(text), 80)}", raw)


def _not_of(shape: re.Pattern[str], name: str, raw: dict[str, str]) -> Unreadable:
    return Unreadable(f"{name} must be of the form {shape.pattern[:-2]}, not {shown(repr(raw.get(name, '')), 80)}", raw)


def _workflow(raw: dict[str, str], id_: str) -> str:
    given = raw.get("ce_correlationid")
    if given:
        if _NAME.match(given):
            return given
        raise _not_of(_NAME, "ce_correlationid", raw)
    if _NAME.match(id_):
        return id_
    raise Unreadable(f"ce_id is to name the workflow and is not of the form {_NAME.pattern[:-2]}: send ce_correlationid too", raw)


def _time(raw: dict[str, str]) -> datetime | None:
    text = raw.get("ce_time")
    if not text:
        return None
    if not _TIME.match(text):
        raise Unreadable(f"ce_time must be RFC 3339 with a time zone, as 2026-01-05T09:00:00Z, not {shown(repr(text), 80)}", raw)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as bad:
        raise Unreadable(f"ce_time is no time of the calendar: {text[:80]!r}: {bad}", raw) from None
