"""Decides every recorded hearing again, from the fold up to it, and compares byte for byte. The core is pure."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any
from uuid import UUID

from contracts.codec import Invalid, decode
from contracts.dead_letters import DeadLettered
from contracts.envelope import Unreadable
from contracts.envelope import read as read_envelope
from contracts.message import Intent, Message, Outcome
from contracts.topics import Topics
from infra.audit.policies import Floors, Policies, floor_of
from shared.decider import Woken
from shared.runtime.hearing import Heard
from shared.runtime.turns import Floor, Live
from shared.service import Service
from shared.store.record import LONG_AGO, Door, Hearing, History, Listed, Said, Store, Stream, Workflow

HeardMessages = Mapping[UUID, Heard]
Decode = Callable[[type[Message], bytes], Message]
ROWS = 5000  # events and hearings that are held at a time, unless one workflow alone has more


@dataclass(frozen=True)
class Difference:
    """Where the record is not what today's code, or the record itself, says it must be."""

    stream: Stream
    sequence: int  # the hearing, counted from 1; 0 where it is about the stream as a whole
    what: str
    recorded: str = ""
    today: str = ""


@dataclass
class Report:
    """What came out for one workflow. `strangers` were heard on an internal topic, are not on the record, and changed nothing."""

    tenant: str
    workflow: str
    streams: int = 0
    decided: int = 0  # hearings decided again
    trusted: int = 0  # a performer's outcomes, and dead hearings
    differences: list[Difference] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def differences(
    service: Service[Any] | None,
    history: History,
    hearings: Sequence[Hearing],
    heard: HeardMessages,
    topics: Topics | None = None,
    floors: Floors | None = None,
    received: Mapping[UUID, datetime | None] | None = None,
    read: Decode = decode,
) -> list[Difference]:
    """Everything about one stream that does not hold, in the order of its hearings.

    `hearings` are all of the stream, every attempt, in order; `heard` is what was heard, by cause id: of what came from
    within (a waking, an outcome) nothing is needed. `floors` are where the policies decide that hearings name; where one is
    not in there, only today's is known. `received` tells when what was heard was recorded itself. Without a service nothing
    is decided again. Never raises for what is in the record.
    """
    if broken := list(_broken(history, hearings)):
        return broken
    topics = topics or Topics()
    decided = _decided(service, history, hearings, heard, topics, floors or {}, read) if service else ()
    return sorted((*decided, *untimely(history, hearings, received or {})), key=lambda one: one.sequence)


def _decided(
    service: Service[Any],
    history: History,
    hearings: Sequence[Hearing],
    heard: HeardMessages,
    topics: Topics,
    floors: Floors,
    read: Decode,
) -> Iterator[Difference]:
    state, trusted = service.decider.initial, outcomes(service)
    causes: dict[UUID, Hearing] = {}
    for hearing, said in _spoken(history, hearings):
        before = {hearing.cause: causes[hearing.cause]} if hearing.cause in causes else {}
        live = Live(state, hearing.sequence - 1, hearing.before, causes=before)
        floor = floors.get(hearing.policy) or floor_of(service, hearing.policy, None, topics)
        yield from _one(service, floor, history.stream, live, hearing, said, heard, trusted)
        causes[hearing.cause] = hearing
        try:
            state = service.decider.fold((read(topics.kinds[one.kind], one.data) for one in said), state)
        except (KeyError, Invalid) as unknown:
            yield Difference(history.stream, hearing.sequence, f"this code cannot read what was said: {unknown}")
            return
        except Exception as failed:
            problem = f"this code cannot fold what was said: {type(failed).__name__}: {failed}"
            yield Difference(history.stream, hearing.sequence, problem)
            return


