"""The work of a workflow in plain functions, and the protocol of a worker: one JSON object a line, in and out."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any

import openai

from tests.benchmarks.closed import closed
from tests.benchmarks.passages import PASSAGES

FAN = 16
QUESTION = "Why is the record verbatim?"
Json = dict[str, Any]


def route(question: str) -> Json:
    return {"kind": "specialist", "question": question.strip()}


def retrieve(routed: Json) -> list[Json]:
    return [{"source": source, "text": text, "for": routed["kind"]} for source, text in PASSAGES]


def verify(answer: str, passages: Sequence[Json]) -> Json:
    return {"passed": bool(answer.strip()), "sources": [passage["source"] for passage in passages]}


def finish(answer: str, verdict: Json) -> Json:
    return {"answer": answer, **verdict}


def plan(steps: int) -> list[Json]:
    return [{"step": f"s{n}", "task": QUESTION} for n in range(steps)]


def perform(step: Json) -> Json:
    return {"step": step["step"], "text": "Three passages.", "passages": [list(one) for one in PASSAGES]}


def join(answers: Sequence[Json]) -> Json:
    return {"steps": len(answers), "passages": sum(len(one["passages"]) for one in answers)}


async def generate(model: str, question: str, passages: Sequence[Json]) -> str:
    """One call through the SDK, without retries: the peer retries steps itself."""
    context = "\n".join(f"[{n}] {passage['text']}" for n, passage in enumerate(passages, 1))
    reply = await _client(model).chat.completions.create(
        model="ok",
        messages=[
            {"role": "system", "content": "Answer from the passages only."},
            {"role": "user", "content": f"{context}\n\n{question}"},
        ],
        max_tokens=512,
    )
    return reply.choices[0].message.content or ""


@cache
def _client(model: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=model, api_key="scripted", max_retries=0, http_client=openai.DefaultAioHttpClient())


def check(workload: str, result: Mapping[str, Any]) -> None:
    """Raises ValueError where a workflow's result is wrong."""
    if not (result["passed"] if workload == "w1" else result["steps"] == FAN):
        raise ValueError(f"{workload} gave {result}")


async def serve(workflows: Mapping[str, Callable[[], Awaitable[Json]]]) -> None:
    """Runs closed loops of these workflows, as standard input asks for them. Ends with it, also in the middle of one."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps("ready"), flush=True)
    line = await lines.readline()
    while line:
        wanted = json.loads(line)

        async def one(workload: str = wanted["workload"]) -> None:
            check(workload, await workflows[workload]())

        done, more = (
            asyncio.ensure_future(closed(one, wanted["at_once"], wanted["count"])),
            asyncio.ensure_future(lines.readline()),
        )
        await asyncio.wait((done, more), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            os._exit(1)  # the caller has ended
        rate, taken = done.result()
        print(json.dumps({"rate": rate, "taken": taken}), flush=True)
        line = await more
