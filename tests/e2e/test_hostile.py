"""At each door a hundred hostile or broken messages among valid ones: each is dead or refused, and the valid are answered."""

import asyncio
import json
import secrets
from collections.abc import Iterable, Sequence

from tests.deployment import RULE, Deployment
from tests.e2e.hostile import Hostile, at_control, at_requests
from tests.edge.kafka_kit import put_raw
from tests.processes import until
from tests.published import envelope

SLOW = {"text": "Implement a function that counts words."}  # for a coder: the scripted model takes five seconds for it
DEAD_LETTERS = """select data->>'topic', (data->>'partition')::int, (data->>'offset')::bigint, data->>'reason'
                 from messages where topic = 'dead-letters'"""


async def test_hostile_messages_on_requests_are_dead_or_refused_and_valid_ones_are_answered(deployment: Deployment) -> None:
    tag = f"h{secrets.token_hex(3)}"
    [answered] = await deployment.ask(RULE)
    first = (await deployment.answered([answered]))[answered]
    again = json.dumps(RULE).encode()
    hostile = [one if one.name != "the request again" else Hostile(one.name, "silent", one.headers, again, one.workflow)
               for one in at_requests(tag, answered, first.id)]  # fmt: skip
    assert len(hostile) >= 100
    await put_raw(deployment.settings, "requests", b"\xff\xfe\x00", b'{"text": "a header whose name is no text"}')
    good = [f"{tag}-good-{n}" for n in range(len(hostile) // 5)]
    limit = json.dumps(RULE).encode()
    places = await among(deployment, "requests", hostile, good)
    headers = envelope(f"{tag}-at-the-limit")
    room = 256 * 1024 - len(limit) - sum(len(name) + len(value) for name, value in headers)
    await deployment.put("requests", limit[:-1] + b" " * room + limit[-1:], headers)
    alone = {"source": f"/{tag}"}  # of the source of the hostile ones, one of them may have come under this id first
    await deployment.put("requests", limit, envelope(first.id, workflow=f"{tag}-by-the-id-of-an-event", **alone))

    results = await deployment.answered([*good, f"{tag}-at-the-limit", f"{tag}-by-the-id-of-an-event", *refused(hostile)])
    wrong = [id_ for id_ in refused(hostile) if results[id_].kind != "hansard.results.refused.v1"]
    assert wrong == []
    assert {results[id_].kind for id_ in results if id_ not in set(wrong) and id_ not in set(refused(hostile))} == {
        "hansard.results.completed.v1"
    }
    assert deployment.results[answered] == [first]
    await deployment.put("requests", limit, envelope(first.id, workflow=f"{tag}-under-another-key", **alone))
    await until(lambda: f"{tag}-under-another-key" in {one.workflow for one in deployment.dead_letters(reason="id-reused")},
                "the same request under another key is a dead letter")  # fmt: skip
    await dead(deployment, "requests", hostile, places)
    await deployment.at_rest()
    await deployment.is_whole()


async def test_hostile_messages_on_control_are_dead_or_change_nothing_and_requests_are_answered(deployment: Deployment) -> None:
    tag = f"c{secrets.token_hex(3)}"
    answered, running = await deployment.ask(RULE, SLOW)
    first = (await deployment.answered([answered]))[answered]
    hostile = list(at_control(tag, answered, running))
    assert len(hostile) >= 100
    good = [f"{tag}-good-{n}" for n in range(len(hostile) // 5)]
    places = await among(deployment, "control", hostile, good)
    results = await deployment.answered([*good, running])
    assert {result.kind for result in results.values()} == {"hansard.results.completed.v1"}
    assert deployment.results[answered] == [first]
    await dead(deployment, "control", hostile, places)
    await deployment.at_rest()
    await deployment.is_whole()
    assert f"forged-{answered}" not in deployment.results


async def among(
    deployment: Deployment, topic: str, hostile: Sequence[Hostile], good: Sequence[str]
) -> list[tuple[str, int, int]]:
    """Publishes these with valid requests between them; returns the place of each."""
    producer = await deployment.producer()
    sent = []
    for n, one in enumerate(hostile):
        headers = one.headers if one.name != "a header twice" else [*one.headers, ("ce_id", b"a"), ("ce_id", b"b")]
        sent.append(await producer.send(deployment.settings.topic_prefix + topic, one.body, key=one.key, headers=headers))
        if n % 5 == 4:
            await deployment.ask(RULE, ids=[good[n // 5]])
    places = await asyncio.gather(*sent)
    return [(topic, place.partition, place.offset) for place in places]


def refused(hostile: Iterable[Hostile]) -> list[str]:
    return [one.workflow for one in hostile if one.fate == "refused"]


async def dead(deployment: Deployment, topic: str, hostile: Sequence[Hostile], places: Sequence[tuple[str, int, int]]) -> None:
    """Waits until each that must be dead-lettered is, and asserts that no silent one is."""
    wanted = {place: one.name for place, one in zip(places, hostile, strict=True) if one.fate == "dead"}
    letters: dict[tuple[str, int, int], list[str]] = {}

    async def all_dead() -> bool:
        letters.clear()
        for *place, reason in await deployment.rows(DEAD_LETTERS):
            letters.setdefault((place[0], place[1], place[2]), []).append(reason)
        return wanted.keys() <= letters.keys()

    await until(all_dead, lambda: f"not dead: {[wanted[place] for place in wanted.keys() - letters.keys()]}", 30)
    silent = [one.name for place, one in zip(places, hostile, strict=True) if one.fate == "silent" and place in letters]
    assert silent == []
