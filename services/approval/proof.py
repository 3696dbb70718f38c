"""Who sent a review or a request: what the registration proves, and what it does not. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from contracts.approval import Person, PersonKey, Proof, RefusedBecause, Requester, ReviewAction, ReviewReceived
from contracts.catalog import REVIEWS
from hansard.decider import Context
from hansard.identity import person_key
from hansard.reviews import has_form, requester_statement, statement, verified
from services.approval.facts import Registration

UNSIGNED = "it has no signature and no token, and did not come on a topic of the reviewer's own"


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
    """A review, or a proof, that does not count, and why."""

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

        def signed() -> bytes:
            return statement(review.model_dump(mode="json"), context.tenant, context.workflow)

        check_signature(person, registration, review.key, review.signature, signed)
        return Reviewer(person, "signature", registration.number, review.key)
    if received.topic not in ("", REVIEWS) and received.topic in person.topics:
        return Reviewer(person, "principal", registration.number, "")
    if received.identity:
        if received.identity in person.identities:
            return Reviewer(person, "oidc", registration.number, "")
        raise Refused("unproven", f"the token is of {received.identity[:500]}, which is no identity of {person.name}")
    if unproven:
        return Reviewer(person, "unproven", registration.number, "")
    raise Refused("unproven", UNSIGNED)


def check_form(review: ReviewAction, topic: str, identity: str, *, unproven: bool) -> None:
    """Refuses what no registration could prove, before it is looked at. Raises Refused."""
    if review.signature and not (review.key and has_form(review.signature)):
        raise Refused("bad-signature", "a signature is 64 bytes in base64, with the id of its key")
    if not (review.signature or identity or topic not in ("", REVIEWS) or unproven):
        raise Refused("unproven", UNSIGNED)


def is_signed_by(review: ReviewAction, keys: Iterable[PersonKey], context: Context) -> bool:
    """Whether one of these keys signed it. Raises Refused where it names one of them, and that one did not."""
    key = next((key for key in keys if review.signature and key.id == review.key), None)
    if key is None:
        return False
    try:
        signed = verified(
            key.public, review.signature, statement(review.model_dump(mode="json"), context.tenant, context.workflow)
        )
    except ValueError as bad:
        raise Refused("bad-signature", f"it cannot be signed: {bad}") from None
    if not signed:
        raise Refused("bad-signature", f"the signature is not that of key {review.key} over what was sent")
    return True


def check_signature(
    person: Person, registration: Registration, key_id: str, signature: str, statement_of: Callable[[], bytes]
) -> None:
    """`statement_of`: what was signed, or ValueError where nobody can sign it. Raises Refused."""
    key = next((key for key in person.keys if key.id == key_id), None)
    if key is None and key_id in registration.former_keys:
        raise Refused("revoked", f"the key {key_id} is no longer registered")
    if key is None:
        raise Refused("bad-signature", f"{person.name} has no key {key_id!r}")
    try:
        signed = statement_of()
    except ValueError as bad:
        raise Refused("bad-signature", f"it cannot be signed: {bad}") from None
    if not verified(key.public, signature, signed):
        raise Refused("bad-signature", f"the signature is not that of key {key_id} over what was sent")


def signers_of(requester: Requester) -> tuple[str, ...]:
    """Whose registration must be read, as `person_key` writes the name, before `proven` is asked."""
    name = person_key(requester.name)
    return (name,) if name and requester.signature else ()


def proven(claimed: Requester, people: Mapping[str, Registration], context: Context) -> Requester:
    """The requester as far as the signature proves it: `proof` is `signature`, or `unproven` with why. What the claim states of
    its own proof is nothing."""
    if not person_key(claimed.name):
        return unproven(claimed, "the request names nobody")
    if not claimed.signature:
        return unproven(claimed, "the request has no signature")

    def signed() -> bytes:
        if not claimed.sha256:
            raise ValueError("the request has no canonical form")
        return requester_statement(claimed.sha256, context.tenant, context.workflow, claimed.name)

    try:
        person = registered(people, claimed.name)
        check_signature(person, people[person_key(claimed.name)], claimed.key, claimed.signature, signed)
    except Refused as refused:
        return unproven(claimed, refused.detail)
    return Requester(name=person.name, proof="signature", key=claimed.key)


def unproven(claimed: Requester, why: str) -> Requester:
    """Its name and key stay: nobody decides on what was asked for in their name."""
    return Requester(name=claimed.name, key=claimed.key, why=why[:1000])


def is_requester(requester: Requester, person: Person) -> bool:
    """Whether the person asked for it: by name in any spelling, or by a key, identity or topic of theirs."""
    if requester.name and person_key(requester.name) == person_key(person.name):
        return True
    return requester.key in {*(key.id for key in person.keys), *person.identities, *person.topics}
