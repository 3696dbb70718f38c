"""The policies of earlier times: deciders made again from the data on the record, and from nothing else."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from contracts.catalog import Topics
from hansard.decider import Decider
from hansard.policy import matches_version
from hansard.service import Service
from shared.eventstore.ports import PolicyStore
from shared.runtime.processor import Processor

Processors = Mapping[str, Processor[Any] | str]  # by policy version; a text with the reason if there can be none
_ANY_SIZE = 1 << 62


class Policies:
    """The processors of a store's policies. Each is read and made once, however many workflows need it."""

    def __init__(self, store: PolicyStore, topics: Topics | None = None) -> None:
        self._store = store
        self._topics = topics or Topics()
        self._made: dict[tuple[str, str], Processor[Any] | str] = {}

    async def of(self, service: Service[Any], versions: Iterable[str]) -> Processors:
        """The processors of this service by these policy versions."""
        wanted = {version: (service.name, version) for version in versions}
        unmade = sorted(one for one in wanted.values() if one not in self._made)
        kept = await self._store.load_policies(unmade) if unmade and service.stored_policy else {}
        for one in unmade:
            self._made[one] = processor_of(service, one[1], kept.get(one), self._topics)
        return {version: self._made[one] for version, one in wanted.items()}


def processor_of(service: Service[Any], version: str, kept: bytes | None, topics: Topics) -> Processor[Any] | str:
    """The service under this policy version, whose data on the record is `kept`; or the reason why it cannot be made."""
    decider = decider_of(service, version, kept)
    return (
        decider
        if isinstance(decider, str)
        else Processor(replace(service, decider=decider, stored_policy=None), topics, _ANY_SIZE)
    )


def decider_of(service: Service[Any], version: str, kept: bytes | None) -> Decider[Any] | str:
    """The decider under this policy version, whose data on the record is `kept`; or the reason why it cannot be made.

    Today's own version needs no data, so a store that is older than stored policies can still be verified.
    """
    if kept is not None and not matches_version(kept, version):
        return f"the data on the record of policy {version!r} does not match its version"
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
    why = (
        "its data is not on the record"
        if service.stored_policy
        else "this service stored no policy data, and the code's policy has changed since"
    )
    return f"policy {version!r} cannot be made again: {why}"
