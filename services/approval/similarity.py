"""How alike two cases are, by the words that they share. Numbers do not count: a refund of 50 and one of 75 are like cases."""

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


def words_of(action: Action) -> str:
    """The text by which cases are compared."""
    return f"{action.tool} {action.about}"


def similarity(a: str, b: str) -> float:
    """From 0, no word in common, to 1, the same words. Twice the shared words, by all words of both (Dice's coefficient)."""
    return _shared(_words(a), _words(b))


def most_similar(words: str, cases: Iterable[Past], n: int) -> list[tuple[Past, float]]:
    """At most `n` cases that share a word, most similar first; of equal ones, the earlier given."""
    wanted = _words(words)
    found = ((case, alike) for case in cases if (alike := _shared(wanted, _words(case.words))) > 0)
    return sorted(found, key=lambda one: -one[1])[:n]


def _shared(a: frozenset[str], b: frozenset[str]) -> float:
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


@lru_cache(8192)
def _words(text: str) -> frozenset[str]:
    """Of scripts without spaces between words, each character is one."""
    if text.isascii():
        return frozenset(_ASCII_WORD.findall(text[:_LONGEST].lower()))
    found = _WORD.findall(unicodedata.normalize("NFKC", text[:_LONGEST]).casefold())
    return frozenset(part for word in found for part in (word if _is_unspaced(word) else (word,)))


def _is_unspaced(word: str) -> bool:
    return not word.isascii() and any(map(is_unspaced, word))
