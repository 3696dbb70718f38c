"""Kills while hostile messages come among the requests: no workflow hangs, every neighbour is served, forged messages are named.

The hostile ones: huge headers and keys, deep data, replies of the model without end, forged internal messages and results.
"""

import asyncio
import json
import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from contracts.catalog import SERVICES
from contracts.results import WorkflowCompleted
from infra.servers import Servers
from shared.eventstore.model import StoredMessage
from tests.as_service import stored_as_now
from tests.chaos.conftest import LARGE
from tests.deployment import QUESTION, RULE, Deployment
from tests.e2e.test_forged import KINDS, as_stored, forge, forgeries
from tests.processes import until
from tests.published import Json, envelope

ROUNDS = 40 if LARGE else 6
SEED = 20261127
REFUSED = "hansard.results.refused.v1"
ENDS = {"hansard.results.completed.v1", "hansard.results.failed.v1"}


def deep(levels: int) -> bytes:
    return b'{"type": "calculate_tax", "data": {"amount": ' + b"[" * levels + b"]" * levels + b"}}"


def hostile(n: int) -> Iterable[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]:
    """Requests that are refused: id, key, body and more headers."""
    body = json.dumps(RULE).encode()
    yield f"headers-{n}", b"k", body, [("x-huge", b"h" * 700_000)]
    yield f"many-headers-{n}", b"k", body, [(f"x-{m}", b"h" * 1000) for m in range(600)]
    yield f"key-{n}", b"k" * 700_000, body, []
    yield f"deep-{n}", b"k", deep(150), []
    yield f"deeper-{n}", b"k", deep(240), []
    yield f"number-{n}", b"k", b'{"type": "calculate_tax", "data": {"amount": 1e400}}', []


@pytest.mark.timeout(5400)
async def test_hostile_messages_among_kills_hang_no_workflow_and_harm_no_neighbour(own: Servers, scripted: str) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    script = "ok+ok+endless+ok+ok+ok+endless+ok"
    async with Deployment.open(own, scripted, script=script, HANSARD_LEASE_SECONDS="2") as deployment:
        deployment.serve_all()
        await deployment.ready()
        [first] = await deployment.ask(QUESTION)
        await deployment.answered([first])
        genuine = [as_stored(one) for one in deployment.published if one.workflow == first and one.kind in KINDS]

        good, questions, refused, forged = [], [], [], set[str]()
        for n in range(ROUNDS):
            good += await deployment.ask(*[RULE] * 4)
            questions += await deployment.ask(*asked(n))
            refused += await put_all(deployment, n)
            forged |= await forge(deployment, *forgeries_of(genuine, good[-1]))
            if n % 2:
                key = f"{chance.choice(SERVICES)}/1"
                await deployment.kill(key)
                deployment.restart(key)
            if n == ROUNDS // 2:
                await asyncio.to_thread(own.restart_postgres, kill=True)

        results = await on_record(deployment, [*good, *questions, *refused])
        assert {results[id_] for id_ in good} == {"hansard.results.completed.v1"}
        assert {results[id_] for id_ in questions} <= ENDS
        assert {id_: results[id_] for id_ in refused} == dict.fromkeys(refused, REFUSED)
        await deployment.at_rest()
        audit = json.loads((await deployment.hansard("audit", "verify", "--against-kafka", "--json", code=3)).splitlines()[-1])
        assert (set(audit["forged"]), audit["differences"]) == (forged, 0)
        about = await deployment.rows("select count(*) from messages where data->>'message_kind' like '%dead-letter%'")
        assert about == [(0,)], "there is no dead letter about a dead letter"


async def on_record(deployment: Deployment, ids: Sequence[str]) -> dict[str, str]:
    """Waits until each of these workflows has its result on the record, whatever lies on the topic; returns their kinds."""
    results: dict[str, str] = {}

    async def all_there() -> bool:
        results.update(await deployment.rows("select workflow, kind from messages where topic = 'results'"))
        return results.keys() >= set(ids)

    await until(all_there, lambda: f"no result for {sorted(set(ids) - results.keys())[:8]}", 600)
    return results


def asked(n: int) -> list[Json]:
    return [QUESTION | {"text": f"What is a quorum, asked for the {n}th time?"}, {"text": f"What is the meaning of motion {n}?"}]


async def put_all(deployment: Deployment, n: int) -> list[str]:
    """Publishes the hostile requests of a round; returns their ids."""
    tag, ids = secrets.token_hex(4), []
    for name, key, body, more in hostile(n):
        ids.append(f"{name}-{tag}")
        await deployment.put("requests", body, [*envelope(ids[-1]), *more], key)
    return ids


def forgeries_of(genuine: list[StoredMessage], victim: str) -> list[StoredMessage]:
    lie = stored_as_now(WorkflowCompleted(text="a lie", answered_by="rule"), "results", victim, "router")
    return [*forgeries([replace(one, id=uuid4(), version=900) for one in genuine[:2]]), lie]
