"""The whole story of one workflow, from the record: in order, each word with what caused it. Pure, but for one read."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from contracts.envelope import Unreadable, read
from contracts.topics import Topics
from infra.audit.verify import hearings_of
from infra.audit.words import Word, money
from shared.decider import Woken
from shared.store.record import Door, Hearing, History, Said, Store, Stream


@dataclass(frozen=True)
class Story:
    """All words of a workflow, in the order in which they got on the record. `silent` hearings said nothing."""

    tenant: str
    workflow: str
    words: tuple[Word, ...]
    hearings: Mapping[Stream, list[Hearing]] = field(repr=False, default_factory=dict)
    doors: Mapping[UUID, Door] = field(repr=False, default_factory=dict)

    @property
    def began(self) -> datetime | None:
        return self.words[0].at if self.words else None

    @property
    def result(self) -> Word | None:
        return next((word for word in self.words if word.kind.startswith("hansard.results.")), None)

    @property
    def cost(self) -> Decimal:
        """US dollars that left the house: every attempt's, once."""
        return sum((spent(word) for word in self.words), Decimal(0))

    @property
    def silent(self) -> int:
        spoken = {(word.stream, word.cause) for word in self.words}
        return sum((stream.name, str(hearing.cause)) not in spoken for stream, mine in self.hearings.items() for hearing in mine)


_PAID = ("hansard.gateway.model-replied.v1", "hansard.gateway.model-failed.v1", "hansard.gateway.reply-discarded.v1")


def spent(word: Word) -> Decimal:
    """What a word adds to the bill: only the gateway's last word on a call counts, the others repeat it."""
    return money(word.data.get("cost")) if word.kind in _PAID else Decimal(0)


async def story(store: Store, topics: Topics, tenant: str, workflow: str) -> Story | None:
    """The story of one workflow; None where nothing is known of it."""
    histories = await store.workflow(tenant, workflow)
    doors = await store.doors(tenant, workflow)
    if not histories and not doors:
        return None
    hearings = {stream: await hearings_of(store, history) for stream, history in histories.items()}
    return told(tenant, workflow, histories, doors, hearings)


def told(
    tenant: str,
    workflow: str,
    histories: Mapping[Stream, History],
    doors: Mapping[UUID, Door],
    hearings: Mapping[Stream, list[Hearing]],
) -> Story:
    """The same from what was read."""
    outside = sorted((_at_the_door(door) for door in doors.values()), key=lambda word: word.at)
    inside = sorted((s for history in histories.values() for s in history.said), key=lambda s: (s.position, s.version))
    within = dict(_within(hearings, histories))
    words = [*_merged(outside, [_said(one, within) for one in inside], hearings)]
    return Story(tenant, workflow, tuple(words), hearings, doors)


class _Within(NamedTuple):
    id: str
    woken: bool = False


def _merged(outside: list[Word], inside: list[Word], hearings: Mapping[Stream, list[Hearing]]) -> Iterator[Word]:
    """What came in at a door stands before the first word that it caused, whatever the clocks say."""
    waiting = {word.id: word for word in outside}
    for word in inside:
        if word.cause in waiting:
            yield waiting.pop(word.cause)
        yield word
    yield from waiting.values()


def _within(hearings: Mapping[Stream, list[Hearing]], histories: Mapping[Stream, History]) -> Iterator[tuple[str, _Within]]:
    """What came from within a stream (a wake-up, an outcome) is told as caused by the stream's own word before it."""
    for stream, mine in hearings.items():
        said = histories[stream].said if stream in histories else []
        for hearing in mine:
            woken = hearing.kind == Woken.kind
            if woken or hearing.kind.endswith("-returned.v1"):
                before = next((one for one in reversed(said) if one.version <= hearing.before), None)
                if before is not None:
                    yield str(hearing.cause), _Within(str(before.id), woken)


def _said(said: Said, within: Mapping[str, _Within]) -> Word:
    assert said.at is not None
    cause = within.get(str(said.cause), _Within(str(said.cause)))
    return Word(
        id=str(said.id),
        at=said.at,
        workflow=said.stream.workflow,
        stream=said.stream.name,
        kind=said.kind,
        cause=cause.id,
        data=_json(said.data),
        topic=said.topic,
        tenant=said.stream.tenant,
        woken=cause.woken,
    )


def _at_the_door(door: Door) -> Word:
    try:
        envelope = read(door.body, door.headers)
        kind, data, source = envelope.type, _json(envelope.data), envelope.source
    except Unreadable as unreadable:
        kind, data, source = "unreadable", {"detail": str(unreadable)}, ""
    who = "" if not source.startswith("/hansard/") else source.removeprefix("/hansard/")
    return Word(str(door.cause), door.at, door.workflow, who, kind, "", data, door.topic, door.tenant)


def _json(data: bytes) -> dict[str, Any]:
    try:
        read_ = json.loads(data)
    except (ValueError, RecursionError):
        return {"detail": data[:200].decode("utf-8", "backslashreplace")}
    return read_ if isinstance(read_, dict) else {"text": str(read_)}


def as_json(story: Story) -> Iterator[dict[str, Any]]:
    """One object a word, then one a hearing, for programs."""
    for word in story.words:
        yield {
            "at": word.at.isoformat(),
            "tenant": word.tenant,
            "workflow": word.workflow,
            "stream": word.stream,
            "id": word.id,
            "type": word.kind,
            "cause": word.cause,
            "topic": word.topic,
            "data": word.data,
        }
    for stream, mine in story.hearings.items():
        for hearing in mine:
            yield {
                "at": hearing.at.isoformat(),
                "stream": stream.name,
                "hearing": hearing.sequence,
                "type": hearing.kind,
                "cause": str(hearing.cause),
                "before": hearing.before,
                "hash": hearing.hash.hex(),
                "code": hearing.code,
                "policy": hearing.policy,
                "dead": hearing.dead,
                "attempt": hearing.attempt,
            }


def raw(door: Door) -> dict[str, Any]:
    """What came in at a door, byte for byte."""
    return {
        "topic": door.topic,
        "partition": door.partition,
        "offset": door.offset,
        "headers": [(name, value.decode("utf-8", "backslashreplace")) for name, value in door.headers],
        "body": None if door.body is None else base64.b64encode(door.body).decode(),
    }
