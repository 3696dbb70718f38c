"""The gateway alone, called by message, beside the bare SDK in the same run: what it adds to a model call.

One process of the gateway, real Kafka and Postgres, a scripted model that answers at once. The SDK is called as the gateway
calls it in latency's best case: one client, its connections kept, on the same transport.
"""

import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import openai

from contracts.codec import encode
from contracts.envelope import Envelope, headers
from contracts.gateway import CallModel, ChatMessage, ModelFailed, ModelReplied
from infra.servers import Addresses
from tests.benchmarks.kit import Caller, House, Measured, closed, house, spread
from tests.benchmarks.workflows import scripted

QUESTION = "Why is the record verbatim?"
LOADS = {1: 300, 32: 2000, 256: 4000}
ENDS = {ModelReplied.kind.encode(), ModelFailed.kind.encode()}


async def measure(addresses: Addresses, loads: Mapping[int, int] = LOADS) -> AsyncIterator[Measured]:
    with scripted() as url:
        settings = {"model_url": url, "model_name": "ok", "model_key": "scripted"}
        async with house(addresses, "gateway", **settings) as it, Calls(it, "gateway.commands", "gateway.replies") as calls:
            for concurrency, count in loads.items():
                bare = await _bare(url, concurrency, count)
                yield bare
                ours = await _ours(it, calls, concurrency, count)
                yield ours
                more = {"added_p50_ms": round(ours.p50_ms - bare.p50_ms, 3), "added_cpu_ms": round(ours.cpu_ms - bare.cpu_ms, 3)}
                yield Measured("gateway over SDK", "one model call", concurrency, more=more)


class Calls(Caller):
    """Asks the gateway as a service does, and hears its answer."""

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


async def _ours(it: House, calls: Calls, concurrency: int, count: int) -> Measured:
    await closed(lambda: calls.call({}), concurrency, max(concurrency, 20))
    before = it.cpu()["gateway"]
    rate, seconds = await closed(lambda: calls.call({}), concurrency, count)
    cpu = (it.cpu()["gateway"] - before) * 1000 / count
    failed = sum(kind == ModelFailed.kind for _, kind in calls.results.values())
    return Measured("gateway", "one model call", concurrency, rate, *spread(seconds), cpu, {"failed": failed} if failed else {})


async def _bare(url: str, concurrency: int, count: int) -> Measured:
    async with openai.AsyncOpenAI(base_url=url, api_key="scripted", http_client=openai.DefaultAioHttpClient()) as sdk:

        async def call() -> float:
            began = time.perf_counter()
            await sdk.chat.completions.create(model="ok", messages=[{"role": "user", "content": QUESTION}], max_tokens=512)
            return time.perf_counter() - began

        await closed(call, concurrency, max(concurrency, 20))
        before = time.process_time()
        rate, seconds = await closed(call, concurrency, count)
        cpu = (time.process_time() - before) * 1000 / count
    return Measured("floor: SDK", "one model call", concurrency, rate, *spread(seconds), cpu)
