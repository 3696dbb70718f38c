"""When a wake-up is claimed, and by whom."""

from collections.abc import Sequence
from datetime import timedelta
from math import inf

from shared.eventstore.ports import EventStore
from tests.edge.store_kit import EARLIER, FAR, a_stream, an_append, current, until


class WakeUps:
    async def test_a_wake_up_is_claimed_when_it_is_due_and_not_before(self, store: EventStore) -> None:
        ready, later = a_stream("planner/a"), a_stream("planner/b")
        await store.append([an_append(ready, wake_at=EARLIER), an_append(later, wake_at=EARLIER + FAR)])
        [wake_up], seconds = await store.claim_wake_ups("planner", 10, 30)
        assert (wake_up.stream, wake_up.at) == (ready, EARLIER)
        assert 0 < seconds <= 30, "its lease may end before the next is due"
        assert await store.claim_wake_ups("gateway", 10, 30) == ([], inf)

    async def test_a_claim_returns_the_seconds_until_the_next_wake_up(self, store: EventStore) -> None:
        assert await store.claim_wake_ups("planner", 10, 30) == ([], inf)
        stream = a_stream("planner/a")
        await store.append([an_append(stream)])
        await store.append([an_append(await current(store, stream), wake_at=store.now() + timedelta(seconds=500))])
        claimed, seconds = await store.claim_wake_ups("planner", 10, 30)
        assert claimed == [] and 400 < seconds <= 500

    async def test_after_a_claim_that_reached_its_limit_the_next_is_due_at_once(self, store: EventStore) -> None:
        await store.append([an_append(a_stream(f"planner/{n}"), wake_at=EARLIER + timedelta(seconds=n)) for n in range(5)])
        first, seconds = await store.claim_wake_ups("planner", 3, 60)
        assert [wake_up.stream.name for wake_up in first] == ["planner/0", "planner/1", "planner/2"] and seconds == 0
        rest, _ = await store.claim_wake_ups("planner", 3, 60)
        assert [wake_up.stream.name for wake_up in rest] == ["planner/3", "planner/4"]

    async def test_a_claimed_wake_up_is_not_claimed_again_until_its_lease_ends(self, store: EventStore) -> None:
        stream = a_stream("gateway/x/1")
        await store.append([an_append(stream, wake_at=EARLIER)])
        assert len((await store.claim_wake_ups("gateway", 10, 0.2))[0]) == 1
        assert (await store.claim_wake_ups("gateway", 10, 0.2))[0] == []

        async def again() -> Sequence[object]:
            return (await store.claim_wake_ups("gateway", 10, 30))[0]

        [wake_up] = await until(again)
        assert wake_up == (stream, EARLIER, 1)

    async def test_an_append_without_a_wake_up_removes_the_earlier_one(self, store: EventStore) -> None:
        stream = a_stream("planner/a")
        await store.append([an_append(stream, wake_at=EARLIER)])
        await store.append([an_append(stream, b'"late"', wake_at=EARLIER)])
        await store.append([an_append(await current(store, stream))])
        assert await store.claim_wake_ups("planner", 10, 60) == ([], inf)

    async def test_a_refused_append_leaves_the_wake_up(self, store: EventStore) -> None:
        stream = a_stream("planner/a")
        await store.append([an_append(stream, wake_at=EARLIER)])
        await store.append([an_append(stream)])
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("planner", 10, 60))[0]] == [stream]
