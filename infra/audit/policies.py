"""The policies of then: deciders made again of what is on the record, and never of anything else."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared.decider import Decider
from shared.policy import is_behind
from shared.service import Service
from shared.store.record import Store

Deciders = Mapping[str, Decider[Any] | str]  # by version; where there is none, why


class Policies:
    """What a store keeps of policies. Each is read and made once, however many workflows ask for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[tuple[str, str], Decider[Any] | str] = {}

    async def of(self, service: Service[Any], versions: Iterable[str]) -> Deciders:
        """Who decides by these versions of this service; nothing where code alone decides."""
        if service.basis is None:
            return {}
        wanted = sorted({(service.name, version) for version in versions})
        unmade = [one for one in wanted if one not in self._made]
        kept = await self._store.policies(unmade) if unmade else {}
        for one in unmade:
            self._made[one] = decider_of(service, one[1], kept.get(one))
        return {version: self._made[name, version] for name, version in wanted}


def decider_of(service: Service[Any], version: str, kept: bytes | None) -> Decider[Any] | str:
    """Who decides by this version, of which `kept` is on the record; or why nobody can.

    Today's own needs no record: a store from before policies were kept still holds.
    """
    if kept is not None and not is_behind(kept, version):
        return f"what is on the record of policy {version!r} is not what it is named after"
    if version == service.decider.policy:
        return service.decider
    if kept is None or service.basis is None:
        return missing(service, version)
    try:
        return service.basis.decider(version, json.loads(kept))
    except (ValueError, LookupError, TypeError, AttributeError) as unreadable:
        problem = " ".join(str(unreadable).split())[:500]
        return f"this code cannot decide by policy {version!r}: {type(unreadable).__name__}: {problem}"


def missing(service: Service[Any], version: str) -> str:
    why = "what stood behind it is not on the record" if service.basis else "it was code alone, and today's is another"
    return f"policy {version!r} is not here any more: {why}"
