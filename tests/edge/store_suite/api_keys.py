"""Keys of programs that come by HTTP. Services see them and note their use; making and revoking them is the owner's."""

from uuid import uuid4

import pytest

from shared.eventstore.model import StoreRefused
from shared.eventstore.ports import EventStore
from shared.identity.api_keys import BadApiKey, known, new_api_key

KIND = "hansard.requests.submit.v1"


class ApiKeys:
    async def test_a_key_is_found_by_its_id_and_listed_by_its_tenant_alone(self, owned: EventStore) -> None:
        tenant, keys = f"t{uuid4().hex}", owned.api_keys
        made = [new_api_key(tenant, name, (KIND, "other.v1"), "ops")[1] for name in ("a", "b")]
        for key in made:
            await keys.add(key)
        found = await keys.find(made[0].id)
        assert found is not None and found.created_at is not None
        assert (found.hash, found.tenant, found.name, found.kinds) == (made[0].hash, tenant, "a", (KIND, "other.v1"))
        assert (found.created_by, found.last_used_at, found.revoked_at) == ("ops", None, None)
        assert [key.id for key in await keys.list(tenant)] == [key.id for key in made]
        assert (await keys.list("elsewhere"), await keys.find("0" * 16)) == ([], None)

    async def test_an_id_is_there_once(self, owned: EventStore) -> None:
        _, key = new_api_key("default", "a", (KIND,), "ops")
        await owned.api_keys.add(key)
        with pytest.raises(StoreRefused):
            await owned.api_keys.add(key)

    async def test_a_key_counts_until_it_is_revoked(self, owned: EventStore) -> None:
        text, key = new_api_key("acme", "a", (KIND,), "ops")
        await owned.api_keys.add(key)
        assert (await known(text, owned.api_keys, owned.now)).id == key.id
        assert not await owned.api_keys.revoke("default", key.id)
        assert await owned.api_keys.revoke("acme", key.id)
        assert not await owned.api_keys.revoke("acme", key.id)
        with pytest.raises(BadApiKey, match="is revoked"):
            await known(text, owned.api_keys, owned.now)

    async def test_its_last_use_is_noted_once_a_minute(self, owned: EventStore) -> None:
        text, key = new_api_key("default", "a", (KIND,), "ops")
        await owned.api_keys.add(key)
        assert (await known(text, owned.api_keys, owned.now)).last_used_at is None
        first = await owned.api_keys.find(key.id)
        assert first is not None and first.last_used_at is not None
        await known(text, owned.api_keys, owned.now)
        await owned.api_keys.used(key.id)
        assert await owned.api_keys.find(key.id) == first
