"""Answers while they are being written: pieces put together as they arrive. Pure.

Pieces are ephemeral: one may be lost, arrive twice, or arrive after the reply that it belongs to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from contracts.gateway import AttemptFailed, AttemptStarted, CallCancelled, ModelFailed, ModelReplied, TokensStreamed
from infra.audit.message import ShownMessage

Key = tuple[str, str, str]  # tenant, workflow, stream
KEPT = 10_000  # calls that are remembered: `watch` may run for days
OVER = (ModelReplied.kind, ModelFailed.kind, CallCancelled.kind)


@dataclass
class Draft:
    """What one attempt has written so far. `message` is the last piece that arrived."""

    attempt: int
    message: ShownMessage
    pieces: dict[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(text for _, text in sorted(self.pieces.items()))


@dataclass
class Drafts:
    """The answers that are being written just now, oldest first."""

    _open: dict[Key, Draft] = field(default_factory=dict)
    _begun: dict[Key, float] = field(default_factory=dict)  # the latest attempt known to have begun
    _over: dict[Key, float] = field(default_factory=dict)  # attempts up to this one have ended

    def __iter__(self) -> Iterator[Draft]:
        return iter(list(self._open.values()))

    def process(self, message: ShownMessage) -> None:
        """Takes a message of any kind into account."""
        key = (message.tenant, message.workflow, message.stream)
        if message.kind == TokensStreamed.kind:
            self._piece(key, message)
        elif message.kind == AttemptStarted.kind:
            self._end(key, self._begun.get(key, 0))
            _note(self._begun, key, _number(message, "attempt"))
        elif message.kind == AttemptFailed.kind:
            self._end(key, self._begun.get(key, 0))
        elif message.kind in OVER:
            self._end(key, inf)

    def _piece(self, key: Key, message: ShownMessage) -> None:
        attempt, draft = _number(message, "attempt"), self._open.get(key)
        if attempt <= self._over.get(key, 0) or (draft and attempt < draft.attempt):
            return
        if draft is None or draft.attempt < attempt:
            draft = self._open[key] = Draft(attempt, message)
        draft.message = message
        draft.pieces[_number(message, "piece")] = str(message.data.get("text") or "")

    def _end(self, key: Key, attempt: float) -> None:
        _note(self._over, key, max(attempt, self._over.get(key, 0)))
        if (draft := self._open.get(key)) and draft.attempt <= attempt:
            del self._open[key]


def _note(known: dict[Key, float], key: Key, attempt: float) -> None:
    known[key] = attempt
    if len(known) > KEPT:
        del known[next(iter(known))]


def _number(message: ShownMessage, name: str) -> int:
    given = message.data.get(name)
    return given if isinstance(given, int) else 0
