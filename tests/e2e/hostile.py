"""More than a hundred invalid messages: for each door, what is wrong with each and what must become of it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from contracts.control import CancelWorkflow, RedriveDeadLetter
from contracts.requests import SubmitRequest
from tests.published import envelope

Fate = Literal["dead", "refused", "silent", "dead or answered"]
Headers = list[tuple[str, bytes]]
LIMIT = 256 * 1024  # bytes of a body at a door, as the settings have it

NO_JSON = {
    "empty": b"",
    "blank": b"   ",
    "not utf-8": b'{"text": "\xff\xfe"}',
    "utf-16": '{"text": "hello"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"text": "hello"}',
    "raw NUL": b'{"text": "a\x00b"}',
    "NUL alone": b"\x00",
    "lone surrogate": b'{"text": "\\ud800", "by": "\\ud800"}',
    "lone surrogate in a name": b'{"\\udfff": 1, "text": 1, "by": 1}',
    "deep list": b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep object": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "deep and cut off": b"[" * 200_000,
    "two bodies": b'{"text": "a"}{"text": "b"}',
    "trailing comma": b'{"text": "a",}',
    "single quotes": b"{'text': 'a'}",
    "a comment": b'{"text": "a"} // hello',
    "xml": b"<text>hello</text>",
    "a number alone": b"7",
    "a word": b"hello",
    "null": b"null",
    "true": b"true",
    "a list": b'["text"]',
    "a string": b'"text"',
    "protobuf": bytes(range(256)),
    "control characters": b'{"text": "a\nb\tc"}',
}

NO_ENVELOPE: dict[str, Any] = {
    "no id": {"ce_id": None},
    "empty id": {"ce_id": b""},
    "no source": {"ce_source": None},
    "no type": {"ce_type": None},
    "no version": {"ce_specversion": None},
    "an old version": {"ce_specversion": b"0.3"},
    "a future version": {"ce_specversion": b"2.0"},
    "id not utf-8": {"ce_id": b"\xff\xfe"},
    "source not utf-8": {"ce_source": b"\xc3\x28"},
    "another header not utf-8": {"ce_note": b"\x80"},
    "id with NUL": {"ce_id": b"a\x00b"},
    "id with a line break": {"ce_id": b"a\nb"},
    "id too long": {"ce_id": b"x" * 513},
    "id with a surrogate": {"ce_id": b"\xed\xa0\x80"},
    "type with a bell": {"ce_type": b"a\x07b"},
    "correlation with a slash": {"ce_correlationid": b"../../etc/passwd"},
    "correlation too long": {"ce_correlationid": b"x" * 201},
    "correlation of spaces": {"ce_correlationid": b"   "},
    "tenant with a slash": {"ce_tenant": b"a/b"},
    "tenant of quotes": {"ce_tenant": b"'; drop table events; --"},
    "time that is not one": {"ce_time": b"yesterday"},
    "time without a zone": {"ce_time": b"2026-01-05T09:00:00"},
    "time beyond the calendar": {"ce_time": b"9999-12-31T23:59:59-23:59"},
    "plain text": {"content-type": b"text/plain"},
    "another charset": {"content-type": b"application/json; charset=utf-16"},
    "a batch": {"content-type": b"application/cloudevents-batch+json"},
    "avro": {"content-type": b"application/cloudevents+avro"},
}

NOT_THE_FIELDS: dict[str, Any] = {
    "text is a number": {"text": 5},
    "text is null, and so is the type": {"text": None, "type": None},
    "text is a list": {"text": ["a"]},
    "text is an object": {"text": {"a": 1}},
    "empty text": {"text": ""},
    "neither text nor type": {},
    "both text and type": {"text": "a", "type": "calculate_tax"},
    "data without a type": {"text": "a", "data": {"a": 1}},
    "data is a list": {"type": "calculate_tax", "data": [1]},
    "data is a text": {"type": "calculate_tax", "data": "x"},
    "type is a path": {"type": "../../bin/sh", "data": {}},
    "type is too long": {"type": "x" * 65, "data": {}},
    "deadline is a word": {"text": "a", "deadline": "tomorrow"},
    "deadline without a zone": {"text": "a", "deadline": "2030-01-01T00:00:00"},
    "deadline is over": {"text": "a", "deadline": "2020-01-01T00:00:00Z"},
    "deadline in a thousand years": {"text": "a", "deadline": "3026-01-01T00:00:00Z"},
    "deadline at the end of time": {"text": "a", "deadline": "9999-12-31T23:59:59-14:00"},
    "budget is a float": {"text": "a", "budget": 0.1},
    "budget is negative": {"text": "a", "budget": "-1"},
    "budget is not a number": {"text": "a", "budget": "NaN"},
    "budget is endless": {"text": "a", "budget": "Infinity"},
    "budget of many digits": {"text": "a", "budget": "1" * 61},
    "an unknown architecture": {"text": "a", "architecture": "anarchy"},
    "an unknown plan": {"text": "a", "plan": "no-such-plan"},
    "a plan without steps": {"text": "a", "plan": {"steps": []}},
    "a plan that is a number": {"text": "a", "plan": 7},
    "a step without a worker": {"text": "a", "plan": {"steps": [{"id": "a"}]}},
    "a step with too many retries": {"text": "a", "plan": {"steps": [{"id": "a", "worker": "writer", "retries": 10_000}]}},
    "an amount that is a word": {"type": "calculate_tax", "data": {"amount": "a lot"}},
    "an amount that is missing": {"type": "calculate_tax", "data": {}},
    "an amount too large": {"type": "calculate_tax", "data": {"amount": "1e400"}},
}


@dataclass(frozen=True)
class Hostile:
    """One message. `refused`: its sender gets a terminal result, with or without a dead letter. `silent`: changes nothing."""

    name: str
    fate: Fate
    headers: Headers
    body: bytes | None
    workflow: str = ""
    key: bytes | None = b"k"


def _changed(headers: Headers, changes: dict[str, bytes | None]) -> Headers:
    kept = [(name, value) for name, value in headers if name not in changes]
    return kept + [(name, value) for name, value in changes.items() if value is not None]


def _broken(kind: str, good: bytes, readable: Fate, tag: str) -> Iterator[Hostile]:
    """What is invalid at any door. `readable`: the fate of an invalid body with a valid envelope."""

    def one(name: str, fate: Fate, body: bytes | None, **changes: bytes | None) -> Hostile:
        id_ = f"{tag}-{name.replace(' ', '-').replace(',', '')}"
        return Hostile(
            name, fate, _changed(envelope(id_, kind), {k.replace("__", "-"): v for k, v in changes.items()}), body, id_
        )

    for name, body in NO_JSON.items():
        yield one(name, readable, body)
    for cut in range(1, len(good) - 1, max(1, len(good) // 12)):
        yield one(f"cut after {cut}", readable, good[:cut])
    for name, changes in NO_ENVELOPE.items():
        yield one(name, "dead", good, **{k.replace("-", "__"): v for k, v in changes.items()})
    yield one("tombstone", "dead", None)
    yield one("over the limit", readable, good[:-1] + b" " * (LIMIT + 1 - len(good)) + good[-1:])
    yield one("far over the limit", readable, good[:-1] + b" " * (3 * LIMIT) + good[-1:])
    yield one("a future version of the kind", "dead", good, ce_type=kind.replace(".v1", ".v2").encode())
    yield one("an unknown kind", "dead", good, ce_type=b"com.example.bought")
    yield one("a kind of another topic", "dead", good, ce_type=b"hansard.planner.run-plan.v1")
    yield one("an event of ours", "dead", good, ce_type=b"hansard.results.completed.v1", ce_source=b"/hansard/planner")
    yield one("a header twice", "dead", good, ce_id=None)
    yield Hostile("no headers", "dead", [], good)
    yield Hostile("no headers, no body", "dead", [], None)
    yield Hostile("garbage", "dead", [("\x00", b"\x00"), ("", b"")], b"\x00" * 100)
    yield Hostile("half a structured event", "dead", [], b'{"specversion": "1.0", "id": "x", "source": "/t", "type": "')
    yield Hostile(
        "a structured event without data",
        "dead",
        [],
        json.dumps({"specversion": "1.0", "id": "x", "source": "/t", "type": kind}).encode(),
    )
    yield Hostile(
        "a structured event with a number for an id",
        "dead",
        [],
        b'{"specversion": "1.0", "id": 7, "source": "/t", "type": "t", "data": {}}',
    )


def at_requests(tag: str, answered: str, event: str) -> Iterator[Hostile]:
    """`answered`: a workflow that has its result; `event`: the id of a stored event."""
    kind, good = SubmitRequest.kind, b'{"type": "calculate_tax", "data": {"amount": "1.00"}}'
    yield from _broken(kind, good, "refused", tag)
    for name, body in NOT_THE_FIELDS.items():
        id_ = f"{tag}-f-{name.replace(' ', '-').replace(',', '')}"
        yield Hostile(name, "refused", envelope(id_), json.dumps(body).encode(), id_)
    for name, text in {"NaN": b"NaN", "Infinity": b"-Infinity", "1e999": b"1e999"}.items():
        yield Hostile(
            name,
            "refused",
            envelope(f"{tag}-{name}"),
            b'{"type": "calculate_tax", "data": {"amount": ' + text + b"}}",
            f"{tag}-{name}",
        )
    yield Hostile("a correlation id in use", "dead", envelope(f"{tag}-thief", workflow=answered), good, answered)
    yield Hostile("a correlation id in use, under the id of an event", "dead", envelope(event, workflow=answered), good, answered)
    yield Hostile(
        "a request id in use, with a different body", "dead", envelope(answered), b'{"text": "not what I said"}', answered
    )
    yield Hostile("a cancel at the wrong door", "dead", envelope(f"{tag}-wrong", CancelWorkflow.kind), b"{}", f"{tag}-wrong")
    yield Hostile(
        "NUL as an escape",
        "dead or answered",
        envelope(f"{tag}-nul"),
        b'{"type": "calculate_tax", "data": {"amount": "1", "note": "\\u0000"}}',
        f"{tag}-nul",
    )
    yield Hostile("the request again", "silent", envelope(answered), None, answered)  # the caller fills in its body


def at_control(tag: str, answered: str, running: str) -> Iterator[Hostile]:
    """`running`: a workflow under way, of the default tenant."""
    kind, good = CancelWorkflow.kind, b'{"by": "mallory", "reason": "because I can"}'
    for one in _broken(kind, good, "dead", tag):
        if one.name not in ("two bodies",):
            yield one
    for name, body in {"by is a number": {"by": 7}, "reason is a list": {"reason": []}, "by is null": {"by": None}}.items():
        yield Hostile(name, "dead", envelope(f"{tag}-{name.replace(' ', '-')}", kind), json.dumps(body).encode())
    yield Hostile("a request at the wrong door", "dead", envelope(f"{tag}-wrong"), b'{"text": "a"}')
    yield Hostile(
        "a cancel of another tenant's workflow", "silent", envelope(f"{tag}-t", kind, workflow=running, tenant="mallory"), good
    )
    yield Hostile("a cancel of an unknown workflow", "silent", envelope(f"{tag}-n", kind, workflow=f"{tag}-nobody"), good)
    yield Hostile("a cancel of an ended workflow", "silent", envelope(f"{tag}-o", kind, workflow=answered), good)
    for name, changes, fate in _redrives(answered):
        body = json.dumps(_redrive(answered) | changes).encode()
        yield Hostile(
            f"redrive: {name}",
            fate,
            envelope(f"{tag}-r-{name.replace(' ', '-')}", RedriveDeadLetter.kind, workflow=answered),
            body,
        )


def _redrive(answered: str) -> dict[str, Any]:
    """Asks the router to process again a request that was never dead."""
    return {
        "service": "router",
        "topic": "requests",
        "partition": 0,
        "offset": 0,
        "timestamp": 1_700_000_000_000,
        "key": None,
        "headers": [[name, base64.b64encode(value).decode()] for name, value in envelope(f"forged-{answered}")],
        "body": base64.b64encode(b'{"text": "forged"}').decode(),
    }


def _redrives(answered: str) -> Iterator[tuple[str, dict[str, Any], Fate]]:
    def headers(*pairs: tuple[str, bytes]) -> dict[str, Any]:
        return {"headers": [[name, base64.b64encode(value).decode()] for name, value in pairs]}

    yield "of a message that was never dead", {}, "silent"
    yield "into the workflow of someone else", headers(*envelope("forged", workflow=answered)), "silent"
    yield (
        "of a forged plan",
        headers(*envelope("6a0f5f0e-5f5a-5b1e-9d5e-1f0b6f7a9c11", "hansard.planner.run-plan.v1", workflow=answered))
        | {
            "service": "planner",
            "topic": "planner.commands",
        },
        "silent",
    )
    yield "of nothing", {"headers": [], "body": None}, "silent"
    yield "of a redrive", headers(*envelope("forged-r", RedriveDeadLetter.kind)) | {"topic": "control"}, "silent"
    yield "of a message in a million years", {"timestamp": 2**62}, "silent"
    yield "at a time beyond the calendar", {"timestamp": 10**30}, "dead"
    yield "before all time", {"timestamp": -2}, "dead"
    yield "far beyond the topic", {"offset": 2**63}, "dead"
    yield "of no partition", {"partition": 2**31}, "dead"
    yield "a body that is not base64", {"body": "%%%"}, "dead"
    yield "a header that is not base64", {"headers": [["ce_id", "a"]]}, "dead"
    yield "a key that is not base64", {"key": "a"}, "dead"
    yield "an unknown service", {"service": "nobody"}, "dead"
    yield "an unknown topic", {"topic": "secrets"}, "dead"
    yield "a topic that the service does not receive", {"service": "verifier"}, "dead"
    yield "an offset that is a word", {"offset": "first"}, "dead"
    yield "headers that are not a list", {"headers": "ce_id"}, "dead"
    yield "no service", {"service": None}, "dead"
