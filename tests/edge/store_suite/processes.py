"""What a store knows of the processes of a service: heartbeats, ends, attempts, and the wake-ups that they hold."""

from dataclasses import replace

import pytest

from shared.eventstore.ports import EventStore
from tests.edge.store_kit import EARLIER, FAR, a_stream, an_append, current, until


class Processes:
    async def test_a_wake_up_that_a_process_holds_is_claimed_only_after_that_process_fell_silent(self, store: EventStore) -> None:
        lost, kept = a_stream("gateway/x/1"), a_stream("gateway/x/1")
        for process in ("silent", "loud", "mine"):
            await store.process_started("gateway", process, process, True)
        far = EARLIER + FAR * 100
        await store.append([an_append(lost, wake_at=far, holder="silent"), an_append(kept, wake_at=far, holder="loud")])
        heartbeats = await store.heartbeat("gateway", "mine", {})
        assert heartbeats.keys() == {"silent", "loud"}
        assert (await store.claim_wake_ups("gateway", 10, 60))[0] == []
        assert (await store.heartbeat("gateway", "mine", {"silent": heartbeats["silent"]})).keys() == {"loud"}
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [lost]
        assert await store.process_started("gateway", "silent", "again", True) is False, "it is known to have ended"

    async def test_a_process_that_sends_a_late_heartbeat_has_not_ended(self, store: EventStore) -> None:
        for process in ("other", "mine"):
            await store.process_started("gateway", process, process, True)
        before = await store.heartbeat("gateway", "mine", {})

        async def next_heartbeat() -> bool:
            await store.heartbeat("gateway", "other", {})
            return await store.heartbeat("gateway", "mine", {}) != before

        await until(next_heartbeat)
        late = await store.heartbeat("gateway", "mine", before)
        assert late.keys() == {"other"}, "its heartbeat came before it was found silent"
        assert (await store.heartbeat("gateway", "mine", late)).keys() == set()
        await store.heartbeat("gateway", "other", {})
        stream = a_stream("gateway/x/1")
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="other")])
        assert (await store.heartbeat("gateway", "mine", {})).keys() == {"other"}
        assert (await store.claim_wake_ups("gateway", 10, 60))[0] == [], "it holds what it began after its silence"
        assert await store.process_started("gateway", "other", "next", True) is True, "and its end was not clean"

    async def test_each_heartbeat_is_a_new_time_that_only_its_own_service_sees(self, store: EventStore) -> None:
        for service, process in (("gateway", "mine"), ("gateway", "other"), ("planner", "third")):
            await store.process_started(service, process, process, True)
        first = await store.heartbeat("gateway", "mine", {})
        await until(lambda: store.heartbeat("gateway", "other", {}))
        second = await store.heartbeat("gateway", "mine", {})
        assert set(first) == set(second) == {"other"}
        assert first != second == await store.heartbeat("gateway", "mine", {})

    async def test_a_wake_up_that_an_unknown_process_holds_is_claimed_after_the_next_heartbeat(self, store: EventStore) -> None:
        stream = a_stream("gateway/x/1")
        await store.process_started("gateway", "mine", "mine", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="never began")])
        await store.heartbeat("gateway", "mine", {})
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream]

    @pytest.mark.parametrize(("name", "alone", "free"), [("a", True, True), ("b", True, False), ("a", False, False)])
    async def test_a_process_that_starts_alone_under_a_name_frees_the_wake_ups_held_under_it(
        self, store: EventStore, name: str, alone: bool, free: bool
    ) -> None:
        stream = a_stream("gateway/x/1")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="first")])
        await store.process_started("gateway", name, "second", alone)
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream] * free

    async def test_a_process_that_ends_cleanly_frees_its_wake_ups_at_once(self, store: EventStore) -> None:
        stream, other = a_stream("gateway/x/1"), a_stream("verifier/x/1")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(s, wake_at=EARLIER + FAR * 100, holder="first") for s in (stream, other)])
        await store.process_ended("gateway", "first")
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream]
        assert (await store.claim_wake_ups("verifier", 10, 60))[0] == []

    async def test_the_next_append_replaces_the_holder_of_a_wake_up(self, store: EventStore) -> None:
        stream = a_stream("gateway/x/1")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="first")])
        await store.append([an_append(await current(store, stream), wake_at=EARLIER + FAR * 100)])
        await store.process_ended("gateway", "first")
        assert (await store.claim_wake_ups("gateway", 10, 60))[0] == []

    async def test_an_append_may_keep_the_wake_up_and_its_holder(self, store: EventStore) -> None:
        stream, never = a_stream("gateway/x/1"), a_stream("gateway/x/2")
        await store.process_started("gateway", "a", "first", True)
        await store.append([an_append(stream, wake_at=EARLIER + FAR * 100, holder="first"), an_append(never)])
        await store.append([replace(an_append(await current(store, s), b"1"), keep_wake_up=True) for s in (stream, never)])
        await store.process_ended("gateway", "first")
        assert [wake_up.stream for wake_up in (await store.claim_wake_ups("gateway", 10, 60))[0]] == [stream]

    async def test_attempts_are_counted(self, store: EventStore) -> None:
        records = [("requests", 0, 17), ("requests", 1, 17)]
        assert await store.count_attempts("router", records) == [1, 1]
        assert await store.count_attempts("router", [records[1], ("control", 0, 17), records[1]]) == [2, 1, 2]
        assert await store.count_attempts("planner", records) == [1, 1]
        assert await store.count_attempts("planner", []) == []
        assert await store.count_attempts("planner", records, -1) == [0, 0]
        assert await store.count_attempts("planner", records, 0) == [0, 0]

    async def test_an_unclean_end_is_known_at_the_next_start(self, store: EventStore) -> None:
        assert await store.process_started("router", "a", "1", True) is False
        assert await store.process_started("router", "a", "2", True) is True
        assert await store.process_started("router", "b", "3", True) is False
        assert await store.process_started("planner", "a", "4", True) is False
        await store.process_ended("router", "2")
        assert await store.process_started("router", "a", "5", True) is False
        assert await store.process_started("router", "b", "6", False) is True
        assert await store.process_started("router", "b", "7", False) is True, "the one before may still run"

    async def test_the_store_answers_a_ping(self, store: EventStore) -> None:
        await store.ping()
