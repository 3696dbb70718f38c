"""Decides every recorded hearing again, from the fold up to it, and compares byte for byte. The core is pure."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from contracts.codec import Invalid, decode
from contracts.dead_letters import DeadLettered
from contracts.envelope import Unreadable, read
from contracts.message import Intent, Message, Outcome
from contracts.topics import Topics
from infra.audit.policies import Deciders, Policies, missing
from shared.decider import Context, Woken
from shared.runtime.hearing import Heard
from shared.runtime.turns import Floor, Live
from shared.service import Service
from shared.store.record import Door, Hearing, History, Said, Store, Stream

HeardMessages = Mapping[UUID, tuple[Message, Context]]
_ANY_SIZE = 1 << 62


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
    service: Service[Any],
    history: History,
    hearings: Sequence[Hearing],
    heard: HeardMessages,
    topics: Topics | None = None,
    deciders: Deciders | None = None,
) -> list[Difference]:
    """Everything about one stream that does not hold, in the order of its hearings.

    `hearings` are all of the stream, every attempt, in order; `heard` is what was heard, by cause id: of what came from
    within (a waking, an outcome) nothing is needed. `deciders` are those of the policies that hearings name; where one is
    not in there, only today's is known. Never raises for what is in the record.
    """
    topics, deciders = topics or Topics(), deciders or {}
    found = list(_broken(history, hearings))
    if found:
        return found
    floors: dict[str, Floor[Any]] = {}
    state = service.decider.initial
    causes: dict[UUID, Hearing] = {}
    for hearing, said in _spoken(history, hearings):
        before = {hearing.cause: causes[hearing.cause]} if hearing.cause in causes else {}
        live = Live(state, hearing.sequence - 1, hearing.before, before)
        floor = floors.get(hearing.policy) or _floor(service, hearing.policy, topics, deciders)
        if isinstance(floor, Floor):
            floors[hearing.policy] = floor
        found.extend(_one(service, floor, history.stream, live, hearing, said, heard))
        causes[hearing.cause] = hearing
        try:
            state = service.decider.fold((decode(topics.kinds[one.kind], one.data) for one in said), state)
        except (KeyError, Invalid) as unknown:
            return [*found, Difference(history.stream, hearing.sequence, f"this code cannot read what was said: {unknown}")]
        except Exception as failed:
            problem = f"this code cannot fold what was said: {type(failed).__name__}: {failed}"
            return [*found, Difference(history.stream, hearing.sequence, problem)]
    return found


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
    if is_outcome(service, hearing.kind):
        return
    message = _message(stream, hearing, heard)
    if message is None:
        yield differs("it was heard, and it is not on the record", str(hearing.cause))
        return
    if isinstance(floor, str):
        yield differs(floor, hearing.policy, service.decider.policy)
        return
    work = floor.begin(stream, live)
    intended = any(issubclass(floor.topics.kinds.get(one.kind, Message), Intent) for one in said)
    context = replace(message.context, may_perform=intended)  # that a slot was free is on record by what was said
    floor.hear(work, replace(message, context=context, redrive=hearing.attempt > 1))
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
        context = Context(hearing.cause, hearing.heard_at, stream.workflow, stream.tenant, source, str(hearing.cause))
        return Heard(stream, context, hearing.kind, hearing.hash, Woken())
    known = heard.get(hearing.cause)
    if known is None:
        return None
    message, context = known
    return Heard(stream, replace(context, at=hearing.heard_at), hearing.kind, hearing.hash, message)


def _floor(service: Service[Any], policy: str, topics: Topics, deciders: Deciders) -> Floor[Any] | str:
    """Where this policy decides; or why it cannot."""
    today = service.decider if policy == service.decider.policy else missing(service, policy)
    decider = deciders.get(policy, today)
    return decider if isinstance(decider, str) else Floor(replace(service, decider=decider, basis=None), topics, _ANY_SIZE)


def is_outcome(service: Service[Any], kind: str) -> bool:
    """Whether a performer brought this: it is trusted, never decided again."""
    return any(one.kind == kind and issubclass(one, Outcome) for one in service.hears)


def _told(said: Iterable[Said]) -> str:
    return "\n".join(f"{one.kind} {_text(one.data)}" for one in said) or "(silence)"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


async def workflows(store: Store, since: datetime | None = None) -> dict[tuple[str, str], None]:
    """Every (tenant, workflow) that said something since then, in the order of the first word."""
    found: dict[tuple[str, str], None] = {}
    async for batch in store.everything():
        for said in batch:
            if since is None or (said.at is not None and said.at >= since):
                found[said.stream.tenant, said.stream.workflow] = None
    return found


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
    report, policies = Report(tenant, workflow), policies or Policies(store)
    histories = await store.workflow(tenant, workflow)
    hearings = {stream: await hearings_of(store, history) for stream, history in histories.items()}
    doors = await store.doors(tenant, workflow)
    spoken = {said.id: said for history in histories.values() for said in history.said}
    causes = {hearing.cause for mine in hearings.values() for hearing in mine}
    spoken |= await store.events(sorted(causes - spoken.keys() - doors.keys()))
    for stream, history in sorted(histories.items()):
        mine, service = hearings[stream], services.get(stream.service)
        report.streams += 1
        if service is None:
            report.differences.extend(_broken(history, mine))
            report.trusted += len(mine)
            continue
        heard = dict(_heard(stream, mine, spoken, doors, topics, report))
        deciders = await policies.of(service, (hearing.policy for hearing in mine))
        report.differences.extend(differences(service, history, mine, heard, topics, deciders))
        trusted = sum(hearing.dead or is_outcome(service, hearing.kind) for hearing in mine)
        report.trusted += trusted
        report.decided += len(mine) - trusted
    report.strangers.extend(
        f"{workflow}: bytes at {door.topic}/{door.partition}/{door.offset}, which is not a door"
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
    report: Report,
) -> Iterator[tuple[UUID, tuple[Message, Context]]]:
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
            data, context = _as_said(said) if said else _as_at_the_door(door)
        except Unreadable:
            continue
        if hashlib.sha256(data).digest() != hearing.hash:
            actual = hashlib.sha256(data).hexdigest()
            what = f"{hearing.kind}: what was heard has other bytes than what is on the record"
            report.differences.append(Difference(stream, hearing.sequence, what, hearing.hash.hex(), actual))
            continue
        try:
            yield cause, (decode(kind, data), context)
        except Invalid:
            continue


def _as_said(said: Said) -> tuple[bytes, Context]:
    stream = said.stream
    assert said.at is not None
    return said.data, Context(said.id, said.at, stream.workflow, stream.tenant, f"/hansard/{stream.service}", str(said.id))


def _as_at_the_door(door: Door | None) -> tuple[bytes, Context]:
    assert door is not None
    envelope = read(door.body, door.headers)
    return envelope.data, Context(door.cause, door.at, door.workflow, door.tenant, envelope.source, envelope.id)
