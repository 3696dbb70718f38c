"""What a text cites, in square brackets: a passage's source, `[handbook.md]`, or its place, `[2]`, or several, `[1, 3]`."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contracts.verifier import Passage

_BRACKETS = re.compile(r"(?<![\w\])])\[([^\[\]\n]{1,512})\](?!\()")  # neither `items[0]` nor a Markdown link


class Citations(NamedTuple):
    given: tuple[str, ...]  # sources of passages that are cited, each once, in the order of the text
    strange: tuple[str, ...]  # places that no passage has


def citations(text: str, passages: Sequence[Passage]) -> Citations:
    by_name = {passage.source.casefold(): passage.source for passage in passages}
    by_place = {str(place): passage.source for place, passage in enumerate(passages, 1)}
    given: dict[str, None] = {}
    strange: dict[str, None] = {}
    for cited in _cited(text, by_name):
        if source := by_name.get(cited.casefold()) or by_place.get(cited):
            given[source] = None
        elif cited.isdecimal() and len(cited) < 4:
            strange[cited] = None
    return Citations(tuple(given), tuple(strange))


def _cited(text: str, names: dict[str, str]) -> Iterator[str]:
    for inside in _BRACKETS.findall(text):
        if inside.strip().casefold() in names:
            yield inside.strip()
        else:
            yield from (part.strip() for part in re.split(r"[,;]", inside))
