"""Answers while they are being written: pieces put together as they come. Pure.

Pieces go by a topic of their own, beside the record: one may be lost, come twice, or come after the reply that it is of.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from contracts.gateway import AttemptFailed, AttemptStarted, CallCancelled, ModelFailed, ModelReplied, TokensStreamed
from infra.audit.words import Word

Key = tuple[str, str, str]  # tenant, workflow, stream
KEPT = 10_000  # calls that are remembered: who watches may watch for days
OVER = (ModelReplied.kind, ModelFailed.kind, CallCancelled.kind)


@dataclass
class Draft:
    """What one attempt has written so far. `word` is the last piece that came."""

    attempt: int
    word: Word
    pieces: dict[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(text for _, text in sorted(self.pieces.items()))


@dataclass
class Drafts:
    """The answers that are being written just now, oldest first."""

    _open: dict[Key, Draft] = field(default_factory=dict)
    _begun: dict[Key, float] = field(default_factory=dict)  # the last attempt that is known to have begun
    _over: dict[Key, float] = field(default_factory=dict)  # attempts up to this one write no more

    def __iter__(self) -> Iterator[Draft]:
        return iter(list(self._open.values()))

    def process(self, stored: Word) -> None:
        """Takes note of a message of any kind."""
        key = (stored.tenant, stored.workflow, stored.stream)
        if stored.kind == TokensStreamed.kind:
            self._piece(key, stored)
        elif stored.kind == AttemptStarted.kind:
            self._end(key, self._begun.get(key, 0))
            _note(self._begun, key, _number(stored, "attempt"))
        elif stored.kind == AttemptFailed.kind:
            self._end(key, self._begun.get(key, 0))
        elif stored.kind in OVER:
            self._end(key, inf)

    def _piece(self, key: Key, stored: Word) -> None:
        attempt, draft = _number(stored, "attempt"), self._open.get(key)
        if attempt <= self._over.get(key, 0) or (draft and attempt < draft.attempt):
            return
        if draft is None or draft.attempt < attempt:
            draft = self._open[key] = Draft(attempt, stored)
        draft.word = stored
        draft.pieces[_number(stored, "piece")] = str(stored.data.get("text") or "")

    def _end(self, key: Key, attempt: float) -> None:
        _note(self._over, key, max(attempt, self._over.get(key, 0)))
        if (draft := self._open.get(key)) and draft.attempt <= attempt:
            del self._open[key]


def _note(known: dict[Key, float], key: Key, attempt: float) -> None:
    known[key] = attempt
    if len(known) > KEPT:
        del known[next(iter(known))]


def _number(stored: Word, name: str) -> int:
    given = stored.data.get(name)
    return given if isinstance(given, int) else 0
