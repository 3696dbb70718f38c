"""What several processes of the gateway find in the cache."""

from decimal import Decimal
from uuid import UUID

import pytest

from contracts.gateway import ModelReplied, ReplyRejected
from hansard.codec import decode
from shared.eventstore.memory import InMemoryEventStore
from shared.eventstore.ports import EventStore
from tests.edge.test_gateway_processes import NEVER, any_store, chain, messages_of, process, server, skewed
from tests.scripted import Scripted

__all__ = ["any_store", "server"]


LEARNS = {"learning": {"hours": 1}, "circuits": NEVER}


async def test_if_no_endpoint_answers_a_good_answer_is_used_again_and_names_its_source(
    server: Scripted, any_store: EventStore
) -> None:
    table = chain(server, "ok+500", **LEARNS)
    async with process(table, any_store) as one:
        first = await one.call("What is a quorum?")
        assert first.tier == "first"
    async with process(table, any_store) as other:
        again = await other.call("what is a QUORUM")
        assert (again.tier, again.text, again.cost, again.model) == ("cache", first.text, Decimal(0), first.model)
        assert again.confidence == first.confidence
        assert [fall.reason for fall in again.falls] == ["error"]
        assert again.learned is not None
        source = (await any_store.find_messages([UUID(again.learned.event)]))[UUID(again.learned.event)]
        assert decode(ModelReplied, source.data) == first
        assert again.learned.at == source.at
        other_question = await other.call("What is a majority?")
        assert (other_question.tier, other_question.learned) == ("rules", None)


async def test_no_tenant_gets_the_answer_of_a_different_tenant(server: Scripted, any_store: EventStore) -> None:
    table = chain(server, "ok+500", **LEARNS)
    async with process(table, any_store) as one:
        await one.call("What is a quorum?", tenant="acme")
    async with process(table, any_store) as one:
        assert (await one.call("What is a quorum?", tenant="other")).tier == "rules"
        assert (await one.call("What is a quorum?", tenant="acme")).tier == "cache"


async def test_a_rejected_answer_is_not_used_again_but_the_next_good_one_is(server: Scripted, any_store: EventStore) -> None:
    table = chain(server, "ok+ok+500+ok+500", **LEARNS)
    async with process(table, any_store) as one:
        good = await one.call("What is a quorum?")
        await one.call("What is a majority?")
        await one.reject_last()
        marks = [message for message in await messages_of(any_store, one.last) if isinstance(message, ReplyRejected)]
        assert [mark.reasons for mark in marks] == [("It is a refusal.",)]
    async with process(table, any_store) as other:
        assert (await other.call("What is a majority?")).tier == "rules"
        better = await other.call("What is a majority?")
        assert better.tier == "first"
    async with process(table, any_store) as third:
        again, kept = await third.call("What is a majority?"), await third.call("What is a quorum?")
        assert [answer.tier for answer in (again, kept)] == ["cache", "cache"]
        assert (again.text, kept.text) == (better.text, good.text)
        assert again.learned is not None
        assert again.learned.workflow == other.last.workflow


async def test_an_answer_that_is_too_old_by_the_stores_clock_is_not_used_again(server: Scripted) -> None:
    store = skewed(hours := [-2])
    table = chain(server, "ok+500", **LEARNS)
    async with process(table, store) as one:
        await one.call("What is a quorum?")
    hours[0] = 0
    async with process(table, store) as one:
        answer = await one.call("What is a quorum?")
        assert answer.tier == "rules"
        assert "too old" in answer.falls[1].detail


@pytest.mark.parametrize("script", ["cut+500", "empty+500"])
async def test_an_answer_that_is_cut_off_or_empty_is_not_used_again(server: Scripted, script: str) -> None:
    store = InMemoryEventStore()
    table = chain(server, script, **LEARNS | {"repairs": 0})
    for _ in range(2):
        async with process(table, store) as one:
            last = await one.call("What is a quorum?")
    assert last.tier == "rules"


async def test_an_answer_of_low_confidence_is_not_used_again(server: Scripted) -> None:
    store = InMemoryEventStore()
    table = chain(server, "ok+500", **LEARNS, endpoint={"confidence": 0.3})
    for _ in range(2):
        async with process(table, store) as one:
            last = await one.call("What is a quorum?")
    assert last.tier == "rules"
