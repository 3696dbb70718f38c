"""Restate's worker: one service of two handlers, served as its documentation says for production. `… PORT MODEL`"""

# mypy: disable-error-code="import-not-found, untyped-decorator"

import sys
from typing import Any

import restate
import uvloop
from hypercorn import Config
from hypercorn.asyncio import serve

from tests.benchmarks.peers import work

MODEL = sys.argv[2] if len(sys.argv) > 2 else ""
MOST = 2**31 - 1

bench = restate.Service("bench")


@bench.handler()
async def w1(ctx: restate.Context, _: dict[str, Any]) -> dict[str, Any]:
    routed = await ctx.run_typed("route", work.route, question=work.QUESTION)
    passages = await ctx.run_typed("retrieve", work.retrieve, routed=routed)
    answer = await ctx.run_typed("generate", work.generate, model=MODEL, question=work.QUESTION, passages=passages)
    verdict = await ctx.run_typed("verify", work.verify, answer=answer, passages=passages)
    finished: dict[str, Any] = await ctx.run_typed("finish", work.finish, answer=answer, verdict=verdict)
    return finished


@bench.handler()
async def w2(ctx: restate.Context, _: dict[str, Any]) -> dict[str, Any]:
    steps = await ctx.run_typed("plan", work.plan, steps=work.FAN)
    done = await restate.gather(*(ctx.run_typed(step["step"], work.perform, step=step) for step in steps))
    joined: dict[str, Any] = await ctx.run_typed("join", work.join, answers=[await one for one in done])
    return joined


async def main(port: str) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = config.keep_alive_timeout = MOST
    await serve(restate.app(services=[bench]), config)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
