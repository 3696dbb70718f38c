"""Shortens long texts and marks where something was left out. Lengths are in characters."""

from collections.abc import Sequence

from hansard.references import share_of
from hansard.references import shortened as shortened


def fitted(texts: Sequence[str], total: int) -> tuple[str, ...]:
    """The texts, together no longer than `total`: short ones whole, all longer ones shortened to one length."""
    limit = share_of(map(len, texts), total)
    return tuple(shortened(text, limit) for text in texts)
