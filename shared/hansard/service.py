"""A service as data: its name, what it receives, how it decides, what it performs, which topics it adds."""

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from hansard.actions import Approval
from hansard.decider import Context, Decider, State
from hansard.envelope import PRINTABLE
from hansard.identity import Stream, stream_name
from hansard.message import Intent, Message, Outcome, Value
from hansard.policy import StoredPolicy, canonical_json, matches_version
from hansard.topics import Topic
from hansard.values import ContentReference

S = TypeVar("S", contravariant=True)
AnyValue = TypeVar("AnyValue", bound=Value)
Attempt = TypeVar("Attempt", bound=Intent, contravariant=True)


class Perform(Protocol[S, Attempt]):
    """Makes one attempt for a stream, until the intent's deadline at the latest. It must not raise: a failure outside is an
    outcome too."""

    async def __call__(self, state: S, intent: Attempt, stream: Stream, /) -> Outcome: ...


class PerformerContext(Protocol):
    """The tools of a performer. A method raises StoreUnavailable if the event store is unavailable, unless it waits for it."""

    def now(self) -> datetime:
        """The event store's clock, as this process knows it: the only clock that counts."""
        ...

    async def record(self, stream: Stream, fact: Outcome, name: str) -> Any:
        """Gives a fact to a stream of this service, once under this name. Returns its state; waits for the event store."""
        ...

    async def load(self, streams: Sequence[Stream]) -> list[Any]:
        """The states of streams of this service as they are stored now, whichever process wrote them."""
        ...

    async def content(self, stream: Stream, reference: ContentReference) -> bytes:
        """The bytes in the content store, as its tenant has them. Raises LookupError where they are missing or damaged."""
        ...

    async def approved(self, stream: Stream, approval: Approval) -> None:
        """Checks an approval against the decision that is on the record. An executor awaits this before it acts: a task states
        only what its sender wrote. Raises hansard.actions.NotApproved, which is final."""
        ...

    async def whole(self, stream: Stream, value: AnyValue) -> AnyValue:
        """The message with the whole texts, lists and data in place of their excerpts. Raises LookupError, and ValueError where
        what is named is not of the field's type."""
        ...

    def publish_ephemeral(self, stream: Stream, message: Message, id: UUID) -> None:
        """Publishes a message of an ephemeral topic, or drops it. Never waits, never fails."""
        ...


@dataclass(frozen=True)
class Performer(Generic[State, Attempt]):
    """The part of a service that reaches the outside. `open` is entered once in each process, for clients and connections, and
    yields the function that makes attempts. `limit`: attempts at once in a process; a slow one delays no other."""

    intent: type[Attempt]
    open: Callable[[Any], AbstractAsyncContextManager[Perform[State, Attempt]]]  # given a PerformerContext
    limit: int = 64


@dataclass(frozen=True)
class Service(Generic[State]):
    """Everything that the runtime needs to run a service.

    `receives`: by kind, a function that finds the stream of a message. It returns the part after the service's name; "" is
    the service's one stream of that workflow; None: the message is not for this service.

    `topics`: the topics that a service of your own adds to the catalogue (see `task_topics`). `stored_policy`: the data of its
    policy, stored when it starts; None: code alone decides. `prepare`: makes the service that a process runs from the event
    store, before the first message. `observe`: is called after each append with the stored messages, for the service's own
    metrics; it must not raise. `set_aside`: what the service says, besides a dead letter, when a message comes for a stream whose
    history this version cannot fold: given the messages of that history that can be read, and the one that came.

    Raises ValueError if the policy's version is not made from its data.
    """

    name: str
    decider: Decider[State]
    receives: Mapping[type[Message], Callable[[Any], str | None]]
    performer: Performer[Any, Any] | None = None
    stored_policy: StoredPolicy[State] | None = None
    prepare: "Callable[[Any], Awaitable[Service[State]]] | None" = None  # gets the event store; not for services of your own
    observe: Callable[[Sequence[Message]], None] | None = None
    topics: tuple[Topic, ...] = ()
    set_aside: Callable[[Sequence[Message], Message | None, Context], Iterable[Message]] | None = None

    def __post_init__(self) -> None:
        if self.stored_policy is None:
            return
        version = self.decider.policy
        if not matches_version(canonical_json(self.stored_policy.data), version):
            raise ValueError(f"{self.name}: the policy version must be `version_of(code version, data)`, not {version!r}")

    def stream(self, message: Message) -> str | None:
        """The name of the stream of this message: `planner`, `specialists/draft.1`; None where it is not for this service.

        Raises ValueError where `receives` gives a name that no stream can have, and what `receives` raises.
        """
        find = self.receives.get(type(message))
        part = find(message) if find else None
        if part is None:
            return None
        if isinstance(part, str) and PRINTABLE.match(name := stream_name(self.name, part)):
            return name
        raise ValueError(
            f"receives gives {repr(part)[:80]} for {message.kind}, which names no stream: a name is a str, has at most "
            "512 characters with the name of the service, and no control characters"
        )

    @cached_property
    def code(self) -> str:
        """The version of the code that decides: the hash of the sources beside its decider, and below them in a package."""
        folder = Path(inspect.getfile(self.decider.decide)).parent
        files: Iterable[Path] = folder.rglob("*") if (folder / "__init__.py").exists() else folder.glob("*")
        sources = sorted(path for path in files if path.suffix in (".py", ".yaml"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


__all__ = ["Perform", "Performer", "PerformerContext", "Service"]
