"""Two logs, one truth: the store rebuilt from Kafka alone equals the original, stream by stream, hash for hash."""

import secrets

from contracts.control import CancelWorkflow
from tests.house import QUESTION, RULE, House


async def test_the_store_rebuilt_from_kafka_alone_is_the_same(house: House) -> None:
    ids = await house.ask(*[RULE, QUESTION, {"type": "no-such-type", "data": {}}, {"text": 5}] * 12)
    await house.tell(ids[1], CancelWorkflow.kind, {"by": "ann"})
    await house.answered(ids)
    await house.at_rest()
    await house.is_whole()
    other = f"rebuilt_{secrets.token_hex(4)}"
    try:
        await house.hansard("audit", "rebuild", "--to", other)
        told = await house.hansard("audit", "compare", "--with", other)
        assert "the same, hash for hash" in told
        [(events,)] = await house.rows("select count(*) from messages")
        assert await house.rows(f"select count(*) from {other}.messages") == [(events,)]
        assert events > 300
    finally:
        await house.rows(f"drop schema if exists {other} cascade")


async def test_everything_on_the_record_is_decided_again_and_comes_out_the_same(house: House) -> None:
    ids = await house.ask(*[RULE, QUESTION] * 5)
    await house.answered(ids)
    report = await house.verified()
    assert report.differences == []
    assert report.strangers == []
    assert report.decided > 50
