"""What streams say to what they hear. Pure: the same batch on the same past gives the same turns, to the byte."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic
from uuid import UUID

from contracts.codec import decode, encode
from contracts.dead_letters import DeadLettered
from contracts.message import Intent, Message
from contracts.topics import Topics
from shared.decider import State, TurnedAway, Woken, never
from shared.runtime.hearing import Dead, Heard, another, waking
from shared.service import Service
from shared.store.record import LONG_AGO, NAMESPACE, Hearing, History, Said, Stream, Turn, uuid5

CARRIED = 256 * 1024  # bytes of a body that a dead letter carries; larger ones are read at their origin

Hop = Callable[[Heard], str]


@dataclass(slots=True)
class Live(Generic[State]):
    """A stream as this process knows it. Only what the store confirmed is ever kept."""

    state: State
    heard: int = 0
    version: int = 0
    at: datetime = LONG_AGO  # recorded time of what it heard last
    causes: dict[UUID, Hearing] = field(default_factory=dict)
    trace: str = ""  # W3C traceparent of what was said last: what comes from within goes on from there


@dataclass(slots=True)
class Work(Generic[State]):
    """A stream's turn in the making, on top of what is confirmed."""

    live: Live[State]
    turn: Turn
    state: State
    heards: list[Heard] = field(default_factory=list)
    causes: dict[UUID, Hearing] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    woken: bool = False
    stuck: bool = False  # its last waking is dead: it is not woken for that again
    trace: str = ""

    def known(self, cause: UUID) -> Hearing | None:
        return self.causes.get(cause) or self.live.causes.get(cause)

    def confirm(self) -> Live[State]:
        live = self.live
        live.state = self.state
        live.heard += len(self.turn.hearings)
        live.version += len(self.turn.said)
        live.at = self.turn.at
        live.causes.update(self.causes)
        live.trace = self.trace
        return live


@dataclass(frozen=True)
class Floor(Generic[State]):
    """Where one service decides."""

    service: Service[State]
    topics: Topics
    max_message_bytes: int
    hop: Hop = lambda heard: heard.traceparent

    def recall(self, history: History) -> Live[State]:
        """The fold of what the store has."""
        kinds = self.topics.kinds
        said = (decode(kinds[s.kind], s.data) for s in history.said)
        trace = history.said[-1].traceparent if history.said else ""
        return Live(self.service.decider.fold(said), history.heard, history.version, history.at, dict(history.causes), trace)

    def unheard(self) -> Live[State]:
        """A stream that heard nothing yet."""
        return Live(self.service.decider.initial)

    def begin(self, stream: Stream, live: Live[State], at: datetime, floor: datetime = LONG_AGO) -> Work[State]:
        """A turn at this recorded time. `floor`: the latest recorded time of what is involved."""
        return Work(live, Turn(stream, live.heard, live.version, at, floor), live.state, trace=live.trace)

    def hear(self, work: Work[State], heard: Heard, arrival: Live[State] | None = None, may_perform: bool = True) -> bool:
        """Adds this hearing, and what is said to it, to the turn. False where it counts no more: nothing is added."""
        if isinstance(heard.message, Woken) and heard.cause != self._waking(work):
            return False
        known = work.known(heard.cause)
        if known is not None and known.hash != heard.hash:
            heard = another(heard)
            known = work.known(heard.cause)
        if known is None and heard.redrive and not _died_on(arrival, heard):
            return False
        if known is not None and not (heard.redrive and known.dead):
            return False
        attempt = 1 if known is None else known.attempt + 1
        turn = work.turn
        if heard.record is None:
            heard.traceparent = work.trace
        said, state = self._decide(work, heard, attempt, may_perform)
        hearing = Hearing(
            cause=heard.cause,
            sequence=turn.heard + len(turn.hearings) + 1,
            before=turn.version + len(turn.said),
            kind=heard.kind,
            at=turn.at,
            hash=heard.hash,
            code=self.service.code,
            policy=self.service.decider.policy,
            dead=any(isinstance(message, DeadLettered) for message, _ in said),
            attempt=attempt,
        )
        turn.hearings.append(hearing)
        turn.said.extend(event for _, event in said)
        if heard.door is not None:
            turn.doors.append(heard.door)
        work.heards.append(heard)
        work.causes[hearing.cause] = hearing
        if isinstance(heard.message, Woken):
            work.woken, work.stuck = True, hearing.dead
        work.messages.extend(message for message, _ in said)
        work.intents.extend(message for message, _ in said if isinstance(message, Intent))
        if said:
            work.trace = said[-1][1].traceparent
        work.state = state
        return True

    @staticmethod
    def _waking(work: Work[State]) -> UUID:
        """A waking belongs to the count of hearings for which it was made: another came first, and this one is stale."""
        turn = work.turn
        return waking(turn.stream, turn.heard + len(turn.hearings))

    @property
    def wakes(self) -> bool:
        return self.service.decider.wake_at is not never

    def wait(self, work: Work[State], process: str) -> None:
        """Says in the turn when the stream is woken next, where that has changed; while an attempt is out, whose it is."""
        turn, wake_at = work.turn, self.service.decider.wake_at
        before, after = wake_at(work.live.state), wake_at(work.state)
        turn.keep = after == before and not work.woken and not work.intents
        turn.due = None if work.stuck and after is not None and after <= turn.at else after
        turn.holder = process if work.intents else ""

    def _decide(
        self, work: Work[State], heard: Heard, attempt: int, may_perform: bool
    ) -> tuple[list[tuple[Message, Said]], State]:
        trace = self.hop(heard)
        dead = heard.dead
        if dead is None and heard.message is not None:
            try:
                context = heard.context(work.turn.at, may_perform)
                messages = list(self.service.decider.decide(work.state, heard.message, context))
                said = list(self._said(work, heard, messages, trace, f"{work.turn.stream}"))
                state = self.service.decider.fold(messages, work.state)
                self._check_waiting(heard.message, messages, state, work.turn.at)
                return said, state
            except TurnedAway as away:
                dead = Dead(away.reason, away.detail)
            except _TooLarge as large:
                dead = Dead("too-large", str(large))
            except Exception as poison:  # a decision that fails would fail for ever: it is dead, with its cause
                dead = Dead("poison", f"{type(poison).__name__}: {poison}"[:2000])
        letter = dead_letter(self.service.name, heard, dead or Dead("not-expected", "nothing to hear"))
        said = list(self._said(work, heard, [letter], trace, f"{work.turn.stream}/dead/{attempt}"))
        return said, self.service.decider.fold([letter], work.state)

    def _check_waiting(self, heard: Message, messages: Sequence[Message], state: State, at: datetime) -> None:
        """Raises ValueError where a stream would be woken for ever, or an attempt could be lost and nobody would notice."""
        intends = any(isinstance(message, Intent) for message in messages)
        if not intends and not isinstance(heard, Woken):
            return
        again = self.service.decider.wake_at(state)
        if again is None and intends:
            raise ValueError("an attempt is out and the stream waits for no time: wake_at is the net under it")
        if again is not None and again <= at:
            raise ValueError(f"woken at {at.isoformat()} it wants to be woken at {again.isoformat()}, which is no later")

    def _said(
        self, work: Work[State], heard: Heard, messages: Iterable[Message], trace: str, path: str
    ) -> Iterator[tuple[Message, Said]]:
        turn, cause = work.turn, heard.cause
        version = turn.version + len(turn.said)
        for n, message in enumerate(messages, 1):
            data = encode(message)
            if len(data) > self.max_message_bytes:
                raise _TooLarge(f"{message.kind} would have {len(data)} bytes; at most {self.max_message_bytes} are said")
            yield (
                message,
                Said(
                    stream=turn.stream,
                    version=version + n,
                    id=identity(message, turn.stream, cause, path, n),
                    kind=message.kind,
                    topic=self.topics.for_message(self.service.name, message),
                    cause=cause,
                    data=data,
                    hash=hashlib.sha256(data).digest(),
                    traceparent=trace,
                    at=turn.at,
                ),
            )