def untimely(history: History, hearings: Sequence[Hearing], received: Mapping[UUID, datetime | None]) -> Iterator[Difference]:
    """Recorded times that cannot be: one that goes back, in a stream or from what was heard, or is not that of its hearing."""
    last = LONG_AGO
    for hearing, said in _spoken(history, hearings):
        for what, other in _contradicted(hearing.at, last, received.get(hearing.cause), said):
            yield Difference(history.stream, hearing.sequence, f"{hearing.kind}: {what}", f"{hearing.at}", f"{other}")
        last = hearing.at


def _contradicted(
    at: datetime, last: datetime, heard: datetime | None, said: Iterable[Said]
) -> Iterator[tuple[str, datetime | None]]:
    """What contradicts that a hearing was recorded at `at`, and with which time."""
    if at < last:
        yield "it was recorded at an earlier time than the hearing before it", last
    if heard is not None and at < heard:
        yield "it was recorded at an earlier time than what was heard", heard
    for one in said:
        if one.at != at:
            yield f"version {one.version} bears another time than the hearing it stands in", one.at
            return


def _broken(history: History, hearings: Sequence[Hearing]) -> Iterator[Difference]:
    """What needs no code to be seen: gaps, and bytes that are not those that were said."""
    stream = history.stream
    for expected, said in enumerate(history.said, 1):
        if said.version != expected:
            yield Difference(stream, 0, "there is a gap in the versions", str(said.version), str(expected))
            return
        if hashlib.sha256(said.data).digest() != said.hash:
            actual = hashlib.sha256(said.data).hexdigest()
            yield Difference(stream, 0, f"the bytes of version {said.version} are not those of its hash", said.hash.hex(), actual)
    if history.version != len(history.said):
        yield Difference(stream, 0, "the head does not stand at the last version", str(history.version), str(len(history.said)))
    for expected, hearing in enumerate(hearings, 1):
        if hearing.sequence != expected:
            yield Difference(stream, expected, "there is a gap in the hearings", str(hearing.sequence), str(expected))
            return
    if history.heard != len(hearings):
        yield Difference(stream, 0, "the head counts other hearings than there are", str(history.heard), str(len(hearings)))
        return
    for one, next_ in pairwise(hearings):
        if next_.before < one.before:
            yield Difference(stream, next_.sequence, "a hearing stands before an earlier one", str(next_.before), str(one.before))
            return
    first = hearings[0].before if hearings else 0
    if first or (history.said and not hearings):
        yield Difference(stream, 1, "something was said before anything was heard", str(first), "0")


def _spoken(history: History, hearings: Sequence[Hearing]) -> Iterator[tuple[Hearing, list[Said]]]:
    """Each hearing with what was said to it."""
    ends = [*(hearing.before for hearing in hearings[1:]), len(history.said)]
    for hearing, end in zip(hearings, ends, strict=True):
        yield hearing, history.said[hearing.before : end]


def _one(
    service: Service[Any],
    floor: Floor[Any] | str,
    stream: Stream,
    live: Live[Any],
    hearing: Hearing,
    said: Sequence[Said],
    heard: HeardMessages,
    trusted: frozenset[str],
) -> Iterator[Difference]:
    def differs(what: str, recorded: str = "", today: str = "") -> Difference:
        return Difference(stream, hearing.sequence, f"{hearing.kind}: {what}", recorded, today)

    stray = next((one for one in said if one.cause != hearing.cause), None)
    if stray is not None:
        what = "an event says another cause than the hearing it stands in"
        yield differs(what, f"{stray.kind} of {stray.cause}", str(hearing.cause))
        return
    if hearing.dead:
        if not any(one.kind == DeadLettered.kind for one in said):
            yield differs("it is marked dead, and no dead letter was said", _told(said), DeadLettered.kind)
        return
    if hearing.kind in trusted:
        return
    message = _message(stream, hearing, heard)
    if message is None:
        yield differs("it was heard, and it is not on the record", str(hearing.cause))
        return
    if isinstance(floor, str):
        yield differs(floor, hearing.policy, service.decider.policy)
        return
    work = floor.begin(stream, live, hearing.at)
    intended = any(issubclass(floor.topics.kinds.get(one.kind, Message), Intent) for one in said)
    message.redrive = hearing.attempt > 1
    floor.hear(work, message, may_perform=intended)  # that a slot was free is on record by what was said
    yield from _compared(differs, said, work.turn.said)


