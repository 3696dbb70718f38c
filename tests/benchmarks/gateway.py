"""The gateway alone, called by message, beside the bare SDK in the same rounds: what it adds to a model call.

One process of the gateway, real Kafka and Postgres, a scripted model that answers at once. The SDK is called as the gateway
calls it in latency's best case: one client, its connections kept, on the same transport.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import openai

from contracts.gateway import CallModel, ChatMessage, ModelFailed, ModelReplied
from hansard.codec import encode
from hansard.envelope import Envelope, headers
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
        return self

    async def publish(self, name: str, body: Mapping[str, Any]) -> None:
        call = CallModel(
            call="bench/call/1",
            messages=(ChatMessage(role="user", content=QUESTION),),
            deadline=datetime.now(UTC) + timedelta(seconds=60),
        )
        data = encode(call)
        envelope = Envelope(name, "/hansard/specialists", CallModel.kind, data, name)
        await self._producer.send(self.into, data, name.encode(), headers=headers(envelope))

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
