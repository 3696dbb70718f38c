"""Which keywords a text has at the start of a word: "Cancellation" has `cancel`, "barcode" does not have `code`.

Scripts without spaces between words do not show where a word starts: there, and of pictures, a keyword is found anywhere.
"""

import re
import unicodedata
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

UNSPACED = (  # beginnings of the names of their characters
    *("CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "BOPOMOFO ", "YI ", "NUSHU "),
    *("THAI ", "LAO ", "KHMER ", "MYANMAR ", "TAI ", "NEW TAI ", "JAVANESE ", "BALINESE ", "SUNDANESE ", "CHAM "),
)
_START = "\0"  # before each start of a word, and after each run of an unspaced script
_ASCII_START = re.compile(r"(?<!\w)(?=\S)", re.ASCII)
_INVISIBLE = re.compile(  # Unicode's Default_Ignorable_Code_Point
    "[\0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
Kind = Enum("Kind", "WORD UNSPACED MARK OTHER")


@lru_cache(8192)
def _kind(char: str) -> Kind:
    category = unicodedata.category(char)
    if category[0] == "M":
        return Kind.MARK
    if category == "So" or unicodedata.name(char, "").startswith(UNSPACED):  # So: pictures
        return Kind.UNSPACED
    return Kind.WORD if char.isalnum() or char == "_" else Kind.OTHER


def is_unspaced(char: str) -> bool:
    """Whether it is of a script without spaces between words, or a picture."""
    return _kind(char) is Kind.UNSPACED


def visible(text: str) -> str:
    """What of it can be seen."""
    return _INVISIBLE.sub("", text)


def blank(text: str) -> bool:
    return not visible(text).strip()


def plain(text: str) -> str:
    """In one case, composed (NFKC), with single spaces and without what is not visible."""
    seen = visible(text)
    if not seen.isascii():
        folded = unicodedata.normalize("NFKD", seen).casefold().replace("i\u0307", "i")  # the capital of Turkish i
        seen = visible(unicodedata.normalize("NFKC", folded))
    return " ".join(seen.casefold().split())


def fold(text: str) -> str:
    """The plain text with its starts of words marked. Folding it again changes nothing."""
    given = plain(text)
    if given.isascii():
        return _ASCII_START.sub(_START, given)
    marked, before = [], Kind.OTHER
    for char in given:
        kind = _kind(char)
        if kind is not Kind.MARK:
            if before is Kind.UNSPACED is not kind:
                marked.append(_START)
            if kind is Kind.UNSPACED or (before is not Kind.WORD and char != " "):
                marked.append(_START)
            before = kind
        marked.append(char)
    return "".join(marked) + _START * (before is Kind.UNSPACED)


@lru_cache(1024)
def _keyword(word: str) -> str:
    return fold(word)


def mentioned(folded: str, keywords: Iterable[str]) -> tuple[str, ...]:
    """Those keywords that a text has, in their own order. The text must be folded. An invisible keyword is in no text."""
    return tuple(word for word in keywords if (wanted := _keyword(word)) and wanted in folded)
