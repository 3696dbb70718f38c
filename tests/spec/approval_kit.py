"""Approval as a whole in the test's own process: actions, people with real keys, reviews with real signatures."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from contracts.approval import (
    ActionProposed,
    LookupStarted,
    Person,
    PersonKey,
    Proposal,
    ProposeAction,
    Requester,
    ReviewAction,
    ReviewRefused,
    stated_expiry,
)
from hansard.actions import Action, action_bytes, action_reference
from hansard.codec import encode
from hansard.identity import person_stream
from hansard.message import Message
from hansard.reviews import key_of, new_key, requester_statement, sign, statement
from hansard.service import Performer, PerformerContext
from hansard.testing import NOON, InMemory
from hansard.values import carried
from services.approval.app import serving
from services.approval.assessing import refused_at
from services.approval.facts import RegistrationGiven, RemovalGiven
from services.approval.performer import open_performer
from services.approval.policy import Policy, load
from services.approval.state import Open
from shared.eventstore.model import StoredMessage

TENANT, WORKFLOW, DOOR = "default", "wf-1", "approvals.reviews"
REQUEST = "5a" * 32  # the SHA-256 of a request
POLICY = load()
REFUND = Action(tool="ledger", about="Process $50 refund for delayed shipment", amount="50", recipient="acct-9")
DELETE = Action(tool="desk", about="Delete user account and all associated data")
BOB = Requester(name="bob@example.org", proof="signature", key="0f1e2d3c4b5a6978")


@dataclass(frozen=True)
class Someone:
    """A person with a key pair."""

    name: str
    roles: tuple[str, ...] = ("reviewer",)
    private: bytes = field(default_factory=lambda: new_key()[0])

    @property
    def key(self) -> PersonKey:
        return PersonKey(**key_of(self.private))

    @property
    def person(self) -> Person:
        return Person(name=self.name, roles=self.roles, keys=(self.key,))

    def signed(self, review: ReviewAction, workflow: str = WORKFLOW, tenant: str = TENANT) -> ReviewAction:
        """The review under this person's key, whatever name it states."""
        review = review.model_copy(update={"key": self.key.id})
        signature = sign(self.private, statement(review.model_dump(mode="json"), tenant, workflow))
        return review.model_copy(update={"signature": signature})

    def asks(self, *, workflow: str = WORKFLOW, tenant: str = TENANT, sha256: str = REQUEST, name: str = "") -> Requester:
        """As the router makes it of a request that this person signed."""
        signature = sign(self.private, requester_statement(sha256, tenant, workflow, name or self.name))
        return Requester(name=name or self.name, key=self.key.id, sha256=REQUEST, signature=signature)


ALICE = Someone("alice@example.org")
CAROL = Someone("carol@example.org")
SENIOR = Someone("sam@example.org", ("senior",))
AGENT = Someone("agent@example.org", ())


def proposal(action: Action = REFUND, action_id: str = "pay.1", **more: Any) -> ProposeAction:
    data = action_bytes(action)
    reference = action_reference(data)
    fields = {
        "action_id": action_id,
        "action": data.decode(),
        "action_ref": reference,
        "sha256": reference.sha256,
        "confidence": 0.88,
        "requester": BOB,
        "proposer": "planner",
    }
    return ProposeAction(**{**fields, **more})


def sha_of(action: Action) -> str:
    return hashlib.sha256(action_bytes(action)).hexdigest()


EXPIRY = stated_expiry(ActionProposed(**carried(proposal(), Proposal), expires_at=refused_at(POLICY, proposal(), NOON)))


@dataclass
class Recent:
    """What the in-memory services have stored, as a store gives it."""

    there: InMemory

    async def read_last(self, kinds: Sequence[str], messages: int, tenant: str = "") -> list[StoredMessage]:
        return [
            StoredMessage(stream, version, UUID(int=1), one.kind, "approval.events", UUID(int=2), encode(one), b"")
            for stream, known in self.there._streams.items()
            for version, one in enumerate(known.messages, 1)
            if one.kind in kinds
        ]


@dataclass(frozen=True)
class _Context:
    of: PerformerContext
    recent: Recent

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


class Approvals:
    """The service with what it performs. Messages come one after the other, each with all that follows from it."""

    def __init__(self, *people: Someone, policy: Policy = POLICY) -> None:
        service = serving(policy)
        self.there = InMemory(replace(service, performer=Performer(LookupStarted, self._open, 64)))
        self.policy = policy
        self._number = 0
        for person in people:
            self.register(person.person)

    @asynccontextmanager
    async def _open(self, context: PerformerContext) -> AsyncIterator[Any]:
        async with open_performer(_Context(context, Recent(self.there))) as perform:
            yield perform

    def register(self, person: Person) -> tuple[Message, ...]:
        return self._fact(person.name, RegistrationGiven(attempt=1, person=person, by="operator"))

    def remove(self, name: str) -> tuple[Message, ...]:
        return self._fact(name, RemovalGiven(attempt=1, name=name, by="operator"))

    def _fact(self, name: str, fact: RegistrationGiven | RemovalGiven) -> tuple[Message, ...]:
        self._number += 1
        return self.there.fact(person_stream(TENANT, name), fact, f"given/{self._number}")

    def send(self, message: Message, topic: str = "", workflow: str = WORKFLOW, **more: Any) -> tuple[Message, ...]:
        """A message, and what it leads to once the record was read."""
        return (*self.there.send(message, topic=topic, workflow=workflow, **more), *self.read())

    def read(self) -> tuple[Message, ...]:
        return asyncio.run(self.there.perform())

    def propose(self, action: Action = REFUND, **more: Any) -> tuple[Message, ...]:
        return self.send(proposal(action, **more))

    def review(self, who: Someone, decision: str = "approve", *, topic: str = DOOR, **more: Any) -> tuple[Message, ...]:
        """A review of what waits, signed by this person."""
        return self.send(self.written(who, decision, **more), topic)

    def written(self, who: Someone, decision: str = "approve", **more: Any) -> ReviewAction:
        action_id = more.setdefault("action_id", "pay.1")
        if "sha256" not in more:
            more["sha256"] = getattr(self.state(action_id), "sha256", "")
        if isinstance(waits := self.state(action_id), Open):
            more.setdefault("expires_at", stated_expiry(waits.subject))
        self._number += 1
        fields = {"review": f"review-{self._number:06}", "decision": decision, "reviewer": who.name}
        return who.signed(ReviewAction(**{**fields, **more}))

    def state(self, action_id: str = "pay.1") -> Any:
        return self.there.state(f"approval/{action_id}", WORKFLOW)

    def messages(self, action_id: str = "pay.1") -> tuple[Message, ...]:
        return self.there.messages(f"approval/{action_id}", WORKFLOW)

    def pass_time(self, by: timedelta | None = None, *, to: datetime | None = None) -> tuple[Message, ...]:
        return (*self.there.advance(by, to=to), *self.read())


def refused(messages: Sequence[Message]) -> list[str]:
    return [message.reason for message in messages if isinstance(message, ReviewRefused)]


def kinds(messages: Sequence[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]
