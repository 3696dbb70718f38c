"""The policies of then: deciders made again of what is on the record, and never of anything else."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from contracts.catalog import Topics
from hansard.decider import Decider
from shared.eventstore.ports import PolicyStore
from shared.policy import matches_version
from shared.runtime.processor import Processor
from shared.service import Service

Floors = Mapping[str, Processor[Any] | str]  # by version; where nobody can decide, why
_ANY_SIZE = 1 << 62


class Policies:
    """What a store keeps of policies. Each is read and made once, however many workflows ask for it."""

    def __init__(self, store: PolicyStore, topics: Topics | None = None) -> None:
        self._store = store
        self._topics = topics or Topics()
        self._made: dict[tuple[str, str], Processor[Any] | str] = {}

    async def of(self, service: Service[Any], versions: Iterable[str]) -> Floors:
        """Where these versions of this service decide."""
        wanted = {version: (service.name, version) for version in versions}
        unmade = sorted(one for one in wanted.values() if one not in self._made)
        kept = await self._store.load_policies(unmade) if unmade and service.stored_policy else {}
        for one in unmade:
            self._made[one] = floor_of(service, one[1], kept.get(one), self._topics)
        return {version: self._made[one] for version, one in wanted.items()}


def floor_of(service: Service[Any], version: str, kept: bytes | None, topics: Topics) -> Processor[Any] | str:
    """Where this version decides, of which `kept` is on the record; or why nobody can."""
    decider = decider_of(service, version, kept)
    return (
        decider
        if isinstance(decider, str)
        else Processor(replace(service, decider=decider, stored_policy=None), topics, _ANY_SIZE)
    )


def decider_of(service: Service[Any], version: str, kept: bytes | None) -> Decider[Any] | str:
    """Who decides by this version, of which `kept` is on the record; or why nobody can.

    Today's own needs no record: a store from before policies were kept still holds.
    """
    if kept is not None and not matches_version(kept, version):
        return f"what is on the record of policy {version!r} is not what it is named after"
    if version == service.decider.policy:
        return service.decider
    if kept is None or service.stored_policy is None:
        return missing(service, version)
    try:
        return service.stored_policy.decider(version, json.loads(kept))
    except (ValueError, LookupError, TypeError, AttributeError) as unreadable:
        problem = " ".join(str(unreadable).split())[:500]
        return f"this code cannot decide by policy {version!r}: {type(unreadable).__name__}: {problem}"


def missing(service: Service[Any], version: str) -> str:
    why = "what stood behind it is not on the record" if service.stored_policy else "it was code alone, and today's is another"
    return f"policy {version!r} is not here any more: {why}"
