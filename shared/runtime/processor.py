"""What streams say to what they hear. Pure: the same batch on the same past gives the same turns, to the byte."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic
from uuid import UUID

from contracts.catalog import Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import decode, encode
from hansard.decider import CannotProcess, State, WakeUp, never
from hansard.identity import stored_message_id, wake_up_causation_id
from hansard.message import Intent, Message
from shared.eventstore.model import LONG_AGO, History, InboxEntry, StoredMessage, Stream, StreamAppend
from shared.runtime.inbound import DeadCause, Inbound, with_reused_id
from shared.service import Service

CARRIED = 256 * 1024  # bytes of a body that a dead letter carries; larger ones are read at their origin

Hop = Callable[[Inbound], str]


@dataclass(slots=True)
class StreamState(Generic[State]):
    """A stream as this process knows it. Only what the store confirmed is ever kept."""

    state: State
    processed: int = 0
    version: int = 0
    at: datetime = LONG_AGO  # recorded time of what it heard last
    entries: dict[UUID, InboxEntry] = field(default_factory=dict)
    trace: str = ""  # W3C traceparent of what was said last: what comes from within goes on from there


@dataclass(slots=True)
class PendingAppend(Generic[State]):
    """A stream's turn in the making, on top of what is confirmed."""

    loaded: StreamState[State]
    stream_append: StreamAppend
    state: State
    inbounds: list[Inbound] = field(default_factory=list)
    entries: dict[UUID, InboxEntry] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    woke_up: bool = False
    stuck: bool = False  # its last waking is dead: it is not woken for that again
    trace: str = ""

    def known(self, causation_id: UUID) -> InboxEntry | None:
        return self.entries.get(causation_id) or self.loaded.entries.get(causation_id)

    def confirm(self) -> StreamState[State]:
        known = self.loaded
        known.state = self.state
        known.processed += len(self.stream_append.entries)
        known.version += len(self.stream_append.messages)
        known.at = self.stream_append.at
        known.entries.update(self.entries)
        known.trace = self.trace
        return known


