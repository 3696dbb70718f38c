"""The FastStream worker of the examples on a real broker: its answers come in at a door, and what comes twice changes nothing."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hansard import PerformTask, TaskAnswered
from hansard.outside import reply
from infra.servers import Servers, process
from infra.servers.process import Planned, Spec
from tests.deployment import Deployment
from tests.processes import ROOT, until
from tests.published import PublishedMessage

PLAN = {"name": "dinner", "steps": [{"id": "wine", "worker": "sommelier", "verify": "none", "retries": 0}]}
RUN = "import asyncio, importlib; asyncio.run(importlib.import_module('tests.examples.03_a_worker_in_faststream').app.run())"


@pytest.fixture
async def deployment(servers: Servers) -> AsyncIterator[Deployment]:
    async with Deployment.open(servers, "http://127.0.0.1:1/v1", HANSARD_OUTSIDE_WORKERS="sommelier") as deployment:
        yield deployment


def start(deployment: Deployment, log: Path) -> process.Running:
    """The example as a program of its own."""
    settings = deployment.settings
    given = ["env", f"HANSARD_KAFKA={settings.kafka}", f"HANSARD_TOPIC_PREFIX={settings.topic_prefix}"]
    spec = Spec([*given, sys.executable, "-c", RUN], str(ROOT), str(log), signal.SIGTERM, patience=10)
    return process.start(Planned("sommelier", "", spec), keep=False)


async def test_a_faststream_worker_answers_is_audited_and_a_repeated_task_changes_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.serve("router", "planner", key="ours")
    await deployment.ready()
    topic = "sommelier.commands"
    bad = [("ce_type", PerformTask.kind.encode()), ("x-from-elsewhere", b"\xff")]
    await deployment.put(topic, b"{", bad, b"nobody")
    worker = start(deployment, tmp_path / "worker.log")
    try:
        ids = await deployment.ask(*({"text": wish, "plan": PLAN} for wish in ("fish", "cheese", "soup")))
        results = {one.workflow: one for one in (await deployment.answered(ids)).values()}
        fish, cheese, soup = (results[id] for id in ids)
        assert fish.data["text"] == "a dry Riesling" and cheese.data["text"] == "an old Port"
        assert soup.kind == "hansard.results.failed.v1" and "KeyError" in soup.data["detail"]

        [task] = [one for one in deployment.published if one.topic == topic and one.workflow == ids[0]]
        before = await entries(deployment, ids[0])
        await deployment.put(topic, task.body, [(name, value.encode()) for name, value in task.headers.items()], ids[0].encode())
        await until(lambda: answers(deployment, ids[0], 2), "the repeated task was answered again, under the same id")
        await deployment.ask({"type": "calculate_tax", "data": {"amount": "1"}})
        await asyncio.sleep(1)
        assert await entries(deployment, ids[0]) == before
    finally:
        process.stop(worker)
    report = await deployment.verified()
    assert report.differences == [] and report.forged == []


async def test_a_forged_answer_is_a_dead_letter_and_the_genuine_one_counts(deployment: Deployment, tmp_path: Path) -> None:
    """Whoever may publish at the door predicts every id, and lacks the token."""
    deployment.serve("router", "planner", key="ours")
    await deployment.ready()
    await deployment.listen()
    [asked] = await deployment.ask({"text": "fish", "plan": PLAN})

    def task() -> PublishedMessage | None:
        return next((one for one in deployment.published if one.topic == "sommelier.commands" and one.workflow == asked), None)

    await until(lambda: task() is not None, "the worker is given its task")
    given = task()
    assert given is not None
    headers = {name: value.encode() for name, value in given.headers.items()}
    forged = Task("sommelier.commands", given.body, list(headers.items()))
    answer = reply(forged, TaskAnswered(task="wine.1", role="sommelier", text="vinegar", tier="own", cost=Decimal(0)))
    stripped = [(name, value) for name, value in answer.headers if name != "ce_tasktoken"]
    await deployment.put("sommelier.events", answer.value, stripped, asked.encode())
    await until(lambda: bool(deployment.dead_letters(reason="not-expected")), "the forged answer is a dead letter")
    assert deployment.results == {}

    worker = start(deployment, tmp_path / "worker.log")
    try:
        result = (await deployment.answered([asked]))[asked]
        assert result.data["text"] == "a dry Riesling"
    finally:
        process.stop(worker)


@dataclass
class Task:
    """A record, as aiokafka's."""

    topic: str
    value: bytes
    headers: list[tuple[str, bytes]]


async def entries(deployment: Deployment, workflow: str) -> list[tuple[Any, ...]]:
    """What each stream of the workflow has processed and stored."""
    return await deployment.rows("select stream, processed, version from streams where workflow = $1 order by stream", workflow)


async def answers(deployment: Deployment, workflow: str, count: int) -> bool:
    """Whether the worker has published so many answers in this workflow, all with one id."""
    found = await published(deployment)
    ids = [headers["ce_id"] for headers in found if headers["ce_correlationid"] == workflow]
    assert len(set(ids)) <= 1
    return len(ids) >= count


async def published(deployment: Deployment) -> list[dict[str, str]]:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        f"{deployment.settings.topic_prefix}sommelier.events",
        bootstrap_servers=deployment.settings.kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        polled = await consumer.getmany(timeout_ms=1500)
        return [{name: value.decode() for name, value in one.headers} for some in polled.values() for one in some]
    finally:
        await consumer.stop()
