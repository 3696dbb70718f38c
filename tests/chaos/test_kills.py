"""A thousand requests while everything is killed: services, then the database, then the broker."""

import asyncio
import json
import random
import secrets
from collections.abc import Sequence

from contracts.catalog import SERVICES
from infra.servers import Servers
from tests.deployment import Deployment
from tests.published import Json, envelope

THOUSAND = 1000
KILLS = 8


def mixed(n: int) -> Json:
    """Of ten: six for a rule, two free ones, one refused by its rule, one invalid."""
    match n % 10:
        case 0 | 1:
            return {"text": f"What is the meaning of motion {n}?"}
        case 2:
            return {"type": "calculate_tax", "data": {"amount": "a lot"}}
        case 3:
            return {"text": n}
        case _:
            return {"type": "calculate_tax", "data": {"amount": str(n)}}


EXPECTED = {0: "completed", 1: "completed", 2: "refused", 3: "refused"}


async def test_each_of_a_thousand_requests_has_one_result_whatever_is_killed(own: Servers, scripted: str) -> None:
    chance = random.Random(20260105)
    async with Deployment.open(own, scripted, HANSARD_LEASE_SECONDS="2") as deployment:
        deployment.serve_all()
        await deployment.ready()
        await deployment.listen()
        ids = [f"k-{secrets.token_hex(6)}" for _ in range(THOUSAND)]
        asking = asyncio.create_task(ask(deployment, ids))

        for n in range(KILLS):
            await deployment.answered_so_far((n + 1) * THOUSAND // 12)
            key = f"{chance.choice(SERVICES)}/1"
            await deployment.kill(key)
            deployment.restart(key)
        await deployment.answered_so_far(THOUSAND * 9 // 12)
        await asyncio.to_thread(own.restart_postgres, kill=True)
        await deployment.answered_so_far(THOUSAND * 10 // 12)
        await asyncio.to_thread(own.stop_broker, 1, kill=True)
        await asyncio.to_thread(own.start_broker, 1)

        await asking
        results = await deployment.answered(ids, 180)
        ends = {id_: result.kind.split(".")[2] for id_, result in results.items()}
        assert ends == {id_: EXPECTED.get(n % 10, "completed") for n, id_ in enumerate(ids)}
        await deployment.at_rest()
        await deployment.is_whole()
        report = await deployment.verified()
        assert report.differences == []
        assert report.forged == []
        assert await deployment.rows("select count(distinct workflow) from messages") == [(THOUSAND,)]


async def ask(deployment: Deployment, ids: Sequence[str]) -> None:
    """Keeps at most 150 unanswered; every seventh request is sent twice, the second time later."""
    producer, topic = await deployment.producer(), deployment.settings.topic_prefix + "requests"
    again: list[int] = []
    for n, id_ in enumerate(ids):
        while n - len(deployment.results) > 150:
            await asyncio.sleep(0.05)
        await producer.send(topic, json.dumps(mixed(n)).encode(), key=id_.encode(), headers=envelope(id_))
        again += [n] * (n % 7 == 0)
        if len(again) > 10:
            m = again.pop(0)
            await producer.send(topic, json.dumps(mixed(m)).encode(), key=ids[m].encode(), headers=envelope(ids[m]))
    await producer.flush()
