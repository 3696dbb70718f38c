"""The gateway alone, called by message, beside the bare SDK in the same rounds: what it adds to a model call.

One process of the gateway, real Kafka and Postgres, a scripted model that answers at once. The SDK is called as the gateway
calls it in latency's best case: one client, its connections kept, on the same transport.
"""

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg
import openai

from contracts.gateway import CallModel, ChatMessage, ModelFailed, ModelReplied
from shared.eventstore.model import StoredMessage
from shared.kafka.producer import headers
from tests.as_service import put_on_record, stored_as_now
from tests.benchmarks.closed import closed
from tests.benchmarks.deployments import Caller, Ours, deployed
from tests.benchmarks.kit import Bench, Run, Side, rounds
from tests.benchmarks.tables import Cell, Section, compared
from tests.benchmarks.trees import TODAY

QUESTION = "Why is the record verbatim?"
CELLS = [Cell("model call", c, n, max(c, 20), calls=1) for c, n in {1: 100, 32: 1000, 256: 2000}.items()]
FIRST = Cell("model call", 32, 500, 0)
ENDS = {ModelReplied.kind.encode(), ModelFailed.kind.encode()}


async def measure(bench: Bench, run: Run) -> Section:
    settings = {"model_url": bench.model, "model_name": "ok", "model_key": "scripted"}
    cells = run.cells(CELLS)
    async with AsyncExitStack() as opened:
        it = await opened.enter_async_context(deployed(bench, TODAY, "gateway", **settings))
        calls = await opened.enter_async_context(Calls(it, "gateway.commands", "gateway.replies"))
        gateway = Ours(TODAY.name, calls, {"model call": {}}, ends=ModelReplied.kind)
        sdk = await opened.enter_async_context(
            openai.AsyncOpenAI(base_url=bench.model, api_key="scripted", http_client=openai.DefaultAioHttpClient())
        )
        sides: list[Side] = [gateway, Bare(sdk)]
        await calls.prepare(FIRST.count + sum(cell.count + cell.warm for cell in cells) * run.rounds)
        for side in sides:
            await side.loop(FIRST, FIRST.at_once, FIRST.count)
        samples = await rounds(bench, "gateway", sides, cells, run.rounds)
    added = [
        f"- At {cell.at_once} it adds {median(a.p50_ms - b.p50_ms for a, b in pairs):.1f} ms to the p50 and "
        f"{median(sum(a.cpu.values()) - sum(b.cpu.values()) for a, b in pairs):.2f} ms of CPU, broker and database included."
        for cell in cells
        if (pairs := list(zip(samples[cell, TODAY.name], samples[cell, Bare.name], strict=True)))
    ]
    return Section("Gateway", [compared(samples, TODAY.name), "\n".join(added)])


class Calls(Caller):
    """Calls the gateway as a service does, and receives its answer."""

    async def __aenter__(self) -> "Calls":
        await super().__aenter__()
        self._ready: list[StoredMessage] = []
        return self

    async def prepare(self, count: int) -> None:
        """Puts calls on the record, as the service that asks would have: not a part of what is measured."""
        call = CallModel(
            call="bench/call/1",
            messages=(ChatMessage(role="user", content=QUESTION),),
            deadline=datetime.now(UTC) + timedelta(hours=6),
        )
        self._ready = [stored_as_now(call, "gateway.commands", uuid.uuid4().hex) for _ in range(count)]
        at = {"search_path": self.deployment.schema}
        connection = await asyncpg.connect(self.deployment.bench.addresses.postgres, server_settings=at)
        try:
            await put_on_record(connection, self._ready)
        finally:
            await connection.close()

    async def call(self, body: Mapping[str, Any], timeout: float = 120) -> None:
        stored = self._ready.pop()
        name = stored.stream.workflow
        self._waiting[name] = asyncio.get_running_loop().create_future()
        await self._producer.send(self.into, stored.data, name.encode(), headers=headers(stored))
        await asyncio.wait_for(self._waiting[name], timeout)

    def ends(self, kind: bytes) -> bool:
        return kind in ENDS


@dataclass(frozen=True)
class Bare:
    """The SDK alone, in this process."""

    sdk: openai.AsyncOpenAI
    name: str = "the bare SDK"
    shares: tuple[str, ...] = ("model", "load")

    async def loop(self, cell: Cell, concurrency: int, count: int) -> tuple[float, list[float]]:
        return await closed(self._call, concurrency, count)

    async def _call(self) -> None:
        await self.sdk.chat.completions.create(model="ok", messages=[{"role": "user", "content": QUESTION}], max_tokens=512)
