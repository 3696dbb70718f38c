"""Past cases: what was decided about earlier actions of the same tenant, from approval's own messages on the record."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contracts.approval import ActionApproved, ActionEdited, ActionProposed, ActionRejected, SimilarCase
from hansard.actions import BadAction, read_action
from hansard.codec import Invalid, decode
from hansard.identity import Stream
from hansard.message import Message
from services.approval.similarity import Past, most_similar, words_of
from shared.eventstore.model import StoredMessage
from shared.eventstore.ports import RecentMessages

READ = 5_000  # of each kind, the newest on the record are searched
SHOWN = 3
KEPT = timedelta(seconds=5)  # what was read is used again for so long
KINDS: Mapping[str, type[Message]] = {kind.kind: kind for kind in (ActionProposed, ActionEdited, ActionApproved, ActionRejected)}


@dataclass(frozen=True, slots=True)
class Case:
    """A decided action."""

    stream: Stream
    words: str
    found: SimilarCase  # its similarity is 0


@dataclass
class Cases:
    """Searches the cases of the newest part of the record; reads it again once what it has is `KEPT` old."""

    recent: RecentMessages
    now: Callable[[], datetime]
    _read_at: datetime | None = None
    _cases: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def similar(self, stream: Stream, words: str) -> tuple[tuple[SimilarCase, ...], int]:
        """The most similar cases of this tenant, and how many were searched. Raises StoreUnavailable."""
        async with self._lock:
            if self._read_at is None or self.now() - self._read_at > KEPT:
                stored = await self.recent.read_last(list(KINDS), READ)
                self._cases, self._read_at = await asyncio.to_thread(cases_of, stored), self.now()
            mine = [case for case in self._cases.get(stream.tenant, ()) if case.stream != stream]
        return await asyncio.to_thread(_most_similar, mine, words), len(mine)


def _most_similar(cases: list[Case], words: str) -> tuple[SimilarCase, ...]:
    found = most_similar(words, [Past(case.words, str(n)) for n, case in enumerate(cases)], SHOWN)
    return tuple(cases[int(past.case)].found.model_copy(update={"similarity": alike}) for past, alike in found)


def cases_of(stored: Iterable[StoredMessage]) -> dict[str, tuple[Case, ...]]:
    """The decided actions by tenant, the latest decision first. What was withdrawn, or was no action, is no case."""
    words: dict[Stream, tuple[str, str]] = {}
    found: dict[Stream, Case] = {}
    for one in stored:
        match _read(one):
            case ActionProposed(action=action) | ActionEdited(action=action):
                words[one.stream] = _words(action)
            case ActionApproved() | ActionRejected() as decided if one.stream in words:
                if isinstance(decided, ActionApproved) or decided.because in ("reviewed", "expired"):
                    found[one.stream] = _case(one.stream, *words[one.stream], decided)
    by_tenant: dict[str, list[Case]] = {}
    for case in reversed(found.values()):
        by_tenant.setdefault(case.stream.tenant, []).append(case)
    return {tenant: tuple(mine) for tenant, mine in by_tenant.items()}


def _case(stream: Stream, words: str, about: str, decided: ActionApproved | ActionRejected) -> Case:
    return Case(
        stream,
        words,
        SimilarCase(
            workflow=stream.workflow,
            action=decided.action_id,
            about=about,
            status=decided.status,
            by=decided.by,
            similarity=0,
        ),
    )


def _words(action: str) -> tuple[str, str]:
    try:
        read = read_action(action.encode())
    except (BadAction, UnicodeEncodeError):
        return "", ""
    return words_of(read), read.about[:300]


def _read(stored: StoredMessage) -> Message | None:
    """None for an event of older code that this code cannot read."""
    try:
        return decode(KINDS[stored.kind], stored.data)
    except Invalid:
        return None
