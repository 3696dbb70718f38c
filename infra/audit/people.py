"""The registrations of people, as the record has them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.approval import Person, PersonRegistered, PersonRemoved
from hansard.codec import decode
from hansard.identity import Stream, person_key, person_stream
from hansard.message import Message
from hansard.values import carried
from shared.eventstore.model import History

KINDS: Mapping[str, type[PersonRegistered] | type[PersonRemoved]] = {
    kind.kind: kind for kind in (PersonRegistered, PersonRemoved)
}


@dataclass(frozen=True)
class Registration:
    """One registration, or removal, of a person. `person` is None where it is a removal."""

    name: str
    person: Person | None
    at: datetime | None
    by: str


def registrations(histories: Mapping[Stream, History]) -> dict[str, list[Registration]]:
    """Every registration in the workflow of people, the oldest first, by the person's key."""
    found = ((stream, list(_of(history))) for stream, history in sorted(histories.items()))
    return {person_key(mine[-1].name): mine for stream, mine in found if mine and _is_a_person(stream, mine)}


def _is_a_person(stream: Stream, mine: Sequence[Registration]) -> bool:
    return stream == person_stream(stream.tenant, mine[-1].name)


def _of(history: History) -> Iterator[Registration]:
    for stored in history.messages:
        if stored.kind in KINDS:
            message = decode(KINDS[stored.kind], stored.data)
            yield Registration(message.name, _person(message), stored.at, message.by)


def _person(message: PersonRegistered | PersonRemoved) -> Person | None:
    return Person(**carried(message, Person)) if isinstance(message, PersonRegistered) else None


def registered(messages: Iterable[Message]) -> Person | None:
    """The person whose stream this is, as last registered."""
    person = None
    for message in messages:
        if isinstance(message, PersonRegistered | PersonRemoved):
            person = _person(message)
    return person


def taken_by_others(person: Person, all_: Mapping[str, Sequence[Registration]]) -> Iterator[tuple[str, str]]:
    """What proves this person, and would prove another one, too: what it is, and whose. Two people never share a proof."""
    for other in all_.values():
        known = other[-1].person
        if known is None or person_key(known.name) == person_key(person.name):
            continue
        mine, theirs = _proofs(person), _proofs(known)
        yield from ((proof, known.name) for proof in mine if proof in theirs)


def _proofs(person: Person) -> list[str]:
    return [*(f"the key {key.id}" for key in person.keys), *(f"the identity {one}" for one in person.identities),
            *(f"the topic {topic}" for topic in person.topics)]  # fmt: skip
