"""The public client in a whole deployment: free text, followed from its route to its result."""

import asyncio
import secrets
from typing import Any

import pytest

from hansard.client import Client, ClientError, NotAccepted, ask
from tests.deployment import Deployment


def client(deployment: Deployment) -> Client:
    return Client(deployment.settings.kafka, prefix=deployment.settings.topic_prefix)


async def test_free_text_is_followed_through_its_plan_to_its_result(deployment: Deployment) -> None:
    async with client(deployment) as one:
        id = await one.submit("What is a quorum?")
        seen = [message async for message in one.follow(id, timeout=90)]
        result = await one.result(id)
    names = [message.name for message in seen]
    assert result.ok and result.text and result.contributions
    assert {"request-routed", "plan-started", "task-answered", "model-replied"} <= set(names) and names[-1] == "completed"
    assert len({message.envelope.id for message in seen}) == len(seen)


async def test_many_requests_are_waited_for_at_once(deployment: Deployment) -> None:
    async with client(deployment) as one:
        requests = (one.ask(type="calculate_tax", data={"amount": str(n)}, timeout=90) for n in range(20))
        results = await asyncio.gather(*requests)
    assert all(result.ok for result in results) and len({result.id for result in results}) == 20


async def test_a_used_id_is_refused_with_another_body_and_gives_its_result_with_the_same(deployment: Deployment) -> None:
    id = secrets.token_hex(8)
    request: dict[str, Any] = {"type": "calculate_tax", "data": {"amount": "7"}}
    async with client(deployment) as one, client(deployment) as other:
        first = await one.ask(**request, id=id, timeout=90)
        assert first.ok and await other.ask(**request, id=id, timeout=90) == first
        with pytest.raises(NotAccepted, match="id-reused"):
            await other.ask(type="calculate_tax", data={"amount": "8"}, id=id, timeout=90)
        assert await one.result(id, timeout=90) == first


async def test_a_wrong_prefix_is_reported_at_once(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ClientError, match="The topics do not exist"):
        async with asyncio.timeout(10), Client(deployment.settings.kafka, prefix="no-such-prefix."):
            pass
    assert len(caplog.records) < 5


def test_without_an_event_loop(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSARD_TOPIC_PREFIX", deployment.settings.topic_prefix)
    assert ask(type="calculate_tax", data={"amount": "7"}, brokers=deployment.settings.kafka, timeout=90).ok
