"""`content`: what messages carry by reference, by its SHA-256; and how the other commands reach it."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer
from pydantic import SecretStr

from contracts.requests import SubmitRequest
from hansard.envelope import TENANT
from hansard.references import SHORT, by_reference, reference_to
from hansard.values import ContentReference
from infra.audit import contents as auditing
from infra.audit.timeline import Timeline
from infra.cli import base, screen
from infra.cli.options import Json, Tenant
from infra.cli.problem import Problem
from shared.content import ContentMissing, ContentStore, StoredContent, open_contents
from shared.eventstore.model import StoreRefused, StoreUnavailable
from shared.eventstore.ports import EventStore
from shared.settings import Settings

app = typer.Typer(
    help="Long texts, data and files that messages carry by reference.\n\n"
    "A message above 256 kB carries the beginning of each long text and, in a field `…_ref`, the SHA-256 of the whole. The whole "
    "is here, for each tenant its own: in Postgres, and what is larger than HANSARD_CONTENT_POSTGRES_BYTES in the folder or the "
    "bucket that HANSARD_CONTENT names.",
    no_args_is_help=True,
)
HEADERS = 4096  # bytes of a request's key and headers, at most
LEAST = 2.0  # hours; a content that is put again within the hour keeps its time
Sha256 = Annotated[str, typer.Argument(metavar="SHA256", help="Its SHA-256 in hexadecimal.")]


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[EventStore, ContentStore]]:
    """The record and the content store. Raises Problem where a content cannot be stored, found or reached."""
    async with base.record(settings) as store:
        try:
            yield store, open_contents(settings.content, store.contents, settings.content_postgres_bytes)
        except ContentMissing as lacking:
            raise Problem(f"{str(lacking)[:1].upper()}{str(lacking)[1:]}.") from None
        except StoreRefused as refused:
            raise Problem(f"It cannot be stored: {refused}.") from None
        except StoreUnavailable as away:
            raise Problem(f"The content store does not answer: {away}.") from None


@app.command()
def put(
    file: Annotated[str, typer.Argument(help="A file, or `-` for standard input.")],
    media_type: Annotated[str, typer.Option("--type", help="Its media type; without it, by the file's name.")] = "",
    tenant: Tenant = TENANT,
) -> None:
    """Store a file and print its reference, as a message carries it. Stored again, the same bytes are the same content.

    Example: hansard content put contract.txt
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as bad:
        raise Problem(f"{file} cannot be read: {bad.strerror}.", code=2) from None
    name = "" if file == "-" else Path(file).name
    reference = reference_to(data, media_type or guess_type(name)[0] or "application/octet-stream", name)
    base.run(_put(base.running(postgres=True), tenant, reference, data))
    screen.write(reference.model_dump_json())


async def _put(settings: Settings, tenant: str, reference: ContentReference, data: bytes) -> None:
    async with opened(settings) as (_, contents):
        await contents.put(tenant, reference, data)


@app.command()
def get(
    sha256: Sha256,
    out: Annotated[str, typer.Option("--out", "-o", help="Write it to this file; without it, to standard output.")] = "",
    tenant: Tenant = TENANT,
) -> None:
    """Read a content, checked against its SHA-256.

    Example: hansard content get 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --out whole.txt
    """
    data = base.run(_get(base.running(postgres=True), tenant, sha256))
    if out:
        Path(out).write_bytes(data)
        screen.note(f"{len(data):,} bytes are in {out}")
        return
    sys.stdout.buffer.write(data)


async def _get(settings: Settings, tenant: str, sha256: str) -> bytes:
    async with opened(settings) as (_, contents):
        found = await _found(contents, tenant, sha256)
        return await contents.get(tenant, ContentReference(sha256=sha256, size=found.size))


@app.command()
def stat(sha256: Sha256, tenant: Tenant = TENANT, json_: Json = False) -> None:
    """Show the size of a content, where it is, and when it was last put.

    Example: hansard content stat 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """
    found = base.run(_stat(base.running(postgres=True), tenant, sha256))
    if json_:
        screen.write(screen.as_json(found._asdict()))
        return
    screen.out.print(screen.table(("", ""), [(name.replace("_", " "), value) for name, value in found._asdict().items()]))


async def _stat(settings: Settings, tenant: str, sha256: str) -> StoredContent:
    async with opened(settings) as (_, contents):
        return await _found(contents, tenant, sha256)


async def _found(contents: ContentStore, tenant: str, sha256: str) -> StoredContent:
    found = await contents.stat(tenant, sha256)
    if found is None:
        raise ContentMissing(f"tenant {tenant} has no content {sha256}")
    return found


