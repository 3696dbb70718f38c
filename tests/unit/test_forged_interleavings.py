"""Genuine and forged messages in any order and any batches, while the process ends and begins again."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.planner import ExpireWorkflow
from shared.eventstore.model import StoredMessage, Stream
from shared.kafka.record import Record
from shared.runtime.claims import LETTERS_OF
from tests.unit.forged_kit import Process, Stopped, T, changed, expire
from tests.unit.internal import published, put_on_record, stored_message
from tests.unit.toy import NOON


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 40), chance=st.sampled_from([0.0, 0.2, 0.5]))
def test_whatever_is_forged_and_whenever_the_process_ends_the_genuine_messages_are_processed_as_without(
    seed: int, count: int, chance: float
) -> None:
    asyncio.run(_interleaved(random.Random(seed), count, chance))


async def _interleaved(dice: random.Random, count: int, chance: float) -> None:
    genuine = [expire(f"r{n}", f"w{n % 3}", id=UUID(int=dice.getrandbits(128))) for n in range(count)]
    alone, process = Process(), Process()
    put_on_record(alone.store, *genuine)
    put_on_record(process.store, *genuine)
    first = LETTERS_OF - 10
    records: list[Record] = []
    forged: list[int] = []
    for one in genuine:
        for _ in range(dice.choice((0, 0, 1, 2))):
            forged.append(first + len(records))
            records.append(_forgery(dice, genuine, len(records) + first))
        records.append(published(one, first + len(records)))
    for one in genuine:
        await alone.receive(published(one))
    process.store.chance, process.store.dice = chance, dice  # type: ignore[attr-defined]
    committed, tries = 0, 0
    while committed < len(records):
        size, tries = dice.randint(1, 12), tries + 1
        if tries > 500:
            process.store.chance = 0.0  # type: ignore[attr-defined]
        try:
            await process.receive(*records[committed : committed + size])
        except Stopped:
            process.restart()
            continue
        committed += size
        if dice.random() < 0.2:  # a rebalance: some of it comes again
            process.restart()
            committed = max(0, committed - dice.randint(0, 15))
    for n in range(3):
        clean, beset = await alone.history(f"w{n}"), await process.history(f"w{n}")
        assert [replace(m, position=0, transaction=0) for m in clean.messages] == [
            replace(m, position=0, transaction=0) for m in beset.messages
        ]
        assert clean.entries == beset.entries
    filed = [offset for letter in await process.letters() for offset in letter.offsets]
    assert len(filed) == len(set(filed)) and set(filed) <= set(forged), "each once, and nothing genuine"
    unnamed = [records[at - first] for at in set(forged) - set(filed)]
    ids = {str(one.id): one.hash for one in genuine}
    assert all(ids.get(_header(one, "ce_id")) and _header(one, "ce_type") == ExpireWorkflow.kind for one in unnamed)


def _header(record: Record, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def _forgery(dice: random.Random, genuine: Sequence[StoredMessage], offset: int) -> Record:
    """Forged out of a genuine message that has come, or is still to come."""
    of = published(dice.choice(genuine), offset)
    match dice.randint(0, 3):
        case 0:
            return published(expire(f"forged {offset}", f"w{dice.randint(0, 5)}", id=UUID(int=dice.getrandbits(128))), offset)
        case 1:
            return changed(of, time=f"2031-01-01T00:00:00.{offset:06}Z")
        case 2:
            return of._replace(value=None)
        case _:
            message = ExpireWorkflow(request=f"forged {offset}", deadline=NOON)
            other = stored_message(message, Stream("default", "w1", "router"), T, id=UUID(_header(of, "ce_id")))
            return published(replace(other, stream=other.stream._replace(workflow=(of.key or b"").decode())), offset)
