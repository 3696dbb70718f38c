"""The gateway against a server with the OpenAI interface that is not ours: aimock, from npm, run by a wheel's Node."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.gateway.config import Endpoint
from tests.edge.test_gateway_openai_client import SCHEMA, TOOL, asks, failed, once, replied, tiers
from tests.npm import NODE, installed

HERE = Path(__file__).parents[1] / "scripted" / "aimock"


@pytest.fixture(scope="module")
def aimock() -> Iterator[str]:
    beside = installed(HERE)
    script = Path(shutil.copy(HERE / "serve.mjs", beside))
    process = subprocess.Popen([str(NODE), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=20)


@pytest.fixture
def endpoint(aimock: str) -> Endpoint:
    return Endpoint(name="first", url=f"{aimock}/v1", model="gpt-4o", price="listed")


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_another_servers_answers_are_read(endpoint: Endpoint, api: str) -> None:
    reply = replied(await once(tiers(endpoint), asks("Why is the sky blue?", api=api)))
    assert reply.text == "Rayleigh scattering."
    assert reply.finish_reason == "stop"
    assert reply.cost > 0


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_another_servers_structured_output_and_tool_calls_are_read(endpoint: Endpoint, api: str) -> None:
    reply = replied(await once(tiers(endpoint), asks("structured", api=api, response_schema=SCHEMA)))
    assert (reply.data, reply.confidence) == ({"answer": "yes", "confidence": 0.8, "sources": []}, 0.8)
    (called,) = replied(await once(tiers(endpoint), asks("weather", api=api, tools=(TOOL,)))).tool_calls
    assert (called.name, "Rome" in called.arguments) == ("weather", True)


@pytest.mark.parametrize(("question", "reason"), [("broken", "error"), ("limited", "rate-limit"), ("nothing", "refused")])
async def test_another_servers_errors_are_falls(endpoint: Endpoint, question: str, reason: Any) -> None:
    assert failed(await once(tiers(endpoint), asks(question))).fall.reason == reason
