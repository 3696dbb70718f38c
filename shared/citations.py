"""What a text cites, in square brackets: a passage's source, `[handbook.md]`, or its number, `[2]`, or several, `[1, 3]`."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contracts.verifier import Passage

_BRACKETS = re.compile(r"(?<![\w\])])\[([^\[\]\n]{1,512})\](?!\()")  # neither `items[0]` nor a Markdown link


class Citations(NamedTuple):
    """`sources` of the passages that are cited, each once, in the order of the text; `unknown`: numbers of no passage."""

    sources: tuple[str, ...]
    unknown: tuple[str, ...]


def citations(text: str, passages: Sequence[Passage]) -> Citations:
    """Of all that stands in brackets, what names a passage by its source, or is a number of up to three digits."""
    by_name = {passage.source.casefold(): passage.source for passage in passages}
    by_number = {str(number): passage.source for number, passage in enumerate(passages, 1)}
    sources: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for cited in _cited(text, by_name):
        if source := by_name.get(cited.casefold()) or by_number.get(cited):
            sources[source] = None
        elif cited.isdecimal() and len(cited) < 4:
            unknown[cited] = None
    return Citations(tuple(sources), tuple(unknown))


def _cited(text: str, names: dict[str, str]) -> Iterator[str]:
    for inside in _BRACKETS.findall(text):
        if inside.strip().casefold() in names:
            yield inside.strip()
        else:
            yield from (part.strip() for part in re.split(r"[,;]", inside))
