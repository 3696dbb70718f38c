"""A service as data: what it is called, what it hears, how it decides, what it performs."""

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from hansard.decider import Decider, State
from hansard.message import Intent, Message, Outcome
from shared.eventstore.model import StoredMessage, Stream
from shared.eventstore.ports import MessageReader
from shared.policy import Basis, canonical, is_behind

S = TypeVar("S", contravariant=True)
Attempt = TypeVar("Attempt", bound=Intent, contravariant=True)


class Perform(Protocol[S, Attempt]):
    """Makes one attempt for a stream, within the intent's deadline. Never raises for what the outside does: that is an
    outcome too."""

    async def __call__(self, state: S, intent: Attempt, stream: Stream) -> Outcome: ...


class PerformerContext(Protocol):
    """What a performer may use of the house. Raises Unavailable where the store is away, unless it waits."""

    def now(self) -> datetime:
        """The store's clock, as this process knows it: the only one that counts."""
        ...

    async def record(self, stream: Stream, fact: Outcome, name: str) -> Any:
        """A stream of this service hears a fact, once under this name for good; then its state. Waits for the store."""
        ...

    async def load(self, streams: Sequence[Stream]) -> list[Any]:
        """The states of streams of this service as they are on the record now, whoever wrote them."""
        ...

    async def remember(self, answers: Sequence[tuple[bytes, Stream]], keep: float) -> None:
        """See Store."""
        ...

    async def remembered(self, tenant: str, key: bytes, kind: str, unless: str = "") -> StoredMessage | None:
        """See Store."""
        ...

    def publish_ephemeral(self, stream: Stream, message: Message, id: UUID) -> None:
        """Publishes what is not on the record to its topic, or drops it. Never waits, never fails."""
        ...


@dataclass(frozen=True)
class Performer(Generic[State, Attempt]):
    """How a service reaches outside. `open` is entered once a process (clients, connections) and yields what performs.

    `limit` calls run at once in a process; a slow one delays no other.
    """

    intent: type[Attempt]
    open: Callable[[PerformerContext], Any]  # -> AbstractAsyncContextManager[Perform]
    limit: int = 64


@dataclass(frozen=True)
class Service(Generic[State]):
    """`hears` says for each kind, in one line, how its stream is found: the part after the service's own name.

    "" is the service's one stream of that workflow; None: not meant for this service. `basis`: the data of its policy, put
    on the record when it starts; None: code alone decides. `informed`: the same service, made of what the record tells when
    a process starts, before it hears anything. Raises ValueError where the policy's version is not drawn from its basis.
    """

    name: str
    decider: Decider[State]
    receives: Mapping[type[Message], Callable[[Any], str | None]]
    performer: Performer[State, Any] | None = None
    basis: Basis[State] | None = None
    informed: "Callable[[MessageReader], Awaitable[Service[State]]] | None" = None

    def __post_init__(self) -> None:
        if self.basis is not None and not is_behind(canonical(self.basis.data), self.decider.policy):
            raise ValueError(f"{self.name}: the policy {self.decider.policy!r} is not named after its data: see `version_of`")

    def stream(self, message: Message) -> str | None:
        """The name of the stream that hears this: `planner`, `specialists/draft.1`; None where none does."""
        find = self.receives.get(type(message))
        part = find(message) if find else None
        return None if part is None else f"{self.name}/{part}" if part else self.name

    @cached_property
    def code(self) -> str:
        """Version of the code that decides: the hash of the sources beside its decider."""
        folder = Path(inspect.getfile(self.decider.decide)).parent
        sources = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".yaml"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def mine(prefix: str, path: str) -> str | None:
    """The asking stream's part of an id that it made: `mine("specialists", "specialists/draft.1/2") == "draft.1"`."""
    head, _, rest = path.partition("/")
    if head != prefix:
        return None
    return rest.rpartition("/")[0]


__all__ = ["Perform", "Performer", "PerformerContext", "Service", "mine"]
