"""A request whose envelope cannot be read is refused where its sender waits: under its own id, or its Kafka key."""

import secrets

from contracts.requests import SubmitRequest
from hansard.client import Client
from tests.deployment import Deployment
from tests.published import envelope


async def test_an_unreadable_request_gets_its_refusal_under_its_own_key(deployment: Deployment) -> None:
    by_id, by_key = (f"w-{secrets.token_hex(6)}" for _ in range(2))
    await deployment.put("requests", b'{"text": "hi"}', [*envelope(by_id, SubmitRequest.kind), ("ce_time", b"yesterday")])
    await deployment.put("requests", b'{"text": "hi"}', [], key=by_key.encode())
    results = await deployment.answered([by_id, by_key])
    assert {result.kind for result in results.values()} == {"hansard.results.refused.v1"}
    assert (results[by_id].data["request"], results[by_key].data["request"]) == (by_id, "")
    assert "ce_time" in results[by_id].data["detail"] and "ce_specversion" in results[by_key].data["detail"]
    async with Client(deployment.settings.kafka, prefix=deployment.settings.topic_prefix) as client:
        assert [(await client.result(id)).status for id in (by_id, by_key)] == ["refused", "refused"]