def _compared(differs: Any, recorded: Sequence[Said], today: Sequence[Said]) -> Iterator[Difference]:
    if [one.kind for one in recorded] != [one.kind for one in today]:
        yield differs("something else would be said today", _told(recorded), _told(today))
        return
    for then, now in zip(recorded, today, strict=True):
        if then.data != now.data:
            yield differs(f"{then.kind} would have another text today", _text(then.data), _text(now.data))
        elif then.id != now.id:
            yield differs(f"{then.kind} has an id that does not follow from its cause", str(then.id), str(now.id))
        elif then.topic != now.topic:
            yield differs(f"{then.kind} would be said elsewhere today", then.topic, now.topic)
        else:
            continue
        return


def _message(stream: Stream, hearing: Hearing, heard: HeardMessages) -> Heard | None:
    """What was heard, as the stream heard it then."""
    if hearing.kind == Woken.kind:
        source = f"/hansard/{stream.service}"
        return Heard(stream, hearing.cause, hearing.kind, hearing.hash, source, str(hearing.cause), message=Woken())
    return heard.get(hearing.cause)


def outcomes(service: Service[Any] | None) -> frozenset[str]:
    """The kinds that a performer brings: they are trusted, never decided again."""
    return frozenset(one.kind for one in service.hears if issubclass(one, Outcome)) if service else frozenset()


def _told(said: Iterable[Said]) -> str:
    return "\n".join(f"{one.kind} {_text(one.data)}" for one in said) or "(silence)"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


async def workflows(store: Store, since: datetime | None = None) -> dict[tuple[str, str], None]:
    """Every (tenant, workflow) that said something since then, in order."""
    return {(one.tenant, one.workflow): None async for page in store.workflows(since) for one in page if one.wanted}


async def hearings_of(store: Store, history: History) -> list[Hearing]:
    """All hearings of a stream, in order; asked for only where a history does not have them all: after a redrive."""
    if len(history.causes) == history.heard and all(one.attempt == 1 for one in history.causes.values()):
        return sorted(history.causes.values(), key=lambda one: one.sequence)
    return await store.hearings(history.stream)


async def verify(
    store: Store,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    tenant: str,
    workflow: str,
    policies: Policies | None = None,
) -> Report:
    """One workflow, all of its streams. Streams of services that this process does not have are only checked for gaps.

    `policies` of the same store save reading them again for every workflow.
    """
    only, policies = [(tenant, workflow)], policies or Policies(store, topics)
    [report] = [one async for one in _reports(store, services, topics, policies, only)]
    return report


async def verify_all(
    store: Store,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    since: datetime | None = None,
    passed: Callable[[int], object] = lambda events: None,
) -> AsyncIterator[Report]:
    """Every workflow that said something since then, in the order of (tenant, workflow), each as soon as it is done.

    Holds some thousand rows at a time, or those of the largest workflow. `passed` is told of events as they are done with.
    """
    policies = Policies(store, topics)
    async for page in store.workflows(since):
        for some in in_parts(page):
            wanted = [(one.tenant, one.workflow) for one in some if one.wanted]
            if wanted:
                async for report in _reports(store, services, topics, policies, wanted):
                    yield report
            passed(sum(one.events for one in some))


def in_parts(page: Iterable[Listed], rows: int = ROWS) -> Iterator[list[Listed]]:
    """The same in parts that have about so many rows to read: at least one workflow, and not many more than fit."""
    part: list[Listed] = []
    size = 0
    for one in page:
        more = one.events + one.hearings if one.wanted else 0
        if part and size + more > rows:
            yield part
            part, size = [], 0
        part.append(one)
        size += more
    if part:
        yield part


