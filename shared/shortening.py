"""Long texts made to fit, with an honest mark where something was left out. Lengths are in characters."""

from collections.abc import Iterable, Sequence


def shortened(text: str, limit: int) -> str:
    """The text, or as much of its beginning as fits with a mark that says how much is missing. Never longer than `limit`,
    except for the mark alone."""
    if len(text) <= limit:
        return text
    kept = max(0, limit - len(_mark(len(text))))
    return f"{text[:kept]}{_mark(len(text) - kept)}"


def fitted(texts: Sequence[str], total: int) -> tuple[str, ...]:
    """The texts, together within `total`: the short ones whole, the long ones shortened to an equal length."""
    limit = _level(map(len, texts), total)
    return tuple(shortened(text, limit) for text in texts)


def _level(lengths: Iterable[int], total: int) -> int:
    waiting = sorted(lengths)
    for place, length in enumerate(waiting):
        share = total // (len(waiting) - place)
        if length > share:
            return share
        total -= length
    return waiting[-1] if waiting else 0


def _mark(missing: int) -> str:
    return f" … [{missing:,} more characters left out]"