@app.command()
def collect(
    older_than: Annotated[float, typer.Option(min=LEAST, help="Only what was last put so many hours ago.")] = 168,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it. Without this nothing is changed.")] = False,
    json_: Json = False,
) -> None:
    """List the contents that nothing on the record refers to, of every tenant; with --delete, delete them.

    Reads the whole record. A content that was put lately is left alone, since its message may be on its way. Deleting needs
    the rights of the tables' owner (HANSARD_POSTGRES_OWNER): services may only add.

    Example: hansard content collect    ·    hansard content collect --delete
    """
    before = datetime.now(UTC) - timedelta(hours=older_than)
    found = base.run(_collect(base.running(postgres=True), before, delete=delete, json_=json_))
    size = sum(one.size for one in found)
    what = "deleted" if delete else "would be deleted: `--delete` does it"
    screen.note(f"{len(found)} contents, {size:,} bytes, {what}")


async def _collect(settings: Settings, before: datetime, *, delete: bool, json_: bool) -> list[StoredContent]:
    if delete:
        settings = settings.model_copy(update={"postgres": SecretStr(settings.owner)})
    done: list[StoredContent] = []
    async with opened(settings) as (store, contents):
        async for one in auditing.unreferenced(store, contents, before):
            if delete and not await contents.delete(one, before):
                continue
            done.append(one)
            fields = one._asdict()
            screen.write(
                screen.as_json(fields) if json_ else f"{one.tenant} {one.sha256} {one.size:>12,} {one.at:%Y-%m-%d %H:%M}"
            )
    return done


@app.command()
def verify(
    workflow: Annotated[str, typer.Option(help="Only what this workflow refers to.")] = "",
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Read every content that a message or a request on the record refers to: each must be there and have its SHA-256.

    `audit verify` needs none of them: decisions rest on their hashes. Exits 1 where one is missing or damaged.

    Example: hansard content verify    ·    hansard content verify --workflow ask-1f0b6f7a9c11
    """
    settings = base.running(postgres=True)
    read, lacking = base.run(_verify(settings, (tenant, workflow) if workflow else None, json_=json_))
    screen.note(f"{read} contents are referred to: {f'{lacking} of them missing or damaged' if lacking else 'all are there'}")
    if lacking:
        raise typer.Exit(1)


async def _verify(settings: Settings, only: tuple[str, str] | None, *, json_: bool) -> tuple[int, int]:
    read = lacking = 0
    async with opened(settings) as (store, contents):
        async for history in auditing.workflows(store):
            if only not in (None, (history.tenant, history.workflow)):
                continue
            async for (tenant, sha256), problem in auditing.reached(contents, auditing.named_by(history)):
                read, lacking = read + 1, lacking + bool(problem)
                if problem:
                    fields = {"tenant": tenant, "workflow": history.workflow, "sha256": sha256, "problem": problem}
                    screen.write(screen.as_json(fields) if json_ else f"{tenant}/{history.workflow}: {problem}")
    return read, lacking


class HasBody(Protocol):
    """A request that is about to be published."""

    @property
    def tenant(self) -> str: ...

    @property
    def body(self) -> Mapping[str, Any]: ...


R = TypeVar("R", bound=HasBody)


async def small_enough(settings: Settings, requests: list[R]) -> list[R]:
    """The same requests: those too long for a message carry their long texts by reference. Raises Problem."""
    return [await _small_enough(settings, one) for one in requests]


async def _small_enough(settings: Settings, request: R) -> R:
    limit = max(settings.max_request_bytes - HEADERS, SHORT)
    if len(json.dumps(request.body, ensure_ascii=False, default=str).encode()) <= limit:
        return request
    message, wholes = by_reference(SubmitRequest.model_validate(request.body), limit)
    if not wholes:
        return request
    if not settings.postgres.get_secret_value():
        raise Problem("The request is too long for one message, and the content store needs Postgres: set HANSARD_POSTGRES.")
    async with opened(settings) as (_, contents):
        for reference, data in wholes.items():
            await contents.put(request.tenant, reference, data)
    return replace(request, body=message.model_dump(mode="json", exclude_defaults=True))  # type: ignore[type-var]


async def with_whole_result(settings: Settings, timeline: Timeline) -> Timeline:
    """The same timeline; its result is without excerpts, all other messages are as they are on the record."""
    if (result := timeline.result) is None:
        return timeline
    shown = replace(result, data=await whole_result(settings, result.tenant, result.kind, result.data))
    return replace(timeline, messages=tuple(shown if one is result else one for one in timeline.messages))


async def whole_result(settings: Settings, tenant: str, kind: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result without excerpts, if the content store can be reached; else as it is, with a note that says so."""
    if not next(auditing.named_in(json.dumps(data).encode()), ""):
        return data
    if settings.postgres.get_secret_value():
        with contextlib.suppress(Problem):
            async with opened(settings) as (_, contents):
                return await auditing.whole_data(settings.topics, contents, tenant, kind, data)
    screen.note("Only the beginning is shown: the whole cannot be read now. `hansard content get` reads it by its `sha256`.")
    return data