async def _reports(
    store: Store,
    services: Mapping[str, Service[Any]],
    topics: Topics,
    policies: Policies,
    names: Sequence[tuple[str, str]],
) -> AsyncIterator[Report]:
    wholes = await store.whole(names)
    foreign = [_foreign(whole) for whole in wholes]
    wanted = set().union(*foreign)
    elsewhere = await store.events(sorted(wanted)) if wanted else {}
    for whole, ids in zip(wholes, foreign, strict=True):
        yield await _report(whole, {id_: elsewhere[id_] for id_ in ids if id_ in elsewhere}, services, topics, policies)


def _foreign(whole: Workflow) -> set[UUID]:
    """Ids of what was heard and neither said in this workflow nor brought to it from outside."""
    causes = {hearing.cause for mine in whole.hearings.values() for hearing in mine}
    return causes - whole.doors.keys() - {said.id for history in whole.histories.values() for said in history.said}


async def _report(
    whole: Workflow,
    elsewhere: Mapping[UUID, Said],
    services: Mapping[str, Service[Any]],
    topics: Topics,
    policies: Policies,
) -> Report:
    report, doors = Report(whole.tenant, whole.workflow), whole.doors
    read = cache(decode)  # what one stream says another hears
    spoken = {said.id: said for history in whole.histories.values() for said in history.said} | dict(elsewhere)
    received = {id_: said.at for id_, said in spoken.items()}  # of what came from outside only a broker's time is known
    for stream, history in sorted(whole.histories.items()):
        mine, service = whole.hearings[stream], services.get(stream.service)
        heard = dict(_heard(stream, mine, spoken, doors, topics, read, report)) if service else {}
        floors = await policies.of(service, (hearing.policy for hearing in mine)) if service else {}
        report.differences.extend(differences(service, history, mine, heard, topics, floors, received, read))
        brought = outcomes(service)
        trusted = sum(service is None or hearing.dead or hearing.kind in brought for hearing in mine)
        report.streams += 1
        report.trusted += trusted
        report.decided += len(mine) - trusted
    report.strangers.extend(
        f"{whole.workflow}: bytes at {door.topic}/{door.partition}/{door.offset}, which is not a door"
        for door in doors.values()
        if (topic := topics.by_name.get(door.topic)) is None or not topic.door
    )
    return report


def _heard(
    stream: Stream,
    hearings: Sequence[Hearing],
    spoken: Mapping[UUID, Said],
    doors: Mapping[UUID, Door],
    topics: Topics,
    read: Decode,
    report: Report,
) -> Iterator[tuple[UUID, Heard]]:
    """What the stream heard, from the record alone."""
    for hearing in hearings:
        cause, kind = hearing.cause, topics.kinds.get(hearing.kind)
        said, door = spoken.get(cause), doors.get(cause)
        if hearing.dead:
            if said is None and door is None and hearing.kind != Woken.kind and kind is not None:
                report.strangers.append(f"{stream}: {hearing.kind} with id {cause}, turned away")
            continue
        if kind is None or (said is None and door is None):
            continue
        try:
            data, source, id_ = _as_said(said) if said else _as_at_the_door(door)
        except Unreadable:
            continue
        if hashlib.sha256(data).digest() != hearing.hash:
            actual = hashlib.sha256(data).hexdigest()
            what = f"{hearing.kind}: what was heard has other bytes than what is on the record"
            report.differences.append(Difference(stream, hearing.sequence, what, hearing.hash.hex(), actual))
            continue
        try:
            message = read(kind, data)
        except Invalid:
            continue
        yield cause, Heard(stream, cause, hearing.kind, hearing.hash, source, id_, message=message)


def _as_said(said: Said) -> tuple[bytes, str, str]:
    """Data, source and message id, here and below."""
    return said.data, f"/hansard/{said.stream.service}", str(said.id)


def _as_at_the_door(door: Door | None) -> tuple[bytes, str, str]:
    assert door is not None
    envelope = read_envelope(door.body, door.headers)
    return envelope.data, envelope.source, envelope.id
