"""The content store, and the record: what messages carry is there before them, and what nothing refers to is found."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.dead_letters import DeadLettered
from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted
from hansard.codec import decode, encode
from hansard.decider import Decider
from hansard.message import Message
from hansard.references import JSON, reference_to, references
from hansard.service import Service
from hansard.values import ContentReference
from infra.audit import contents as auditing
from shared.backoff import Backoff
from shared.content import ContentDamaged, ContentMissing, ContentRefused, Contents, open_contents
from shared.content.folder import Folder
from shared.content.memory import InMemoryPlace
from shared.content.store import place_at
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import StoreUnavailable, Stream
from shared.runtime.loop import Loop
from shared.runtime.performer import AttemptRunner
from shared.runtime.processor import Processor
from tests.unit.loop_kit import CALLS, Publisher, call_message, parsed, performing, until
from tests.unit.toy import NOON, request, topics

TEXT = b"as it was " * 30_000
LONG = reference_to(TEXT)


def contents(**more: Any) -> Contents:
    return Contents(InMemoryPlace(), **more)


# the store


async def test_a_content_is_its_tenants_own() -> None:
    store = contents()
    await store.put("acme", LONG, TEXT)
    assert await store.get("acme", LONG) == TEXT
    with pytest.raises(ContentMissing):
        await store.get("other", LONG)


async def test_what_is_read_has_the_hash_and_the_size_of_its_reference() -> None:
    store = contents()
    await store.put("acme", LONG, TEXT)
    place = store.small
    assert isinstance(place, InMemoryPlace)
    place.kept["acme", LONG.sha256] = (TEXT[:-1] + b"X", "", NOON)
    with pytest.raises(ContentDamaged):
        await store.get("acme", LONG)
    with pytest.raises(ValueError, match="not the bytes"):
        await store.put("acme", LONG, b"other")


async def test_a_large_content_goes_to_the_other_place_or_is_refused_with_the_setting_to_change() -> None:
    large = InMemoryPlace()
    store = contents(large=large, bound=1_000)
    small = reference_to(b"small")
    await store.put("acme", LONG, TEXT)
    await store.put("acme", small, b"small")
    assert list(large.kept) == [("acme", LONG.sha256)]
    assert (await store.get("acme", LONG), await store.get("acme", small)) == (TEXT, b"small")
    with pytest.raises(ContentRefused, match="HANSARD_CONTENT"):
        await contents(bound=1_000).put("acme", LONG, TEXT)


@pytest.mark.parametrize(("tenant", "sha256"), [("../acme", "0" * 64), ("acme", "../" + "0" * 61), ("", "0" * 64)])
async def test_nothing_leads_out_of_the_store(tenant: str, sha256: str, tmp_path: Path) -> None:
    store = open_contents(str(tmp_path), InMemoryPlace(), 0)
    with pytest.raises(ContentMissing):
        await store.get(tenant, ContentReference.model_construct(sha256=sha256, size=1, media_type="", name=""))
    with pytest.raises(ContentMissing):
        await store.stat(tenant, sha256)


@pytest.mark.parametrize("where", ["relative/folder", "s3://", "https://bucket", "file://host/path", "s3:bucket"])
def test_a_setting_that_names_no_place_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        place_at(where)


async def test_a_folder_keeps_whole_files_that_only_their_owner_can_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "contents")
    await folder.put("acme", LONG.sha256, TEXT, "text/plain")
    file = tmp_path / "contents" / "acme" / LONG.sha256[:2] / LONG.sha256
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(above.stat().st_mode) for above in (file.parent, *list(file.parents)[1:3])} == {0o700}
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    assert await folder.get("acme", LONG.sha256) == TEXT
    assert (await folder.get("other", LONG.sha256), await folder.stat("acme", "0" * 64)) == (None, None)


async def test_a_content_that_was_put_again_is_not_deleted(tmp_path: Path) -> None:
    for place in (Folder(tmp_path), InMemoryPlace()):
        await place.put("acme", LONG.sha256, TEXT, "text/plain")
        now = datetime.now(UTC)
        assert not await place.delete("acme", LONG.sha256, now - timedelta(hours=1))
        assert await place.delete("acme", LONG.sha256, now + timedelta(hours=1))
        assert await place.get("acme", LONG.sha256) is None


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        await Folder(tmp_path / "file").put("acme", LONG.sha256, TEXT, "")


# the runtime


def decide(_: int, received: Message, __: Any) -> list[Message]:
    assert isinstance(received, SubmitRequest)
    return [WorkflowCompleted(text=(received.text or "") * 300_000, answered_by="rule", cost=0)]


def evolve(count: int, stored: Message) -> int:
    return len(stored.text) if isinstance(stored, WorkflowCompleted) else count


verbose = Service("router", Decider(0, decide, evolve), receives={SubmitRequest: lambda _: ""})
STREAM = Stream("default", "w1", "router")


class Watched(InMemoryPlace):
    """Fails as often as it is told, and notes whether the record was still empty when something was put."""

    def __init__(self, store: InMemoryEventStore, failures: int = 0) -> None:
        super().__init__()
        self.store, self.failures, self.was_empty = store, failures, False

    async def put(self, tenant: str, sha256: str, data: bytes, media_type: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.was_empty = not (await self.store.load([STREAM]))[STREAM].messages
        await super().put(tenant, sha256, data, media_type)


async def run(store: InMemoryEventStore, kept: Contents) -> Loop:
    processor = Processor(verbose, topics, 900_000)
    loop = Loop(processor, store, Publisher(store), contents=kept, backoff=Backoff(0.001, 0.001))
    await loop.process(parsed(request("x")))
    return loop


async def test_what_a_message_carries_is_stored_before_it() -> None:
    store = InMemoryEventStore()
    place = Watched(store, failures=2)
    loop = await run(store, Contents(place))
    [stored] = (await store.load([STREAM]))[STREAM].messages
    message = decode(WorkflowCompleted, stored.data)
    assert (place.was_empty, len(stored.data) <= message.inline) == (True, True)
    assert message.text_ref is not None
    assert await Contents(place).get("default", message.text_ref) == b"x" * 300_000
    assert loop.processor.fold((await store.load([STREAM]))[STREAM]).state == loop.cached(STREAM).state  # type: ignore[union-attr]


async def test_the_same_request_decided_again_gives_the_same_bytes() -> None:
    first, second = InMemoryEventStore(lambda: NOON), InMemoryEventStore(lambda: NOON)
    await run(first, contents())
    await run(second, contents())
    assert (await first.load([STREAM]))[STREAM].messages[0].hash == (await second.load([STREAM]))[STREAM].messages[0].hash


async def test_a_content_that_no_place_takes_is_a_dead_letter_that_says_why() -> None:
    store = InMemoryEventStore()
    await run(store, contents(bound=1_000))
    [stored] = (await store.load([STREAM]))[STREAM].messages
    dead = decode(DeadLettered, stored.data)
    assert dead.reason == "refused-by-store"
    assert "HANSARD_CONTENT" in dead.detail


async def test_the_long_reply_of_an_attempt_is_stored_by_reference_before_its_outcome() -> None:
    from contracts.gateway import ModelReplied
    from services.gateway.facts import AttemptReturned

    reply = ModelReplied(call="t/1", attempt=1, tier="one", model="m", text="y" * 3_000_000, latency_ms=1, cost=0, provider="p")
    kept, received = contents(), []

    async def perform(*_: Any) -> AttemptReturned:
        return AttemptReturned(attempt=1, call="t/1", reply=reply)

    store = InMemoryEventStore()
    loop, _ = performing(store, perform)

    async def process(inbounds: Any) -> None:
        received.extend(inbounds)

    loop.attempt_runner = AttemptRunner(perform, 2, process, kept)
    await loop.process(call_message(store))
    await until(lambda: received)
    outcome = received[0].message
    assert isinstance(outcome, AttemptReturned) and outcome.reply is not None and outcome.reply.text_ref is not None
    assert len(encode(outcome)) <= outcome.inline
    assert await kept.get(CALLS.tenant, outcome.reply.text_ref) == b"y" * 3_000_000


# the record


async def referring(store: InMemoryEventStore, kept: Contents) -> WorkflowCompleted:
    await run(store, kept)
    [stored] = (await store.load([STREAM]))[STREAM].messages
    return decode(WorkflowCompleted, stored.data)


async def unreferenced(store: InMemoryEventStore, kept: Contents, hours: float) -> list[str]:
    before = datetime.now(UTC) + timedelta(hours=hours)
    return [one.sha256 async for one in auditing.unreferenced(store, kept, before)]


async def test_only_what_nothing_refers_to_and_what_is_old_enough_is_collected() -> None:
    store, kept = InMemoryEventStore(), contents()
    await referring(store, kept)
    await kept.put("default", LONG, TEXT)
    other = [one.sha256 async for page in kept.list() for one in page if one.sha256 != LONG.sha256]
    await kept.put("acme", reference_to(b"x" * 300_000), b"x" * 300_000)  # of another tenant, whom nothing refers to
    assert await unreferenced(store, kept, -1) == []
    assert sorted(await unreferenced(store, kept, 1)) == sorted([LONG.sha256, *other])


async def test_what_a_carried_list_refers_to_is_not_collected() -> None:
    store, kept = InMemoryEventStore(), contents()
    await kept.put("default", LONG, TEXT)
    listed = b'[{"text_ref":' + LONG.model_dump_json().encode() + b"}]"
    await kept.put("default", reference_to(listed, JSON), listed)
    assert sorted(await unreferenced(store, kept, 1)) == sorted([LONG.sha256, reference_to(listed).sha256])
    body = SubmitRequest(text="x", text_ref=reference_to(listed)).model_dump_json().encode()
    loop = Loop(Processor(verbose, topics, 900_000), store, Publisher(store), contents=kept)
    await loop.process(parsed(request(body=body)))
    assert await unreferenced(store, kept, 1) == []


async def test_a_missing_and_a_damaged_content_are_each_named() -> None:
    store, kept = InMemoryEventStore(), contents()
    message = await referring(store, kept)
    assert message.text_ref is not None
    names = {("default", one.sha256) for one in references(message)}
    assert [problem async for _, problem in auditing.reached(kept, names)] == [""]
    place = kept.small
    assert isinstance(place, InMemoryPlace)
    data, media_type, at = place.kept["default", message.text_ref.sha256]
    place.kept["default", message.text_ref.sha256] = (data[:-1], media_type, at)
    [(_, damaged)] = [one async for one in auditing.reached(kept, names)]
    place.kept.clear()
    [(_, missing)] = [one async for one in auditing.reached(kept, names)]
    assert ("damaged" in damaged, "is not in the content store" in missing) == (True, True)


async def test_a_result_is_shown_whole() -> None:
    store, kept = InMemoryEventStore(), contents()
    message = await referring(store, kept)
    shown = await auditing.whole_data(topics, kept, "default", message.kind, message.model_dump(mode="json"))
    assert (shown["text"], "text_ref" in shown) == ("x" * 300_000, False)
