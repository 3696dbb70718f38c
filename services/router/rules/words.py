"""Keywords in a text, at the start of a word: `cancel` is in "Cancellation", `code` is not in "barcode"."""

import re
from collections.abc import Iterable
from functools import lru_cache


def fold(text: str) -> str:
    """Without the differences of case and white space."""
    return " ".join(text.casefold().split())


@lru_cache(1024)
def _keyword(word: str) -> tuple[str, re.Pattern[str]]:
    folded = fold(word)
    return folded, re.compile(rf"(?<!\w){re.escape(folded)}")


def mentioned(folded: str, keywords: Iterable[str]) -> tuple[str, ...]:
    """Those keywords that a folded text has, in the keywords' order."""

    def is_in(word: str) -> bool:
        plain, at_start = _keyword(word)
        return plain in folded and at_start.search(folded) is not None  # the first is fast, and mostly enough

    return tuple(filter(is_in, keywords))
