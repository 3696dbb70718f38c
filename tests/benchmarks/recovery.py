"""`kill -9` of a service half way through 2,000 requests, and its restart: how soon things go on."""

import asyncio
import time
from collections.abc import AsyncIterator

from infra.servers import Addresses
from tests.benchmarks.hop import REQUEST
from tests.benchmarks.kit import Caller, Measured, house

COUNT, AT_ONCE = 2000, 64


async def measure(addresses: Addresses) -> AsyncIterator[Measured]:
    async with house(addresses, "router") as it, Caller(it) as caller:
        await caller.call(REQUEST)
        slots, killed, back = asyncio.Semaphore(AT_ONCE), 0.0, 0.0

        async def one() -> None:
            async with slots:
                await caller.call(REQUEST)

        began = time.perf_counter()
        calls = [asyncio.create_task(one()) for _ in range(COUNT)]
        while len(caller.results) < COUNT // 2:
            await asyncio.sleep(0.001)
        it.processes["router"].kill()
        it.processes["router"].wait()
        killed = time.perf_counter()
        it.serve("router")
        await asyncio.gather(*calls)
        arrivals = sorted(at for at, _ in caller.results.values())
        before = COUNT / 2 / (killed - began)
        after = [at for at in arrivals if at > killed + 0.05]
        back = next((at for at, later in zip(after, after[100:], strict=False) if 100 / (later - at) >= before * 0.9), after[-1])
        yield Measured(
            "recovery", f"kill -9 of the router at half of {COUNT:,} requests", AT_ONCE, before,
            more={"first_result_s": after[0] - killed, "rate_before_s": back - killed, "results": len(caller.results) - 1},
        )  # fmt: skip
