"""Golden examples: messages as they were written once, which every later version must read. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from contracts.catalog import Topics
from contracts.samples import COMPLETE, minimal
from hansard.codec import decode, encode
from hansard.envelope import Envelope, headers
from hansard.message import Message

Kind = type[Message]


@dataclass(frozen=True)
class Golden:
    """One example. `given` is what a sender must write; `body` are the bytes that we store of it."""

    kind: str
    name: str
    given: dict[str, Any]
    key: str
    headers: dict[str, str]
    body: str

    @property
    def file(self) -> str:
        return f"{self.kind}.{self.name}.json"

    def text(self) -> str:
        """The file's content."""
        lines = (f"  {json.dumps(name)}: {_line(value, '  ')}" for name, value in vars(self).items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def parse(cls, text: str) -> "Golden":
        return cls(**json.loads(text))

    def example(self) -> dict[str, Any]:
        """As an example of an AsyncAPI message."""
        return {"name": self.name, "headers": self.headers, "payload": json.loads(self.body)}


def _line(value: Any, margin: str) -> str:
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", f"\n{margin}")


def paths(value: Any, at: str = "") -> Iterator[str]:
    """The names of all fields in some JSON, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{at}.{name}"
            yield from paths(inner, f"{at}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, at)


def missing(table: Topics, there: Mapping[str, list[Golden]]) -> Iterator[Golden]:
    """The examples to be added: for kinds that have none, and for kinds whose sample has a field that no example shows.

    Raises KeyError for a kind without a sample.
    """
    for kind in table.kinds.values():
        had = there.get(kind.kind, [])
        names = {golden.name for golden in had}
        if "minimal" not in names:
            yield _golden(kind, table, "minimal", minimal(kind))
        number = sum(name.startswith("complete") for name in names) + 1
        complete = _golden(kind, table, "complete" if number == 1 else f"complete-{number}", COMPLETE[kind])
        shown = {path for golden in had for path in paths(json.loads(golden.body))}
        if number == 1 or set(paths(json.loads(complete.body))) - shown:
            yield complete


def _golden(kind: Kind, table: Topics, name: str, given: dict[str, Any]) -> Golden:
    body = encode(decode(kind, json.dumps(given).encode()))
    message = _said(kind, table, body) if name.startswith("complete") else _at_a_door(kind, body)
    return Golden(kind.kind, name, given, message.correlation_id, {k: v.decode() for k, v in headers(message)}, body.decode())


def _at_a_door(kind: Kind, body: bytes) -> Envelope:
    """No attribute that is not required."""
    return Envelope("order-77", "/shop", kind.kind, body, "order-77")


def _said(kind: Kind, table: Topics, body: bytes) -> Envelope:
    """Every attribute."""
    speakers = [service for topic in table.all if kind in topic.kinds for service in topic.producers]
    return Envelope(
        id=str(uuid5(NAMESPACE_URL, kind.kind)),
        source=f"/hansard/{speakers[0]}" if speakers else "/shop",
        type=kind.kind,
        data=body,
        correlation_id="order-77",
        tenant="acme",
        subject=speakers[0] if speakers else "order",
        time=datetime(2026, 1, 5, 9, 0, 0, 123456, UTC),
        causation_id=str(uuid5(NAMESPACE_URL, f"cause/{kind.kind}")),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        sequence=7,
        datahash=hashlib.sha256(body).hexdigest(),
        replayed="2026-02-01T00:00:00Z",
    )
