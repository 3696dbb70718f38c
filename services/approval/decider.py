"""Approval's two deciders as the one of the service.

`people` decides on registrations: one stream a person. `actions` decides on all other messages: one stream an action or question.
The kind of a message shows which it is for; a stream belongs to one of them by its name (`hansard.identity.person_stream`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from contracts.approval import (
    ActionApproved,
    ActionProposed,
    ActionRejected,
    PersonRegistered,
    PersonRemoved,
    QuestionAnswered,
    QuestionAsked,
    QuestionExpired,
)
from hansard.decider import CannotProcess, Context, Decider
from hansard.identity import PEOPLE, is_reserved
from hansard.message import Command, Message
from services.approval import actions, people, state
from services.approval.facts import RegistrationGiven, RemovalGiven
from services.approval.people import Registered
from services.approval.policy import Policy

State = state.State | Registered


def approval(policy: Policy) -> Decider[State]:
    def decide(current: State, message: Message, context: Context) -> Iterable[Message]:
        if isinstance(message, RegistrationGiven | RemovalGiven):
            return people.decide(current if isinstance(current, Registered) else Registered(), message, context)
        if is_reserved(context.workflow) and isinstance(message, Command):
            raise CannotProcess("invalid", f"nothing is decided in the workflow {PEOPLE!r}: it holds the registrations of people")
        return () if isinstance(current, Registered) else actions.decide(policy, current, message, context)

    return Decider(state.Nothing(), decide, evolve, wake_at, policy=policy.version)


def evolve(current: State, message: Message) -> State:
    if isinstance(message, PersonRegistered | PersonRemoved):
        return people.evolve(current if isinstance(current, Registered) else Registered(), message)
    return current if isinstance(current, Registered) else state.evolve(current, message)


def wake_at(current: State) -> datetime | None:
    return None if isinstance(current, Registered) else state.wake_at(current)


def set_aside(readable: Sequence[Message], _: Message | None, context: Context) -> Iterable[Message]:
    """An action whose history this version cannot fold is refused: whoever proposed it goes on, and nothing runs."""
    ends = (ActionApproved, ActionRejected, QuestionAnswered, QuestionExpired)
    if any(isinstance(message, ends) for message in readable):
        return
    for message in readable:
        if isinstance(message, ActionProposed):
            yield ActionRejected(
                action_id=message.action_id,
                sha256=message.sha256,
                notes="this version cannot read what was recorded of it",
                policy="",
                rule="set-aside",
                because="invalid",
                status="invalid",
            )
            return
        if isinstance(message, QuestionAsked):
            yield QuestionExpired(action_id=message.action_id, because="withdrawn")
            return
