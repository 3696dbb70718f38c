"""Which keywords a text has at the start of a word: "Cancellation" has `cancel`, "barcode" does not have `code`."""

import re
from collections.abc import Iterable
from functools import lru_cache


def fold(text: str) -> str:
    """The text in one case, with single spaces."""
    return " ".join(text.casefold().split())


@lru_cache(1024)
def _keyword(word: str) -> tuple[str, re.Pattern[str]]:
    folded = fold(word)
    return folded, re.compile(rf"(?<!\w){re.escape(folded)}")


def mentioned(folded: str, keywords: Iterable[str]) -> tuple[str, ...]:
    """Those keywords that a text has, in their own order. The text must be folded."""

    def is_in(word: str) -> bool:
        plain, at_start = _keyword(word)
        return plain in folded and at_start.search(folded) is not None  # the first test is fast, and rejects most keywords

    return tuple(filter(is_in, keywords))