class _TooLarge(ValueError):
    pass


def _died_on(arrival: Live[Any] | None, heard: Heard) -> bool:
    """Whether this is dead on the service's own stream: it could not be understood then, and its stream not be found."""
    known = arrival.causes.get(heard.cause) if arrival else None
    return known is not None and known.dead and known.hash == heard.hash


def identity(message: Message, stream: Stream, cause: UUID, path: str, n: int) -> UUID:
    """The id of what is said: from its cause, or, where it can be said only once, from the stream or the workflow."""
    if not message.once:
        return uuid5(cause, f"{path}/{n}")
    if message.once == "workflow":
        return uuid5(NAMESPACE, f"{stream.tenant}/{stream.workflow}/once")
    return uuid5(NAMESPACE, f"{stream}/once")


def dead_letter(service: str, heard: Heard, dead: Dead) -> DeadLettered:
    record = heard.record
    body = record.value if record else None
    return DeadLettered(
        service=service,
        reason=dead.reason,
        detail=printable(dead.detail),
        attempts=dead.attempts,
        door=heard.door is not None,
        message_kind=printable(heard.kind),
        message_id=printable(heard.message_id),
        cause=str(heard.cause),
        topic=record.topic if record else "",
        partition=record.partition if record else 0,
        offset=record.offset if record else 0,
        timestamp=record.timestamp if record else 0,
        key=_text(record.key if record else None),
        headers=tuple((_name(name), _text(value) or "") for name, value in (record.headers if record else ())),
        body=_text(body if body is None or len(body) <= CARRIED else None),
        hash=heard.hash.hex(),
    )


def printable(text: str) -> str:
    """What a store and a terminal can hold: no NUL, no lone surrogate."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _name(name: str | bytes) -> str:
    return printable(name if isinstance(name, str) else name.decode("utf-8", "backslashreplace"))


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def marked(heard: Heard, dead: Dead) -> Heard:
    """The same hearing, known to be dead."""
    return replace(heard, dead=dead)


def bare(heard: Heard, dead: Dead) -> Heard:
    """The same hearing, known to be dead, with nothing in it that its sender wrote."""
    record = heard.record and heard.record._replace(key=None, value=None, headers=())
    return replace(heard, dead=dead, kind="", record=record, door=None, message_id="")
