"""The content store's places on real servers: Postgres under the service's role, a folder, an S3 bucket."""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from hansard.references import reference_to
from hansard.values import ContentReference
from infra.audit.contents import unreferenced
from shared.content import ContentDamaged, ContentMissing, ContentStore, open_contents
from shared.content.store import place_at
from shared.eventstore.model import StoreUnavailable
from shared.eventstore.postgres import PostgresEventStore

moto = pytest.importorskip("moto.server")  # of the extra `dev`

TEXT = b"as it was " * 300_000
LONG = reference_to(TEXT)
LATER, EARLIER = timedelta(hours=1), timedelta(hours=-1)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = dict(os.environ)
    url = f"http://{host}:{port}"
    os.environ.update(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y", AWS_REGION="us-east-1")
    urllib.request.urlopen(urllib.request.Request(f"{url}/contents", method="PUT")).close()
    yield "s3://contents/hansard"
    os.environ.clear()
    os.environ.update(before)
    server.stop()


@pytest.fixture(params=["Postgres", "folder", "bucket"])
async def contents(
    request: pytest.FixtureRequest, postgres_dsn: str, schema: str, tmp_path: Path
) -> AsyncIterator[tuple[PostgresEventStore, ContentStore]]:
    """The record as its owner sees it, who alone deletes contents."""
    store = await PostgresEventStore.open(postgres_dsn, schema=schema)
    where = {
        "Postgres": lambda: "",
        "folder": lambda: str(tmp_path / "contents"),
        "bucket": lambda: request.getfixturevalue("s3"),
    }
    make: Callable[[], str] = where[request.param]
    opened = open_contents(make(), store.contents, 1 << 24 if request.param == "Postgres" else 1_000)
    yield store, opened
    async for page in opened.list():
        for one in page:
            await opened.delete(one, datetime.now(UTC) + LATER)
    await store.close()


async def all_of(contents: ContentStore) -> list[tuple[str, str, int]]:
    return sorted([(one.tenant, one.sha256, one.size) async for page in contents.list() for one in page])


async def test_a_content_is_there_once_for_its_tenant_alone_and_comes_back_byte_for_byte(
    contents: tuple[PostgresEventStore, ContentStore],
) -> None:
    _, store = contents
    await asyncio.gather(*(store.put("acme", LONG, TEXT) for _ in range(3)))
    assert await store.get("acme", LONG) == TEXT
    found = await store.stat("acme", LONG.sha256)
    assert found is not None and found.size == len(TEXT)
    assert abs(found.at - datetime.now(UTC)) < LATER
    assert await all_of(store) == [("acme", LONG.sha256, len(TEXT))]
    with pytest.raises(ContentMissing):
        await store.get("other", LONG)
    assert await store.stat("other", LONG.sha256) is None
    with pytest.raises(ContentDamaged):
        await store.get("acme", ContentReference(sha256=LONG.sha256, size=1))


async def test_only_what_was_not_put_since_is_deleted(contents: tuple[PostgresEventStore, ContentStore]) -> None:
    record, store = contents
    await store.put("acme", LONG, TEXT)
    now = datetime.now(UTC)
    assert [one async for one in unreferenced(record, store, now + EARLIER)] == []
    [found] = [one async for one in unreferenced(record, store, now + LATER)]
    assert not await store.delete(found, now + EARLIER)
    assert await store.delete(found, now + LATER)
    assert await all_of(store) == []


async def backdated(raw: asyncpg.Connection) -> None:
    """All contents are of a month ago, as their owner alone can have it."""
    await raw.execute("alter table content disable trigger content_checked")
    await raw.execute("update content set at = now() - interval '30 days'")
    await raw.execute("alter table content enable trigger content_checked")


async def test_an_old_content_that_is_put_again_counts_as_new(
    store: PostgresEventStore, raw: asyncpg.Connection, postgres_dsn: str, schema: str
) -> None:
    await store.contents.put("acme", LONG.sha256, TEXT, "text/plain")
    await backdated(raw)
    await store.contents.put("acme", LONG.sha256, TEXT, "text/plain")
    owner = await PostgresEventStore.open(postgres_dsn, schema=schema)
    assert not await owner.contents.delete("acme", LONG.sha256, datetime.now(UTC) + EARLIER)
    await owner.close()


async def test_the_role_of_the_services_adds_contents_and_neither_changes_nor_deletes_them(
    raw: asyncpg.Connection, schema: str, store: PostgresEventStore
) -> None:
    await store.contents.put("acme", LONG.sha256, TEXT, "text/plain")
    await raw.execute(f'set role "{schema}_writer"')
    await raw.execute("insert into content (tenant, sha256, media_type, data) values ('acme', sha256('x'), '', 'x')")
    await raw.execute("update content set at = now()")
    for forbidden in ("update content set data = 'y'", "delete from content", "truncate content"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await raw.execute(forbidden)


ADD = "insert into content (tenant, sha256, media_type, data)"
POISON = {
    "other bytes than the hash names": f"{ADD} values ('acme', sha256('x'), '', 'y')",
    "other bytes under a hash that is there": f"{ADD} values ('acme', sha256('z'), '', 'y') on conflict do nothing",
    "a time ahead": "update content set at = now() + interval '1 second'",
    "a time before": "update content set at = at - interval '1 second'",
}


@pytest.mark.parametrize("sql", POISON.values(), ids=list(POISON))
async def test_no_service_puts_other_bytes_under_a_hash_or_dates_a_content(
    raw: asyncpg.Connection, schema: str, sql: str
) -> None:
    await raw.execute(f'set role "{schema}_writer"')
    await raw.execute(f"{ADD} values ('acme', sha256('z'), '', 'z')")
    with pytest.raises(asyncpg.CheckViolationError):
        await raw.execute(sql)


async def test_a_bucket_that_is_not_there_is_unavailable_and_nothing_is_lost_in_silence(s3: str) -> None:
    place = place_at("s3://no-such-bucket/x")
    assert place is not None
    with pytest.raises(StoreUnavailable):
        await place.put("acme", LONG.sha256, TEXT, "text/plain")
    with pytest.raises(StoreUnavailable):
        await place.get("acme", LONG.sha256)
