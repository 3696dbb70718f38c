"""The index of answers by which a paid answer is found again."""

from dataclasses import replace
from uuid import uuid4

from shared.eventstore.ports import EventStore
from tests.edge.store_kit import a_stream, an_append, current, until


class Answers:
    async def test_an_indexed_answer_is_found_by_its_own_tenant_alone(self, store: EventStore) -> None:
        stream, key = a_stream("gateway/a/1"), uuid4().bytes
        await store.append([an_append(stream, b'{"n": 1}', b'{"n": 2}')])
        await store.index_answers([(key, stream)], 60)
        found = await store.find_answer("default", key, "hansard.test.stored.v1")
        assert found == (await current(store, stream)).messages[-1]
        assert await store.find_answer("acme", key, "hansard.test.stored.v1") is None
        assert await store.find_answer("default", key, "hansard.test.other.v1") is None
        assert await store.find_answer("default", uuid4().bytes, "hansard.test.stored.v1") is None

    async def test_the_last_indexed_answer_counts_and_one_that_is_not_stored_is_not_found(self, store: EventStore) -> None:
        first, second, key = a_stream("gateway/a/1"), a_stream("gateway/b/1"), uuid4().bytes
        await store.append([an_append(first, b"{}"), an_append(second, b"{}")])
        await store.index_answers([(key, second), (key, first)], 60)
        await store.index_answers([(key, second)], 60)
        found = await store.find_answer("default", key, "hansard.test.stored.v1")
        assert found is not None and found.stream == second
        await store.index_answers([(key, a_stream("gateway/c/1"))], 60)
        assert await store.find_answer("default", key, "hansard.test.stored.v1") is None

    async def test_an_answer_that_its_own_stream_took_back_is_not_found(self, store: EventStore) -> None:
        taken, key = a_stream("gateway/a/1"), uuid4().bytes
        beside, elsewhere = taken._replace(name="gateway/b/1"), taken._replace(tenant="acme")
        await store.append([an_append(stream, b"{}") for stream in (taken, beside, elsewhere)])
        await store.index_answers([(key, taken), (key[::-1], beside), (key, elsewhere)], 60)
        back = an_append(await current(store, taken), b"{}")
        await store.append([replace(back, messages=[replace(one, kind="hansard.test.back.v1") for one in back.messages])])
        asked = ("hansard.test.stored.v1", "hansard.test.back.v1")
        assert await store.find_answer("default", key, *asked) is None
        others = await store.find_answer("default", key[::-1], *asked), await store.find_answer("acme", key, *asked)
        assert [one and one.stream for one in others] == [beside, elsewhere]
        assert await store.find_answer("default", key, "hansard.test.stored.v1") is not None

    async def test_an_answer_is_forgotten_after_its_time(self, store: EventStore) -> None:
        stream, key = a_stream("gateway/a/1"), uuid4().bytes
        await store.append([an_append(stream, b"{}")])
        await store.index_answers([(key, stream)], 60)

        async def gone() -> bool:
            await store.index_answers([(uuid4().bytes, stream)], 0)
            return await store.find_answer("default", key, "hansard.test.stored.v1") is None

        await until(gone)
