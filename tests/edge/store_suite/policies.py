"""The data of policies that decided something."""

from uuid import uuid4

import pytest

from shared.eventstore.model import StoreRefused
from shared.eventstore.ports import EventStore


class Policies:
    async def test_the_data_of_a_policy_are_stored_once_byte_for_byte(self, store: EventStore) -> None:
        service, data = f"router-{uuid4().hex[:8]}", '{"b": [1.50, "ä"],  "a": null}'.encode()
        await store.store_policy(service, "1-abc", data)
        await store.store_policy(service, "1-abc", data)
        await store.store_policy(service, "2-abc", b"{}")
        other = f"{service}-other"
        await store.store_policy(other, "1-abc", b"[]")
        wanted = [(service, "1-abc"), (other, "1-abc"), (service, "nobody"), ("nobody", "2-abc")]
        assert await store.load_policies(wanted) == {(service, "1-abc"): data, (other, "1-abc"): b"[]"}
        assert await store.load_policies([]) == {}

    async def test_other_data_for_a_policy_version_are_refused_and_the_first_stay(self, store: EventStore) -> None:
        one = (f"router-{uuid4().hex[:8]}", "1-abc")
        await store.store_policy(*one, b'{"price": 1}')
        for other in (b'{"price": 2}', b'{"price":1}'):
            with pytest.raises(StoreRefused, match="other data"):
                await store.store_policy(*one, other)
        with pytest.raises(StoreRefused):
            await store.store_policy(one[0], "2-abc", b"no JSON")
        assert await store.load_policies([one, (one[0], "2-abc")]) == {one: b'{"price": 1}'}
