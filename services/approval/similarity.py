"""How alike two cases are: of the same tool, by the words that they share. Numbers do not count: a refund of 50 and one of 75
are like cases, and so are two of the same tool that nobody described."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from hansard.actions import Action
from shared.words import is_unspaced

_ASCII_WORD = re.compile(r"[a-z]+")
_WORD = re.compile(r"[^\W\d_]+")
_LONGEST = 4_000  # characters of a text that count: as long as an action's `about` may be


class Past(NamedTuple):
    """An earlier case: its words, and whatever names it."""

    words: str
    case: str


class _Words(NamedTuple):
    tool: str
    words: frozenset[str]


def words_of(action: Action) -> str:
    """The text by which cases are compared: the tool, a blank, what it is about."""
    return f"{action.tool} {action.about}"


def similarity(a: str, b: str) -> float:
    """From 0, another tool or no word in common, to 1, the same words. Twice the shared words, by all words of both (Dice's
    coefficient). Both are texts of `words_of`."""
    return _alike(_words(a), _words(b))


def most_similar(words: str, cases: Iterable[Past], n: int) -> list[tuple[Past, float]]:
    """At most `n` cases that are similar at all, most similar first; of equal ones, the earlier given."""
    wanted = _words(words)
    found = ((case, alike) for case in cases if (alike := _alike(wanted, _words(case.words))) > 0)
    return sorted(found, key=lambda one: -one[1])[:n]


def _alike(a: _Words, b: _Words) -> float:
    if a.tool != b.tool or not a.tool:
        return 0.0
    together = len(a.words) + len(b.words)
    return 2 * len(a.words & b.words) / together if together else 1.0


@lru_cache(8192)
def _words(text: str) -> _Words:
    """Of scripts without spaces between words, each character is one."""
    tool, _, about = text[:_LONGEST].partition(" ")
    if about.isascii():
        return _Words(tool, frozenset(_ASCII_WORD.findall(about.lower())))
    found = _WORD.findall(unicodedata.normalize("NFKC", about).casefold())
    return _Words(tool, frozenset(part for word in found for part in (word if _is_unspaced(word) else (word,))))


def _is_unspaced(word: str) -> bool:
    return not word.isascii() and any(map(is_unspaced, word))
