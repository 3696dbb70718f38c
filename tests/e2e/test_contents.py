"""Texts longer than any message, through all services: in by reference, to the model whole, and out whole again."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from contracts.catalog import SERVICES
from hansard.references import reference_to
from infra.servers import Servers
from tests.deployment import Deployment

READER = {"prompt": "You read all that you are given.", "context": 10_000_000, "max_output_tokens": 1_000_000}
BIG = " ".join(f"w{n}" for n in range(450_000))  # 3 MB
LONG_ANSWER = " ".join(f"a{n}" for n in range(90_000))  # 600 kB


def essay(number: int) -> str:
    return " ".join(f"e{number}x{n}" for n in range(32_000))  # 250 kB


def answer(asked: str) -> str:
    if "Write essay" in asked:
        return essay(int(asked.partition("Write essay ")[2][0]))
    if asked.endswith("Count."):
        return f"{[essay(n) in asked for n in range(4)].count(True)} essays were given whole."
    return f"{hashlib.sha256(asked.encode()).hexdigest()} {LONG_ANSWER}"


@pytest.fixture
async def model() -> AsyncIterator[str]:
    async def complete(request: web.Request) -> web.Response:
        asked = (await request.json())["messages"][-1]["content"]
        message = {"role": "assistant", "content": answer(asked)}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage, "model": "m"})

    served = web.Application(client_max_size=64 << 20)
    served.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(served)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    await runner.cleanup()


@pytest.fixture
async def deployment(servers: Servers, model: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    roles = tmp_path / "roles"
    roles.mkdir()
    (roles / "reader.yaml").write_text(yaml.safe_dump(READER))
    options = {
        "HANSARD_ROLES": str(roles),
        "HANSARD_CONTENT": str(tmp_path / "contents"),
        "HANSARD_CONTENT_POSTGRES_BYTES": "500000",
    }
    async with Deployment.open(servers, model, **options) as deployment:
        deployment.serve(*SERVICES)
        await deployment.ready()
        yield deployment


def plan(folder: Path, name: str, *steps: dict[str, Any]) -> str:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"name": name, "steps": [{"worker": "reader", "retries": 0} | step for step in steps]}))
    return str(file)


async def result(deployment: Deployment, *words: str) -> dict[str, Any]:
    printed = json.loads(await deployment.hansard("ask", "--json", *words))
    assert printed["type"] == "hansard.results.completed.v1", printed
    return printed["data"]  # type: ignore[no-any-return]


async def test_long_requests_and_answers_travel_by_reference_and_arrive_whole(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text(BIG)
    read = plan(tmp_path, "read", {"id": "read"})
    data = await result(deployment, "--file", str(tmp_path / "big.txt"), "--plan", read)
    assert data["text"] == answer(BIG)

    essays = [{"id": f"e{n}", "instructions": f"Write essay {n}."} for n in range(4)]
    join = {"id": "join", "instructions": "Read.", "needs": [f"e{n}" for n in range(4)]}
    data = await result(deployment, "Count.", "--plan", plan(tmp_path, "four", *essays, join))
    assert data["text"] == "4 essays were given whole."
    many = await result(deployment, "All.", "--plan", plan(tmp_path, "all", *essays))
    assert many["text"] == "\n\n".join(f"## e{n}\n\n{essay(n)}" for n in range(4))

    await deployment.at_rest()
    report = await deployment.verified()
    assert (report.differences, report.dead, report.unknown) == ([], 0, 0)
    await deployment.is_whole()
    largest = await deployment.rows("select max(octet_length(data::text)) from messages")
    assert largest[0][0] <= 300_000
    await deployment.hansard("content", "verify")
    assert await deployment.hansard("content", "collect") == ""
    await missing_contents_are_found(deployment, tmp_path)


async def missing_contents_are_found(deployment: Deployment, tmp_path: Path) -> None:
    whole = reference_to(BIG.encode())
    file = tmp_path / "contents" / "default" / whole.sha256[:2] / whole.sha256
    out = tmp_path / "out.txt"
    await deployment.hansard("content", "get", whole.sha256, "--out", str(out))
    assert out.read_text() == BIG
    file.unlink()
    assert whole.sha256 in await deployment.hansard("content", "verify", code=1)
    body = {
        "text": "w0 w1 …",
        "text_ref": json.loads(whole.model_dump_json()),
        "plan": {"steps": [{"id": "a", "worker": "reader"}]},
    }
    body["plan"]["steps"][0]["retries"] = 0
    [workflow] = await deployment.ask(body)
    failed = (await deployment.answered([workflow]))[workflow]
    assert failed.kind == "hansard.results.failed.v1"
    assert "is not in the content store" in failed.data["detail"]
    reference = json.loads(await deployment.hansard("content", "put", str(tmp_path / "big.txt"), "--type", "text/plain"))
    assert (reference["sha256"], reference["size"]) == (whole.sha256, whole.size)
    await deployment.hansard("content", "verify")
