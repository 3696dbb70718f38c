"""Who sent a review: what the registration proves, and what it does not. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contracts.approval import Person, Proof, RefusedBecause, Requester, ReviewReceived
from contracts.catalog import REVIEWS
from hansard.decider import Context
from hansard.identity import person_key
from hansard.reviews import statement, verified
from services.approval.facts import Registration


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A registered person who truly sent this review."""

    person: Person
    proof: Proof
    registration: int
    key: str  # that signed; empty for another proof

    @property
    def name(self) -> str:
        return self.person.name


class Refused(Exception):
    """A review that does not count, and why."""

    def __init__(self, reason: RefusedBecause, detail: str = "") -> None:
        super().__init__(detail)
        self.reason: RefusedBecause = reason
        self.detail = detail


def registered(people: Mapping[str, Registration], name: str) -> Person:
    """The person of this name. Raises Refused."""
    found = people[person_key(name)]
    if found.person is not None and person_key(found.person.name) == person_key(name):
        return found.person
    if found.number:
        raise Refused("revoked", f"{name} was removed")
    raise Refused("unknown-person", f"{name} is not registered")


def reviewer_of(received: ReviewReceived, people: Mapping[str, Registration], context: Context, *, unproven: bool) -> Reviewer:
    """Whoever sent it. `unproven`: in development, whoever it claims to be from. Raises Refused."""
    review = received.review
    person, registration = registered(people, review.reviewer), people[person_key(review.reviewer)]
    if review.signature:
        check_signature(received, person, registration.former_keys, context)
        return Reviewer(person, "signature", registration.number, review.key)
    if received.topic not in ("", REVIEWS) and received.topic in person.topics:
        return Reviewer(person, "principal", registration.number, "")
    if received.identity:
        if received.identity in person.identities:
            return Reviewer(person, "oidc", registration.number, "")
        raise Refused("unproven", f"the token is of {received.identity[:500]}, which is no identity of {person.name}")
    if unproven:
        return Reviewer(person, "unproven", registration.number, "")
    raise Refused("unproven", "it has no signature and no token, and did not come on a topic of the reviewer's own")


def check_signature(received: ReviewReceived, person: Person, former: Iterable[str], context: Context) -> None:
    """Raises Refused."""
    review = received.review
    key = next((key for key in person.keys if key.id == review.key), None)
    if key is None and review.key in former:
        raise Refused("revoked", f"the key {review.key} is no longer registered")
    if key is None:
        raise Refused("bad-signature", f"{person.name} has no key {review.key!r}")
    try:
        signed = statement(review.model_dump(mode="json"), context.tenant, context.workflow)
    except ValueError as bad:
        raise Refused("bad-signature", f"it cannot be signed: {bad}") from None
    if not verified(key.public, review.signature, signed):
        raise Refused("bad-signature", f"the signature is not that of key {review.key} over this review")


def is_requester(requester: Requester, person: Person) -> bool:
    """Whether the person asked for it: by name in any spelling, or by a key, identity or topic of theirs."""
    if requester.name and person_key(requester.name) == person_key(person.name):
        return True
    return requester.key in {*(key.id for key in person.keys), *person.identities, *person.topics}
