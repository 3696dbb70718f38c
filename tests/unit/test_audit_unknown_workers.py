"""An audit that does not know a worker of the record says so, and blames no code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from contracts.catalog import Topics
from hansard import Decider, PerformTask, Service, task_topics
from infra.audit.verify import verify
from infra.cli import app, base
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.model import Stream
from shared.runtime.inbound import Inbound
from shared.runtime.processor import Processor
from shared.settings import Settings
from tests.unit.toy import NOON

TASK = PerformTask(task="a", service="counter", role="counter", goal="count", deadline=NOON + timedelta(days=1))
COUNTER = Service(
    "counter",
    Decider(None, lambda *_: [TASK.answer("1")], lambda *_: None),
    {PerformTask: lambda task: task.task},
    topics=task_topics("counter"),
)
SENTENCE = "the record names a worker `counter` that neither HANSARD_SERVICES nor HANSARD_WORKERS names"


async def counted() -> InMemoryEventStore:
    """A record with one task of the worker `counter`."""
    store, stream = InMemoryEventStore(lambda: NOON), Stream("default", "w1", "counter/a")
    processor = Processor(COUNTER, Topics(services=(COUNTER,)), max_message_bytes=4000)
    pending = processor.begin(stream, processor.new_stream(), NOON)
    assert processor.process(pending, Inbound(stream, uuid4(), PerformTask.kind, b"\0" * 32, message=TASK))
    assert (await store.append([pending])).accepted
    return store


async def test_a_worker_that_the_catalogue_does_not_know_is_named() -> None:
    store = await counted()
    assert (await verify(store, {}, Topics(), "default", "w1")).unknown_workers == {"counter"}
    assert (await verify(store, {}, Topics(("counter",)), "default", "w1")).unknown_workers == set()


@pytest.mark.parametrize("words", [[], ["--workflow", "w1"]])
def test_the_command_names_the_worker_and_fails(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = asyncio.run(counted())

    @asynccontextmanager
    async def record(_: Settings) -> AsyncIterator[InMemoryEventStore]:
        yield store

    monkeypatch.setattr(base, "record", record)
    monkeypatch.setenv("HANSARD_HOME", str(tmp_path))
    monkeypatch.setenv("HANSARD_POSTGRES", "postgresql://nobody@127.0.0.1:1/none")
    done = CliRunner().invoke(app, ["audit", "verify", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 1 and SENTENCE in done.output, done.output
    monkeypatch.setenv("HANSARD_WORKERS", "counter")
    done = CliRunner().invoke(app, ["audit", "verify", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 0 and "counter" not in done.output, done.output
