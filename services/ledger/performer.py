"""Carries out an approved action: reads the decision on the record, takes the bytes by their hash, and makes the entry."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from contracts.ledger import PostingStarted
from hansard.actions import NotApproved
from hansard.service import Perform, PerformerContext
from services.ledger import book
from services.ledger.decider import PostingState
from services.ledger.facts import PostingReturned
from services.ledger.posting import Unfit, posting_of
from shared.eventstore.model import StoreUnavailable, Stream
from shared.telemetry.logs import log


@asynccontextmanager
async def open_performer(path: Path, context: PerformerContext) -> AsyncIterator[Perform[PostingState, PostingStarted]]:
    """`path`: of the book, which is made where there is none. Raises OSError or sqlite3.Error where that cannot be."""
    await asyncio.to_thread(book.create, path)
    writing = asyncio.Lock()  # a file has one writer: in here they wait for each other, and not for each other's patience

    async def perform(_: PostingState, intent: PostingStarted, stream: Stream) -> PostingReturned:
        returned = partial(PostingReturned, attempt=intent.attempt, task=intent.task)
        try:
            return await attempt(intent, stream, returned)
        except (Unfit, NotApproved) as unfit:
            return returned(refused=str(unfit))
        except LookupError as missing:
            return returned(refused=f"the approved bytes are not there: {missing}")
        except StoreUnavailable as away:
            return returned(failed=f"the event store or the content store is unavailable: {away}")
        except (sqlite3.Error, OSError) as away:
            return returned(failed=f"the book did not answer: {away}")
        except Exception as error:  # an attempt without an outcome would be taken for lost
            log.exception("an attempt failed in the ledger itself", stream=str(stream), attempt=intent.attempt)
            return returned(failed=f"in the ledger itself: {type(error).__name__}")

    async def attempt(intent: PostingStarted, stream: Stream, returned: "partial[PostingReturned]") -> PostingReturned:
        approval = intent.approval
        await context.approved(stream, approval)
        posting = posting_of(await context.content(stream, approval.action))
        sha256 = approval.action.sha256
        async with writing:
            if (now := context.now()) >= intent.deadline:
                return returned(failed="the attempt began too late: nothing was written")
            entry = await asyncio.to_thread(book.post, path, stream.tenant, approval.decision, sha256, posting, now)
        if entry.sha256 != sha256:
            return returned(refused=f"decision {entry.decision} has entry {entry.number} for other bytes, {entry.sha256}")
        return returned(entry=entry)

    yield perform
