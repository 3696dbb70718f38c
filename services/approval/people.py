"""The registrations of one person. One stream a person, in the workflow `people` of the tenant. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from contracts.approval import Person, PersonRegistered, PersonRemoved
from hansard.decider import CannotProcess, Context
from hansard.identity import LONGEST_PERSON_KEY, is_too_long, person_key
from hansard.message import Message
from hansard.reviews import BadKey, public_key
from hansard.values import carried
from services.approval.facts import Registration, RegistrationGiven, RemovalGiven


@dataclass(frozen=True, slots=True)
class Registered:
    """A person as registered last; None: removed, or never registered."""

    person: Person | None = None
    number: int = 0
    former_keys: tuple[str, ...] = ()

    def as_read(self, name: str) -> Registration:
        return Registration(name=person_key(name), number=self.number, person=self.person, former_keys=self.former_keys)


def decide(state: Registered, message: Message, context: Context) -> Iterable[Message]:
    match message:
        case RegistrationGiven():
            return _register(state, message)
        case RemovalGiven():
            return (PersonRemoved(name=message.name, by=message.by),) if state.person else ()
        case _:
            return ()


def _register(state: Registered, given: RegistrationGiven) -> Iterator[Message]:
    if is_too_long(person_key(given.person.name)):
        raise CannotProcess("invalid", f"in its plain form the name is longer than {LONGEST_PERSON_KEY} bytes")
    for key in given.person.keys:
        try:
            known = public_key(key.public)
        except BadKey as bad:
            raise CannotProcess("invalid", f"the key {key.id}: {bad}") from None
        if (known["id"], known["public"]) != (key.id, key.public):
            raise CannotProcess("invalid", f"the key {key.id}: its id is not the beginning of its hash, {known['id']}")
    if given.person != state.person:
        yield PersonRegistered(**carried(given.person, Person), by=given.by)


def evolve(state: Registered, message: Message) -> Registered:
    match message:
        case PersonRegistered():
            return _with(state, Person(**carried(message, Person)))
        case PersonRemoved():
            return _with(state, None)
        case _:
            return state


def _with(state: Registered, person: Person | None) -> Registered:
    keys = {key.id for key in person.keys} if person else set[str]()
    before = (*state.former_keys, *(key.id for key in state.person.keys)) if state.person else state.former_keys
    return Registered(person, state.number + 1, tuple(id_ for id_ in dict.fromkeys(before) if id_ not in keys))
