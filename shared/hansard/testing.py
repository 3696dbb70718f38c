"""Tests of deciders: given stored messages, when a stream receives this, then it stores that. No servers, no real clock.

    from hansard.testing import given

    def test_silence_is_never_consent() -> None:
        given(approval, queued).when(WakeUp()).then(expired)

`InMemory` runs whole services, with the messages that they store, in the test's own process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Generic, NoReturn
from uuid import UUID

from hansard.checked import checked
from hansard.codec import check_read_again, encode
from hansard.decider import CannotProcess, Context, Decider, State, WakeUp
from hansard.memory import NOON, DeadMessage, InMemory
from hansard.message import DeadReason, Intent, Message
from hansard.references import declared_wholes
from hansard.service import Service

CONTEXT = Context(causation_id=UUID(int=1), at=NOON, workflow="wf-1", tenant="default", source="/test", message_id="req-1")


def given(decider: "Decider[State] | Service[State]", *stored: Message, context: Context = CONTEXT) -> "Given[State]":
    """A stream that has stored these messages, in order. Raises ValueError for a service that could not be served."""
    return Given(checked(decider).decider if isinstance(decider, Service) else decider, tuple(stored), context)


@dataclass(frozen=True)
class Given(Generic[State]):
    """A stream before it receives a message."""

    decider: Decider[State]
    stored: tuple[Message, ...]
    context: Context

    @property
    def state(self) -> State:
        return self.decider.fold(self.stored)

    def when(
        self,
        message: Message,
        *,
        at: datetime | timedelta | None = None,
        may_perform: bool = True,
        topic: str | None = None,
    ) -> "Decided[State]":
        """Decides what the stream stores when it receives this message.

        `at` is the recorded time, or a time after the last one; a WakeUp without `at` comes when the stream asked for it.
        `topic` is the door at which it is received; None: that of the context, "" unless the test gave another.
        Decides twice, from two folds, to find a decider that reads a clock, a counter or its own memory. The second time like
        an audit: `may_perform` is true only if the first decision stored an intent.
        """
        topic = self.context.topic if topic is None else topic
        context = replace(self.context, at=self._time(message, at), may_perform=may_perform, topic=topic)
        try:
            decided = tuple(self.decider.decide(self.decider.fold(self.stored), message, context))
        except CannotProcess as refused:
            return Decided(self, context, (), refused)
        audited = replace(context, may_perform=any(isinstance(one, Intent) for one in decided))
        again = tuple(self.decider.decide(self.decider.fold(self.stored), message, audited))
        if decided != again:
            _fail("the same message was decided in two ways", again, decided)
        for one in decided:
            data = encode(one)
            try:
                declared_wholes(one)
                check_read_again(one, data)
            except ValueError as changed:
                raise AssertionError(f"{one!r}: {changed}") from None
        result = Decided(self, context, decided)
        wake_at = self.decider.next_wake_up(result.state)
        if isinstance(message, WakeUp) and wake_at is not None and wake_at <= context.at:
            raise AssertionError(f"at its wake-up at {context.at}, the stream asks for a wake-up at {wake_at}, which is no later")
        return result

    def _time(self, message: Message, at: datetime | timedelta | None) -> datetime:
        if isinstance(at, timedelta):
            return self.context.at + at
        if at is None and isinstance(message, WakeUp):
            at = self.decider.next_wake_up(self.state)
            if at is None:
                raise AssertionError("this stream asks for no wake-up: wake_at(state) is None")
        return at or self.context.at


@dataclass(frozen=True)
class Decided(Generic[State]):
    """The result of a message. `messages` are those that were decided; `refused` is why it cannot be processed."""

    before: Given[State]
    context: Context
    messages: tuple[Message, ...]
    refused: CannotProcess | None = field(default=None)

    @property
    def state(self) -> State:
        return self.before.decider.fold((*self.before.stored, *self.messages))

    @property
    def wake_at(self) -> datetime | None:
        """When the stream wants its next wake-up now."""
        return self.before.decider.next_wake_up(self.state)

    def then(self, *expected: Message | type[Message]) -> Given[State]:
        """Asserts that exactly these were decided, in order (a class: any message of it). Returns the stream with them."""
        if self.refused is not None:
            raise AssertionError(f"it cannot be processed: {self.refused.reason}: {self.refused.detail}")
        if len(expected) != len(self.messages) or not all(map(_is, self.messages, expected)):
            _fail("something else was decided", expected, self.messages)
        return Given(self.before.decider, (*self.before.stored, *self.messages), self.context)

    def then_refused(self, reason: DeadReason) -> None:
        """Asserts that the message cannot be processed, for this reason: it becomes a dead letter."""
        if self.refused is None:
            _fail(f"it was not refused as {reason}", (), self.messages)
        elif self.refused.reason != reason:
            raise AssertionError(f"it was refused as {self.refused.reason} ({self.refused.detail}), not as {reason}")


def _is(message: Message, expected: Message | type[Message]) -> bool:
    return isinstance(message, expected) if isinstance(expected, type) else message == expected


def _fail(what: str, expected: Sequence[Message | type[Message]], decided: Sequence[Message]) -> NoReturn:
    def listed(messages: Sequence[Message | type[Message]]) -> str:
        return "".join(f"\n    {message!r}" for message in messages) or "\n    nothing"

    raise AssertionError(f"{what}\n  expected:{listed(expected)}\n  decided:{listed(decided)}")


__all__ = ["CONTEXT", "NOON", "DeadMessage", "Decided", "Given", "InMemory", "given"]
