"""Golden examples: messages as they were written once, which every later version must read. Pure."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from contracts.catalog import Topics
from contracts.folders import BadContract, imported
from contracts.samples import Samples
from hansard.codec import Invalid, decode, encode
from hansard.envelope import Envelope, headers
from hansard.identity import source_of
from hansard.topics import Kind

_NAME = re.compile(r"hansard\.[a-z-]+\.[a-z-]+\.v[1-9][0-9]*")


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

    @property
    def path(self) -> str:
        """The file, below `contracts/`."""
        return f"{_folder(self.kind)}/examples/{self.file}"

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


def folder_of(kind: Kind) -> str:
    """The folder of `contracts/` that owns this kind."""
    return _folder(kind.kind)


def _folder(kind: str) -> str:
    return kind.split(".")[1].replace("-", "_")


def complete(kind: Kind) -> dict[str, Any]:
    """A sample with every field. Raises BadContract for a kind without a sample."""
    try:
        return _samples(kind, "COMPLETE")[kind]
    except KeyError:
        raise BadContract(f"{_file(kind)} has no sample of {kind.__name__}: add one with every field to COMPLETE.") from None


def minimal(kind: Kind) -> dict[str, Any]:
    """What a sender must give, and no more. Raises BadContract."""
    whole = complete(kind)
    if lacking := [name for name, field in kind.model_fields.items() if field.is_required() and name not in whole]:
        raise BadContract(f"{_file(kind)}: the sample of {kind.__name__} lacks {', '.join(lacking)}.")
    required = {name: whole[name] for name, field in kind.model_fields.items() if field.is_required()}
    return _samples(kind, "MINIMAL").get(kind, required)


def _samples(kind: Kind, which: str) -> Samples:
    samples: Samples = getattr(imported(folder_of(kind), "samples"), which, {})
    return samples


def _file(kind: Kind) -> str:
    return f"contracts/{folder_of(kind)}/samples.py"


def misnamed(topics: Topics) -> Iterator[str]:
    """What is wrong with the kinds' names, each with the file to be edited. The rest of this module relies on these names."""
    homes = {"hansard.tasks": "specialists"}
    for kind in dict.fromkeys(kind for topic in topics.all for kind in topic.kinds):
        folder = homes.get(kind.__module__) or kind.__module__.split(".")[1]
        file, form = f"contracts/{folder}/messages.py", f"hansard.{folder.replace('_', '-')}.NAME.v1"
        if not _NAME.fullmatch(kind.kind) or folder_of(kind) != folder:
            yield f"{file}: the kind {kind.kind!r} of {kind.__name__} must be of the form {form}: it names its folder."


def missing(topics: Topics, present: Mapping[str, list[Golden]]) -> Iterator[Golden]:
    """The examples to be added: for kinds that have none, and for kinds whose sample has a field that no example shows.

    Raises BadContract for a kind without a sample, or with one that is not valid.
    """
    for kind in topics.kinds.values():
        frozen = present.get(kind.kind, [])
        names = {golden.name for golden in frozen}
        if "minimal" not in names:
            yield _golden(kind, topics, "minimal", minimal(kind))
        number = sum(name.startswith("complete") for name in names) + 1
        whole = _golden(kind, topics, "complete" if number == 1 else f"complete-{number}", complete(kind))
        shown = {path for golden in frozen for path in paths(json.loads(golden.body))}
        if number == 1 or set(paths(json.loads(whole.body))) - shown:
            yield whole


def _golden(kind: Kind, topics: Topics, name: str, given: dict[str, Any]) -> Golden:
    try:
        body = encode(decode(kind, json.dumps(given).encode()))
    except (Invalid, TypeError) as invalid:  # TypeError: a value that JSON does not have
        raise BadContract(f"{_file(kind)}: the sample of {kind.__name__} is not valid: {invalid}.") from None
    envelope = _full_envelope(kind, topics, body) if name.startswith("complete") else _smallest_envelope(kind, body)
    written = {name: value.decode() for name, value in headers(envelope)}
    return Golden(kind.kind, name, given, envelope.correlation_id, written, body.decode())


def _smallest_envelope(kind: Kind, body: bytes) -> Envelope:
    """With the attributes that are required, and no more."""
    return Envelope("order-77", "/shop", kind.kind, body, "order-77")


def _full_envelope(kind: Kind, topics: Topics, body: bytes) -> Envelope:
    """With every attribute."""
    producers = [service for topic in topics.all if kind in topic.kinds for service in topic.producers]
    return Envelope(
        id=str(uuid5(NAMESPACE_URL, kind.kind)),
        source=source_of(producers[0]) if producers else "/shop",
        type=kind.kind,
        data=body,
        correlation_id="order-77",
        tenant="acme",
        subject=producers[0] if producers else "order",
        time=datetime(2026, 1, 5, 9, 0, 0, 123456, UTC),
        causation_id=str(uuid5(NAMESPACE_URL, f"cause/{kind.kind}")),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        sequence=7,
        datahash=hashlib.sha256(body).hexdigest(),
        replayed="2026-02-01T00:00:00Z",
    )
