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
from infra.audit.contents import whole_data
from infra.servers import Servers
from shared.content import open_contents
from tests.deployment import Deployment

BOUND = 500_000
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
        "HANSARD_CONTENT_POSTGRES_BYTES": str(BOUND),
    }
    async with Deployment.open(servers, model, **options) as deployment:
        deployment.serve(*SERVICES)
        await deployment.ready()
        yield deployment


def plan(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": "read", "steps": [{"worker": "reader", "retries": 0} | step for step in steps]}


@pytest.mark.timeout(900)
async def test_long_requests_and_answers_travel_by_reference_and_arrive_whole(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text(BIG)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan({"id": "read"})))
    words = ("ask", "--json", "--file", str(tmp_path / "big.txt"), "--plan", str(tmp_path / "plan.yaml"))
    printed = json.loads(await deployment.hansard(*words))
    assert (printed["type"], printed["data"]["text"]) == ("hansard.results.completed.v1", answer(BIG))

    essays = [{"id": f"e{n}", "instructions": f"Write essay {n}."} for n in range(4)]
    join = {"id": "join", "instructions": "Read.", "needs": [f"e{n}" for n in range(4)]}
    joined, listed = await deployment.ask(
        {"text": "Count.", "plan": plan(*essays, join)},
        {"text": "All.", "plan": plan(*essays)},
    )
    results = await deployment.answered([joined, listed])
    assert results[joined].data["text"] == "4 essays were given whole."
    store = await deployment.store()
    contents = open_contents(str(tmp_path / "contents"), store.contents, BOUND)
    whole = await whole_data(deployment.settings.topics, contents, "default", results[listed].kind, results[listed].data)
    assert whole["text"] == "\n\n".join(f"## e{n}\n\n{essay(n)}" for n in range(4))

    await deployment.at_rest()
    report = await deployment.verified()
    assert (report.differences, report.dead, report.unknown) == ([], 0, 0)
    await deployment.is_whole()
    [(largest,)] = await deployment.rows("select max(octet_length(data::text)) from messages")
    assert largest <= 300_000
    await a_content_that_is_missing_is_found_and_fails_its_call(deployment, tmp_path)


async def a_content_that_is_missing_is_found_and_fails_its_call(deployment: Deployment, tmp_path: Path) -> None:
    whole = reference_to(BIG.encode())
    file = tmp_path / "contents" / "default" / whole.sha256[:2] / whole.sha256
    await deployment.hansard("content", "verify")
    file.unlink()
    assert whole.sha256 in await deployment.hansard("content", "verify", code=1)
    body = {"text": "w0 w1 …", "text_ref": json.loads(whole.model_dump_json()), "plan": plan({"id": "read"})}
    [workflow] = await deployment.ask(body)
    failed = (await deployment.answered([workflow]))[workflow]
    assert failed.kind == "hansard.results.failed.v1"
    assert "is not in the content store" in failed.data["detail"]
