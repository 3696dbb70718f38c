"""Contents and the record: what refers to what, what is missing, what nothing refers to any more."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from contracts.catalog import Topics
from hansard.codec import Invalid, decode
from hansard.references import JSON, whole
from hansard.values import ContentReference
from infra.audit.verify import in_parts
from shared.content.ports import ContentMissing, ContentStore, StoredContent
from shared.eventstore.model import WorkflowHistory
from shared.eventstore.ports import WorkflowReader

_REFERENCE = re.compile(rb'"sha256"\s*:\s*"([0-9a-f]{64})"')
Names = set[tuple[str, str]]  # tenant and SHA-256


def named_in(data: bytes | None) -> Iterator[str]:
    """The hashes that JSON names, whichever field they stand in: rather one too many than one too few."""
    return (found[1].decode() for found in _REFERENCE.finditer(data or b""))


def named_by(history: WorkflowHistory) -> Names:
    """What one workflow refers to: in its messages, in the outcomes of its attempts, and in what it received at doors."""
    bodies: Iterable[bytes | None] = (
        *(stored.data for one in history.histories.values() for stored in one.messages),
        *(entry.outcome for mine in history.entries.values() for entry in mine),
        *(door.body for door in history.door_messages.values()),
    )
    return {(history.tenant, sha256) for body in bodies for sha256 in named_in(body)}


async def workflows(store: WorkflowReader) -> AsyncIterator[WorkflowHistory]:
    """Every workflow, a part at a time."""
    async for page in store.list_workflows():
        for part in in_parts(page):
            for history in await store.load_workflows([(one.tenant, one.workflow) for one in part]):
                yield history


async def reached(contents: ContentStore, names: Names) -> AsyncIterator[tuple[tuple[str, str], str]]:
    """Every content that these are or name, each with a sentence where it is missing or damaged, else with ""."""
    waiting, seen = sorted(names), set(names)
    for name in waiting:
        try:
            data, media_type = await _read(contents, *name)
        except ContentMissing as lacking:
            yield name, str(lacking)
            continue
        yield name, ""
        if media_type in ("", JSON):
            more = {(name[0], sha256) for sha256 in named_in(data)} - seen
            seen |= more
            waiting.extend(sorted(more))


async def unreferenced(store: WorkflowReader, contents: ContentStore, before: datetime) -> AsyncIterator[StoredContent]:
    """The contents that were not put since `before` and that nothing on the record names, nor anything that it names."""
    named: Names = set()
    async for history in workflows(store):
        named |= named_by(history)
    named |= {name async for name, _ in reached(contents, named)}
    async for page in contents.list():
        for one in page:
            if one.at < before and (one.tenant, one.sha256) not in named:
                yield one


async def _read(contents: ContentStore, tenant: str, sha256: str) -> tuple[bytes, str]:
    """The checked bytes of a content, and their media type where its place knows it. Raises ContentMissing."""
    found = await contents.stat(tenant, sha256)
    reference = ContentReference(sha256=sha256, size=found.size if found else 0)
    return await contents.get(tenant, reference), found.media_type if found else ""


async def whole_data(
    topics: Topics, contents: ContentStore, tenant: str, kind: str, data: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The fields of a message without excerpts. Raises ContentMissing, StoreUnavailable."""
    written = json.dumps(data).encode()
    if kind not in topics.kinds or not next(named_in(written), ""):
        return data
    try:
        message = decode(topics.kinds[kind], written)
    except Invalid:
        return data
    resolved = await whole(message, lambda reference: contents.get(tenant, reference))
    return resolved.model_dump(mode="json")
