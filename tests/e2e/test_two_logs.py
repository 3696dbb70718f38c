"""Two logs: the store rebuilt from Kafka alone equals the original, stream by stream, hash for hash."""

import secrets

from contracts.control import CancelWorkflow
from tests.deployment import QUESTION, RULE, Deployment


async def test_the_store_rebuilt_from_kafka_alone_is_the_same(deployment: Deployment) -> None:
    ids = await deployment.ask(*[RULE, QUESTION, {"type": "no-such-type", "data": {}}, {"text": 5}] * 12)
    await deployment.publish(ids[1], CancelWorkflow.kind, {"by": "ann"})
    await deployment.answered(ids)
    await deployment.at_rest()
    await deployment.is_whole()
    other = f"rebuilt_{secrets.token_hex(4)}"
    try:
        await deployment.hansard("audit", "rebuild", "--to", other)
        output = await deployment.hansard("audit", "compare", "--with", other)
        assert "the same, hash for hash" in output
        [(messages,)] = await deployment.rows("select count(*) from messages")
        assert await deployment.rows(f"select count(*) from {other}.messages") == [(messages,)]
        assert messages > 300
    finally:
        await deployment.rows(f"drop schema if exists {other} cascade")


async def test_everything_on_the_record_is_decided_again_with_the_same_result(deployment: Deployment) -> None:
    ids = await deployment.ask(*[RULE, QUESTION] * 5)
    await deployment.answered(ids)
    report = await deployment.verified()
    assert report.differences == []
    assert report.forged == []
    assert report.decided > 50
