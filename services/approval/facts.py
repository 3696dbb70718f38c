"""Facts that are reported to approval's own streams. They are recorded and never published."""

from pydantic import Field

from contracts.approval import Person, SimilarCase
from hansard.message import Outcome, Path, Value


class Registration(Value):
    """What the record held of a person when it was read."""

    name: str = Field(description="the name that was looked up, as `hansard.identity.person_key` writes it")
    number: int = Field(default=0, ge=0, description="how many times the person was registered or removed by then; 0: never")
    person: Person | None = Field(default=None, description="absent: never registered, or removed")
    former_keys: tuple[str, ...] = Field(default=(), description="ids of keys that are no longer registered")


class LookedUp(Outcome):
    """The outcome of a LookupStarted: what was found on the record."""

    kind = "hansard.approval.looked-up.v1"
    action_id: Path
    similar: tuple[SimilarCase, ...] = ()
    cases: int = Field(default=0, ge=0, description="recorded cases that were searched")
    people: tuple[Registration, ...] = ()
    trouble: str = Field(default="", description="why nothing could be read; empty: it was read")


class RegistrationGiven(Outcome):
    """The operator registers a person. `attempt` is always 1."""

    kind = "hansard.approval.registration-given.v1"
    person: Person
    by: str


class RemovalGiven(Outcome):
    """The operator removes a person. `attempt` is always 1."""

    kind = "hansard.approval.removal-given.v1"
    name: str
    by: str
