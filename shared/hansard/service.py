"""A service as data: its name, what it receives, how it decides, what it performs, which topics it brings."""

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from hansard.decider import Decider, State
from hansard.identity import Stream, stream_name
from hansard.message import Intent, Message, Outcome
from hansard.policy import Basis, canonical, is_behind
from hansard.topics import Topic

S = TypeVar("S", contravariant=True)
Attempt = TypeVar("Attempt", bound=Intent, contravariant=True)


class Perform(Protocol[S, Attempt]):
    """Makes one attempt for a stream, within the intent's deadline. Never raises for what the outside does: that is an
    outcome too."""

    async def __call__(self, state: S, intent: Attempt, stream: Stream, /) -> Outcome: ...


class PerformerContext(Protocol):
    """What a performer may use of its process. Raises StoreUnavailable while the event store does not answer, unless it waits."""

    def now(self) -> datetime:
        """The event store's clock, as this process knows it: the only one that counts."""
        ...

    async def record(self, stream: Stream, fact: Outcome, name: str) -> Any:
        """A stream of this service processes a fact, once under this name; then its state. Waits for the event store."""
        ...

    async def load(self, streams: Sequence[Stream]) -> list[Any]:
        """The states of streams of this service as they are stored now, whoever stored them."""
        ...

    def publish_ephemeral(self, stream: Stream, message: Message, id: UUID) -> None:
        """Publishes what is not stored to its topic, or drops it. Never waits, never fails."""
        ...


@dataclass(frozen=True)
class Performer(Generic[State, Attempt]):
    """How a service reaches the outside. `open` is entered once a process (clients, connections) and yields what performs.

    `limit` attempts run at once in a process; a slow one delays no other.
    """

    intent: type[Attempt]
    open: Callable[[Any], Any]  # PerformerContext -> AbstractAsyncContextManager[Perform]
    limit: int = 64


@dataclass(frozen=True)
class Service(Generic[State]):
    """`receives` says for each kind, in one line, how its stream is found: the part after the service's own name.

    "" is the service's one stream of that workflow; None: not meant for this service. `topics` are those that a service of
    your own brings to the catalogue (see `task_topics`). `basis`: the data of its policy, stored when it starts; None: code
    alone decides. `informed`: the same service, made from what is stored when a process starts, before it receives anything.
    Raises ValueError where the policy's version is not made from its basis.
    """

    name: str
    decider: Decider[State]
    receives: Mapping[type[Message], Callable[[Any], str | None]]
    performer: Performer[State, Any] | None = None
    basis: Basis[State] | None = None
    informed: "Callable[[Any], Awaitable[Service[State]]] | None" = None  # given the event store
    topics: tuple[Topic, ...] = ()

    def __post_init__(self) -> None:
        if self.basis is not None and not is_behind(canonical(self.basis.data), self.decider.policy):
            raise ValueError(f"{self.name}: the policy {self.decider.policy!r} is not named after its data: see `version_of`")

    def stream(self, message: Message) -> str | None:
        """The name of the stream that processes this: `planner`, `specialists/draft.1`; None where none does."""
        find = self.receives.get(type(message))
        part = find(message) if find else None
        return None if part is None else stream_name(self.name, part)

    @cached_property
    def code(self) -> str:
        """Version of the code that decides: the hash of the sources beside its decider, and below them in a package."""
        folder = Path(inspect.getfile(self.decider.decide)).parent
        files: Iterable[Path] = folder.rglob("*") if (folder / "__init__.py").exists() else folder.glob("*")
        sources = sorted(path for path in files if path.suffix in (".py", ".yaml"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


__all__ = ["Perform", "Performer", "PerformerContext", "Service"]