@dataclass(frozen=True)
class Processor(Generic[State]):
    """Where one service decides."""

    service: Service[State]
    topics: Topics
    max_message_bytes: int
    hop: Hop = lambda inbound: inbound.traceparent

    def recall(self, history: History) -> StreamState[State]:
        """The fold of what the store has."""
        kinds = self.topics.kinds
        stored = (decode(kinds[s.kind], s.data) for s in history.messages)
        trace = history.messages[-1].traceparent if history.messages else ""
        return StreamState(
            self.service.decider.fold(stored), history.processed, history.version, history.at, dict(history.entries), trace
        )

    def unheard(self) -> StreamState[State]:
        """A stream that heard nothing yet."""
        return StreamState(self.service.decider.initial)

    def begin(
        self, stream: Stream, known: StreamState[State], at: datetime, not_before: datetime = LONG_AGO
    ) -> PendingAppend[State]:
        """A turn at this recorded time. `floor`: the latest recorded time of what is involved."""
        return PendingAppend(
            known, StreamAppend(stream, known.processed, known.version, at, not_before), known.state, trace=known.trace
        )

    def process(
        self, pending: PendingAppend[State], inbound: Inbound, arrival: StreamState[State] | None = None, may_perform: bool = True
    ) -> bool:
        """Adds this hearing, and what is said to it, to the turn. False where it counts no more: nothing is added."""
        if isinstance(inbound.message, WakeUp) and inbound.causation_id != self._waking(pending):
            return False
        known = pending.known(inbound.causation_id)
        if known is not None and known.hash != inbound.hash:
            inbound = with_reused_id(inbound)
            known = pending.known(inbound.causation_id)
        if known is None and inbound.redrive and not _died_on(arrival, inbound):
            return False
        if known is not None and not (inbound.redrive and known.dead):
            return False
        attempt = 1 if known is None else known.attempt + 1
        append = pending.stream_append
        if inbound.record is None:
            inbound.traceparent = pending.trace
        stored, state = self._decide(pending, inbound, attempt, may_perform)
        entry = InboxEntry(
            causation_id=inbound.causation_id,
            sequence=append.processed + len(append.entries) + 1,
            version_before=append.version + len(append.messages),
            kind=inbound.kind,
            at=append.at,
            hash=inbound.hash,
            code=self.service.code,
            policy=self.service.decider.policy,
            dead=any(isinstance(message, DeadLettered) for message, _ in stored),
            attempt=attempt,
        )
        append.entries.append(entry)
        append.messages.extend(event for _, event in stored)
        if inbound.door is not None:
            append.door_messages.append(inbound.door)
        pending.inbounds.append(inbound)
        pending.entries[entry.causation_id] = entry
        if isinstance(inbound.message, WakeUp):
            pending.woke_up, pending.stuck = True, entry.dead
        pending.messages.extend(message for message, _ in stored)
        pending.intents.extend(message for message, _ in stored if isinstance(message, Intent))
        if stored:
            pending.trace = stored[-1][1].traceparent
        pending.state = state
        return True

    @staticmethod
    def _waking(pending: PendingAppend[State]) -> UUID:
        """A waking belongs to the count of hearings for which it was made: another came first, and this one is stale."""
        append = pending.stream_append
        return wake_up_causation_id(append.stream, append.processed + len(append.entries))

    @property
    def wakes(self) -> bool:
        return self.service.decider.wake_at is not never

    def wait(self, pending: PendingAppend[State], process: str) -> None:
        """Says in the turn when the stream is woken next, where that has changed; while an attempt is out, whose it is."""
        append, wake_at = pending.stream_append, self.service.decider.wake_at
        before, after = wake_at(pending.loaded.state), wake_at(pending.state)
        append.keep_wake_up = after == before and not pending.woke_up and not pending.intents
        append.wake_at = None if pending.stuck and after is not None and after <= append.at else after
        append.holder = process if pending.intents else ""

    def _decide(
        self, pending: PendingAppend[State], inbound: Inbound, attempt: int, may_perform: bool
    ) -> tuple[list[tuple[Message, StoredMessage]], State]:
        trace = self.hop(inbound)
        dead = inbound.dead
        if dead is None and inbound.message is not None:
            try:
                context = inbound.context(pending.stream_append.at, may_perform)
                messages = list(self.service.decider.decide(pending.state, inbound.message, context))
                stored = list(self._said(pending, inbound, messages, trace))
                state = self.service.decider.fold(messages, pending.state)
                self._check_waiting(inbound.message, messages, state, pending.stream_append.at)
                return stored, state
            except CannotProcess as away:
                dead = DeadCause(away.reason, away.detail)
            except _TooLarge as large:
                dead = DeadCause("too-large", str(large))
            except Exception as poison:  # a decision that fails would fail for ever: it is dead, with its cause
                dead = DeadCause("poison", f"{type(poison).__name__}: {poison}"[:2000])
        letter = dead_letter(self.service.name, inbound, dead or DeadCause("not-expected", "nothing to hear"))
        stored = list(self._said(pending, inbound, [letter], trace, dead_attempt=attempt))
        return stored, self.service.decider.fold([letter], pending.state)

    def _check_waiting(self, inbound: Message, messages: Sequence[Message], state: State, at: datetime) -> None:
        """Raises ValueError where a stream would be woken for ever, or an attempt could be lost and nobody would notice."""
        intends = any(isinstance(message, Intent) for message in messages)
        if not intends and not isinstance(inbound, WakeUp):
            return
        again = self.service.decider.wake_at(state)
        if again is None and intends:
            raise ValueError("an attempt is out and the stream waits for no time: wake_at is the net under it")
        if again is not None and again <= at:
            raise ValueError(f"woken at {at.isoformat()} it wants to be woken at {again.isoformat()}, which is no later")

    def _said(
        self, pending: PendingAppend[State], inbound: Inbound, messages: Iterable[Message], trace: str, dead_attempt: int = 0
    ) -> Iterator[tuple[Message, StoredMessage]]:
        append, causation_id = pending.stream_append, inbound.causation_id
        version = append.version + len(append.messages)
        for n, message in enumerate(messages, 1):
            data = encode(message)
            if len(data) > self.max_message_bytes:
                raise _TooLarge(f"{message.kind} would have {len(data)} bytes; at most {self.max_message_bytes} are said")
            yield (
                message,
                StoredMessage(
                    stream=append.stream,
                    version=version + n,
                    id=stored_message_id(message, append.stream, causation_id, n, dead_attempt),
                    kind=message.kind,
                    topic=self.topics.for_message(self.service.name, message),
                    causation_id=causation_id,
                    data=data,
                    hash=hashlib.sha256(data).digest(),
                    traceparent=trace,
                    at=append.at,
                ),
            )


class _TooLarge(ValueError):
    pass


def _died_on(arrival: StreamState[Any] | None, inbound: Inbound) -> bool:
    """Whether this is dead on the service's own stream: it could not be understood then, and its stream not be found."""
    known = arrival.entries.get(inbound.causation_id) if arrival else None
    return known is not None and known.dead and known.hash == inbound.hash


def dead_letter(service: str, inbound: Inbound, dead: DeadCause) -> DeadLettered:
    record = inbound.record
    body = record.value if record else None
    return DeadLettered(
        service=service,
        reason=dead.reason,
        detail=printable(dead.detail),
        attempts=dead.attempts,
        door=inbound.door is not None,
        message_kind=printable(inbound.kind),
        message_id=printable(inbound.message_id),
        causation_id=str(inbound.causation_id),
        topic=record.topic if record else "",
        partition=record.partition if record else 0,
        offset=record.offset if record else 0,
        timestamp=record.timestamp if record else 0,
        key=_text(record.key if record else None),
        headers=tuple((_name(name), _text(value) or "") for name, value in (record.headers if record else ())),
        body=_text(body if body is None or len(body) <= CARRIED else None),
        hash=inbound.hash.hex(),
    )


def printable(text: str) -> str:
    """What a store and a terminal can hold: no NUL, no lone surrogate."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _name(name: str | bytes) -> str:
    return printable(name if isinstance(name, str) else name.decode("utf-8", "backslashreplace"))


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def as_dead(inbound: Inbound, dead: DeadCause) -> Inbound:
    """The same hearing, known to be dead."""
    return replace(inbound, dead=dead)


def without_content(inbound: Inbound, dead: DeadCause) -> Inbound:
    """The same hearing, known to be dead, with nothing in it that its sender wrote."""
    record = inbound.record and inbound.record._replace(key=None, value=None, headers=())
    return replace(inbound, dead=dead, kind="", record=record, door=None, message_id="")
