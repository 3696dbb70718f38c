"""Shortens long texts and marks where something was left out. Lengths are in characters."""

from collections.abc import Iterable, Sequence


def shortened(text: str, limit: int) -> str:
    """The text; or as much of its beginning as fits, with a mark that says how much is missing. Longer than `limit` only where
    the mark alone is longer."""
    if len(text) <= limit:
        return text
    kept = max(0, limit - len(_mark(len(text))))
    return f"{text[:kept]}{_mark(len(text) - kept)}"


def fitted(texts: Sequence[str], total: int) -> tuple[str, ...]:
    """The texts, together no longer than `total`: short ones whole, all longer ones shortened to one length."""
    limit = _limit(map(len, texts), total)
    return tuple(shortened(text, limit) for text in texts)


def _limit(lengths: Iterable[int], total: int) -> int:
    """The length to which each text must be shortened so that all fit."""
    rising = sorted(lengths)
    for place, length in enumerate(rising):
        share = total // (len(rising) - place)
        if length > share:
            return share
        total -= length
    return rising[-1] if rising else 0


def _mark(missing: int) -> str:
    return f" … [{missing:,} more characters left out]"
