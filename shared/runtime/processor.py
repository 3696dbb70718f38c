"""Decides what each stream stores for the messages that it received.

Pure: the same batch on the same history at the same recorded time gives the same ids and data. Only the traceparent may
differ when tracing is on.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, get_args
from uuid import UUID

from contracts.catalog import OURS, Topics
from contracts.dead_letters import DeadLettered
from hansard.codec import Invalid, check_read_again, decode, encode
from hansard.decider import CannotProcess, State, WakeUp, never
from hansard.identity import stored_message_id, wake_up_causation_id
from hansard.message import DeadReason, Intent, Message
from hansard.references import by_reference, declared_wholes
from hansard.service import Service
from hansard.values import ContentReference
from shared.eventstore.model import LONG_AGO, History, InboxEntry, StoredMessage, Stream, StreamAppend
from shared.eventstore.outcomes import with_references
from shared.runtime.claims import forged_letter
from shared.runtime.dead_letters import dead_letter
from shared.runtime.inbound import DeadCause, Inbound, cause_of, forged, with_reused_id


@dataclass(slots=True)
class StreamState(Generic[State]):
    """The cached fold of a stream. Holds only state that the store has confirmed."""

    state: State
    processed: int = 0  # inbox entries
    version: int = 0
    at: datetime = LONG_AGO  # recorded time of the last inbox entry
    entries: dict[UUID, InboxEntry] = field(default_factory=dict)  # by causation id, the latest attempt
    traceparent: str = ""  # W3C, of the last stored message: messages from within the service continue that trace
    once: set[UUID] = field(default_factory=set)  # ids of the stored messages of kinds that are stored once
    filed: set[int] = field(default_factory=set)  # offsets of the forged messages that its dead letters are about
    dead: DeadCause | None = None  # this code cannot fold its history: there is no state, and what it receives is dead
    readable: tuple[Message, ...] = ()  # of a history that cannot be folded: the messages that can be read


@dataclass(slots=True, kw_only=True)
class PendingAppend(StreamAppend, Generic[State]):
    """The append of one batch to one stream while it is being decided, and the state of the stream once it is stored."""

    loaded: StreamState[State]
    state: State
    traceparent: str
    received: list[tuple[Inbound, Inbound]] = field(default_factory=list)  # all of the batch: as received, as processed
    inbounds: list[Inbound] = field(default_factory=list)  # those that got an inbox entry
    filed: list[int] = field(default_factory=list)  # offsets of forged messages
    entry_by_id: dict[UUID, InboxEntry] = field(default_factory=dict)
    once: set[UUID] = field(default_factory=set)  # ids of the messages of this append that are stored once
    failures: list[tuple[str, DeadCause]] = field(default_factory=list)  # kind, and what the service's own code raised
    decided: list[Message] = field(default_factory=list)  # the messages of `messages`, not yet encoded
    contents: dict[ContentReference, bytes] = field(default_factory=dict)  # what they carry by reference: stored before them
    intents: list[Intent] = field(default_factory=list)
    processed_wake_up: bool = False
    wake_up_is_dead: bool = False  # its last wake-up is a dead letter: no wake-up for the same time may follow

    def entry(self, causation_id: UUID) -> InboxEntry | None:
        return self.entry_by_id.get(causation_id) or self.loaded.entries.get(causation_id)

    def has_once(self, id: UUID) -> bool:
        """Whether a message of a kind that is stored once is there under this id."""
        return id in self.once or id in self.loaded.once

    def confirm(self) -> StreamState[State]:
        """Updates the cached stream, once the store has accepted the append."""
        stream_state = self.loaded
        stream_state.state = self.state
        stream_state.processed += len(self.entries)
        stream_state.version += len(self.messages)
        stream_state.at = self.at
        stream_state.entries.update(self.entry_by_id)
        stream_state.traceparent = self.traceparent
        stream_state.once.update(self.once)
        stream_state.filed.update(self.filed)
        return stream_state


@dataclass(frozen=True)
class Processor(Generic[State]):
    """Decides for one service. `traceparent_of` gives the W3C traceparent for the messages stored because of an inbound one."""

    service: Service[State]
    topics: Topics
    max_message_bytes: int
    traceparent_of: Callable[[Inbound], str] = lambda inbound: inbound.traceparent

    @cached_property
    def _of_the_user(self) -> bool:
        """Whether its messages are read again before they are stored. Those of our own services are not: it takes time."""
        return self.service.name not in OURS

    def fold(self, history: History) -> StreamState[State]:
        """The state of a stream as the store has it. Raises KeyError, Invalid for a message that this code cannot read, and
        what `evolve` raises."""
        messages = [decode(self.topics.kinds[stored.kind], stored.data) for stored in history.messages]
        return self._loaded(self.service.decider.fold(messages), history)

    def fold_or_set_aside(self, history: History) -> StreamState[State]:
        """As `fold`; a stream whose history cannot be folded has the initial state, and a reason why its messages are dead."""
        try:
            return self.fold(history)
        except BaseException as error:  # `evolve` is a service's own code: it may raise anything
            loaded = self._loaded(self.service.decider.initial, history)
            loaded.dead = cause_of(error, "set-aside")
            loaded.readable = tuple(self._readable(history))
            return loaded

    def _readable(self, history: History) -> Iterator[Message]:
        for stored in history.messages:
            with suppress(KeyError, Invalid):
                yield decode(self.topics.kinds[stored.kind], stored.data)

    def _loaded(self, state: State, history: History) -> StreamState[State]:
        kinds, messages = self.topics.kinds, history.messages
        traceparent = messages[-1].traceparent if messages else ""
        once = {stored.id for stored in messages if stored.kind in kinds and kinds[stored.kind].once}
        entries = dict(history.entries)
        loaded = StreamState(state, history.processed, history.version, history.at, entries, traceparent, once)
        for stored in (one for one in messages if one.kind == DeadLettered.kind):
            with suppress(Invalid):
                loaded.filed.update(decode(DeadLettered, stored.data).offsets)
        return loaded

    def new_stream(self) -> StreamState[State]:
        """The state of a stream that has processed nothing."""
        return StreamState(self.service.decider.initial)

    def begin(
        self, stream: Stream, loaded: StreamState[State], at: datetime, not_before: datetime = LONG_AGO
    ) -> PendingAppend[State]:
        """Makes an empty append at this recorded time. `not_before`: the latest recorded time of the stream and the messages."""
        return PendingAppend(
            stream,
            loaded.processed,
            loaded.version,
            at,
            not_before,
            loaded=loaded,
            state=loaded.state,
            traceparent=loaded.traceparent,
        )

    def process(
        self,
        pending: PendingAppend[State],
        inbound: Inbound,
        default_stream: StreamState[State] | None = None,
        may_perform: bool = True,
    ) -> bool:
        """Adds the inbox entry of this message, and the messages that answer it, to the append.

        Returns False, and adds nothing, if the message was processed before or no longer counts. `default_stream`: the stream
        in which the service recorded a redriven message that it could not parse.
        """
        received, inbound = inbound, self._identified(pending, inbound)
        pending.received.append((received, inbound))
        if isinstance(inbound.message, WakeUp) and inbound.causation_id != self._next_wake_up_id(pending):
            return False
        if inbound.forged and pending.loaded.filed.issuperset(record.offset for record in inbound.forged):
            return False
        earlier = pending.entry(inbound.causation_id)
        if earlier is None and inbound.redrive and not _is_dead(default_stream, inbound):
            return False
        if earlier is not None and not (inbound.redrive and earlier.dead and earlier.kind == inbound.kind):
            if inbound.claim is not None and inbound.causation_id in pending.entry_by_id:  # either of the two may be forged
                pending.claims.append(inbound.claim)
            return False
        attempt = 1 if earlier is None else earlier.attempt + 1
        if inbound.record is None:
            inbound.traceparent = pending.traceparent
        answers, state, dead = self._decide(pending, inbound, attempt, may_perform)
        if dead is not None and (dead.error or inbound.kind == DeadLettered.kind):
            pending.failures.append((inbound.kind, dead))
        entry = InboxEntry(
            causation_id=inbound.causation_id,
            sequence=pending.processed + len(pending.entries) + 1,
            version_before=pending.version + len(pending.messages),
            kind=inbound.kind,
            at=pending.at,
            hash=inbound.hash,
            code=self.service.code,
            policy=self.service.decider.policy,
            dead=dead is not None or any(isinstance(message, DeadLettered) for message, _ in answers),
            attempt=attempt,
        )
        self._add(pending, inbound, entry, answers)
        pending.state = state
        return True

    def _identified(self, pending: PendingAppend[State], inbound: Inbound) -> Inbound:
        """The same under an id of its own, if an earlier message has its id and another body; of forged ones those that no dead
        letter is about yet."""
        unfiled = [record for record in inbound.forged if record.offset not in pending.loaded.filed]
        if unfiled:
            return forged(self.service.name, unfiled)
        earlier = pending.entry(inbound.causation_id)
        if earlier is not None and earlier.hash != inbound.hash and inbound.outcome is None:
            return with_reused_id(inbound)
        return inbound

    def _add(
        self,
        pending: PendingAppend[State],
        inbound: Inbound,
        entry: InboxEntry,
        answers: Sequence[tuple[Message, StoredMessage]],
    ) -> None:
        if inbound.outcome is None:
            pending.entries.append(entry)
        else:
            stored_outcome = with_references(inbound.outcome, [stored.data for _, stored in answers])
            pending.entries.append(replace(entry, outcome=stored_outcome))
        pending.entry_by_id[entry.causation_id] = entry
        pending.messages.extend(stored for _, stored in answers)
        pending.once.update(stored.id for message, stored in answers if message.once)
        if inbound.claim is not None:
            pending.claims.append(inbound.claim)
        pending.filed.extend(record.offset for record in inbound.forged)
        if inbound.door is not None:
            pending.door_messages.append(inbound.door)
        pending.inbounds.append(inbound)
        if isinstance(inbound.message, WakeUp):
            pending.processed_wake_up, pending.wake_up_is_dead = True, entry.dead
        pending.decided.extend(message for message, _ in answers)
        pending.intents.extend(message for message, _ in answers if isinstance(message, Intent))
        if answers:
            pending.traceparent = answers[-1][1].traceparent

    @staticmethod
    def _next_wake_up_id(pending: PendingAppend[State]) -> UUID:
        """The id of the next wake-up. The number of inbox entries is part of it, so a wake-up is stale once another message was
        processed."""
        return wake_up_causation_id(pending.stream, pending.processed + len(pending.entries))

    @property
    def uses_wake_ups(self) -> bool:
        return self.service.decider.wake_at is not never

    def set_wake_up(self, pending: PendingAppend[State], process_id: str) -> None:
        """Adds the time of the stream's next wake-up, where it has changed; and, while an attempt runs, the process that runs
        it."""
        before, after = self.next_wake_up(pending.loaded.state), self.next_wake_up(pending.state)
        pending.keep_wake_up = after == before and not pending.processed_wake_up and not pending.intents
        pending.wake_at = None if pending.wake_up_is_dead and after is not None and after <= pending.at else after
        pending.holder = process_id if pending.intents else ""

    def next_wake_up(self, state: State) -> datetime | None:
        """None also where `wake_at` fails: whatever the stream receives in such a state is a dead letter, which says why."""
        try:
            return self.service.decider.next_wake_up(state)
        except BaseException as error:  # `wake_at` is a service's own code: it may raise anything
            cause_of(error)
            return None

    def _decide(
        self, pending: PendingAppend[State], inbound: Inbound, attempt: int, may_perform: bool
    ) -> tuple[list[tuple[Message, StoredMessage]], State, DeadCause | None]:
        traceparent = self.traceparent_of(inbound)
        dead = inbound.dead or pending.loaded.dead
        if dead is None and inbound.message is not None:
            try:
                context = inbound.context(pending.at, may_perform)
                messages = list(self.service.decider.decide(pending.state, inbound.message, context))
                answers = list(self._stored(pending, inbound, messages, traceparent))
                messages = [message for message, _ in answers]  # as they can be read again
                state = self.service.decider.fold(messages, pending.state)
                self._check_wake_up(inbound.message, messages, state, pending.at)
                return answers, state, None
            except CannotProcess as refused:
                dead = _refusal(refused)
            except _TooLarge as large:
                dead = DeadCause("too-large", str(large))
            except BaseException as poison:  # anything that a decider raises; it would raise it at every attempt
                dead = cause_of(poison)
        if inbound.forged:
            forgery = forged_letter(self.service.name, inbound.forged, inbound.causation_id, self.max_message_bytes)
            answers = list(self._stored(pending, inbound, [forgery], traceparent, dead_attempt=attempt))
            return answers, pending.state, DeadCause(forgery.reason, forgery.detail)
        dead = dead or DeadCause("not-expected", "there is no message to process")
        if inbound.kind == DeadLettered.kind:  # there is no dead letter about a dead letter: they would never end
            return [], pending.state, dead
        letter = dead_letter(self.service.name, inbound, dead, self.max_message_bytes)
        if pending.loaded.dead:
            messages = [letter, *self._of_set_aside(pending, inbound)]
            return list(self._stored(pending, inbound, messages, traceparent, dead_attempt=attempt)), pending.state, dead
        answers = list(self._stored(pending, inbound, [letter], traceparent, dead_attempt=attempt))
        return answers, self.service.decider.fold([letter], pending.state), dead

    def _of_set_aside(self, pending: PendingAppend[State], inbound: Inbound) -> list[Message]:
        """What the service says of a stream that is set aside; what may be stored once only where it is not there."""
        if self.service.set_aside is None:
            return []
        try:
            messages = list(self.service.set_aside(pending.loaded.readable, inbound.message, inbound.context(pending.at)))
        except BaseException as error:  # a service's own code: it may raise anything
            pending.failures.append((inbound.kind, cause_of(error)))
            return []
        ids = {
            message: stored_message_id(message, pending.stream, inbound.causation_id, 0) for message in messages if message.once
        }
        return [message for message in messages if message not in ids or not pending.has_once(ids[message])]

    def _check_wake_up(self, inbound: Message, messages: Sequence[Message], state: State, at: datetime) -> None:
        """Raises ValueError where `wake_at` gives no time, a stream would get wake-ups for ever, or a lost attempt would never
        be noticed."""
        next_wake_up = self.service.decider.next_wake_up(state)
        has_intent = any(isinstance(message, Intent) for message in messages)
        if not has_intent and not isinstance(inbound, WakeUp):
            return
        if next_wake_up is None and has_intent:
            raise ValueError("an attempt begins and wake_at gives no time: if the attempt is lost, nothing wakes the stream")
        if next_wake_up is not None and next_wake_up <= at:
            raise ValueError(f"at {at.isoformat()} wake_at gives {next_wake_up.isoformat()}, which is no later")

    def _stored(
        self,
        pending: PendingAppend[State],
        inbound: Inbound,
        messages: Iterable[Message],
        traceparent: str,
        dead_attempt: int = 0,
    ) -> Iterator[tuple[Message, StoredMessage]]:
        causation_id = inbound.causation_id
        version = pending.version + len(pending.messages)
        once: set[UUID] = set()  # of this decision
        for n, message in enumerate(messages, 1):
            if not isinstance(message, Message):
                raise TypeError(f"decide must yield messages, not {type(message).__name__}")
            id = stored_message_id(message, pending.stream, causation_id, n, dead_attempt)
            if message.once:
                if id in once or pending.has_once(id):
                    what = f"{type(message).__name__} may be stored once in a {message.once}"
                    raise ValueError(f"{what}, and it or a message in place of it is stored already")
                once.add(id)
            pending.contents |= declared_wholes(message)
            data = encode(message)
            if len(data) > message.inline:
                message, contents = by_reference(message, message.inline)
                pending.contents |= contents
                data = encode(message)
            if self._of_the_user and not dead_attempt:
                check_read_again(message, data)
            if len(data) > self.max_message_bytes and not dead_attempt:
                raise _TooLarge(f"{message.kind} would have {len(data)} bytes; the limit is {self.max_message_bytes}")
            yield (
                message,
                StoredMessage(
                    stream=pending.stream,
                    version=version + n,
                    id=id,
                    kind=message.kind,
                    topic=self.topics.for_message(self.service.name, message),
                    causation_id=causation_id,
                    data=data,
                    hash=hashlib.sha256(data).digest(),
                    traceparent=traceparent,
                    at=pending.at,
                ),
            )


class _TooLarge(ValueError):
    pass


def _refusal(refused: CannotProcess) -> DeadCause:
    if refused.reason in get_args(DeadReason) and isinstance(refused.detail, str):
        return DeadCause(refused.reason, refused.detail[:2000])
    return DeadCause("poison", f"CannotProcess takes a DeadReason and a str, not {refused.reason!r}, {refused.detail!r}"[:2000])


def _is_dead(default_stream: StreamState[Any] | None, inbound: Inbound) -> bool:
    """Whether this message is dead on the service's default stream: it could not be parsed, so its own stream was unknown."""
    entry = default_stream.entries.get(inbound.causation_id) if default_stream else None
    return entry is not None and entry.dead and (entry.hash, entry.kind) == (inbound.hash, inbound.kind)
