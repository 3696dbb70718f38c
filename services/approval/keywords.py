"""Which keywords an action mentions: anywhere in its texts, and however they are written.

Case, accents, blanks, invisible characters and letters that only look like Latin ones make no difference. That catches what is
written as it is meant, by a model that does not try hard. Whoever wants to hide an action finds other words: what a tool can do
is bounded by `tools` of the policy and by the tool itself.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from pydantic import JsonValue

from hansard.actions import Action
from shared.words import plain, visible

# Letters of other scripts that look like Latin ones (of Unicode's confusables, those that are letters).
_LIKE = {
    **dict(zip("АВЕЅЗІЈКМНОРСТУХҮԚԜЬѴӀԌЅ", "ABES3IJKMHOPCTYXYQWbVIGS", strict=True)),  # Cyrillic
    **dict(zip("авгеѕіјкмнопрстухүһԁӏԛԝьѵґґцшбԍ", "abresijkmhonpctyxyhdlqwbvrruw6g", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿ", "ABEZHIKMNOPTYXCJ", strict=True)),  # Greek
    **dict(zip("αβγεηικνοπρτυχωϲϳμ", "abyenikvonptuxwcju", strict=True)),
    **dict(zip("օսհոգզտքյլցԁ", "ouhnqqsqjlgd", strict=True)),  # Armenian
    **dict(zip("ᎠᎡᎢᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏙᏚᏞᏟᏢᏦᏧᏴ", "DRTAJEWMHYGHZbRWVSLCPKdB", strict=True)),  # Cherokee
    **dict(zip("ꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓤꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ", "BPdDTGKJCZFMNLSRRVHWXYAEIOU", strict=True)),  # Lisu
    "ı": "i",
    "ð": "d",
}
_LATIN = re.compile(r".*(?:LATIN|REGIONAL INDICATOR).* LETTER (?:[A-Z]+ )*([A-Z])(?: .*)?")
_GAPS = re.compile(r"[\W_]+")
_SPELT = re.compile(r"(?<!\S)(?:\w ){2,}\w(?!\S)")  # d e l e t e


def keywords_in(texts: Iterable[str], keywords: Iterable[str]) -> tuple[str, ...]:
    """Those of the keywords that are in any of these texts, in their own order."""
    given = [letters(text) for text in texts]
    return tuple(word for word in keywords if any(form in text for form in _forms(word) for text in given))


@lru_cache(64)
def letters(text: str) -> str:
    """Words in lower case with single blanks between them, a line for each way to read the text: with Latin letters for those
    that look like them, with those joined that are `s p e l t`, and in its own script."""
    latin = _words(_latin(text).casefold())
    joined = _SPELT.sub(lambda spelt: spelt[0].replace(" ", ""), latin)
    return "\n".join(dict.fromkeys((latin, joined) if text.isascii() else (latin, joined, _words(plain(text)))))


def _words(text: str) -> str:
    return " ".join(_GAPS.sub(" ", text).split())


@lru_cache(1024)
def _forms(word: str) -> frozenset[str]:
    """`send email`, which is also in `send_email`, and `sendemail`, which is in `sendEmail`."""
    lines = letters(word).split("\n")
    return frozenset(form for line in lines for form in (line, line.replace(" ", "")) if form)


def _latin(text: str) -> str:
    """Its visible characters, without accents, with Latin letters for those that look like them."""
    if not text.isascii():
        text = visible(unicodedata.normalize("NFKD", visible(text)))
        text = "".join(map(_letter, text))
    return text if text.isprintable() else "".join(char for char in text if char.isprintable() or char.isspace())


@lru_cache(8192)
def _letter(char: str) -> str:
    if char.isascii():
        return char
    if unicodedata.category(char) in ("Mn", "Me"):
        return ""
    named = _LATIN.fullmatch(unicodedata.name(char, ""))
    if named is None:
        return _LIKE.get(char, char)
    return named[1].lower() if char.islower() else named[1]


def texts_of(action: Action) -> dict[str, list[str]]:
    """The texts of an action, by the names that a policy gives them."""
    return {"about": [action.about], "tool": [action.tool], "arguments": list(_texts(action.arguments))}


def _texts(value: JsonValue) -> Iterator[str]:
    """All names and texts in it, and numbers as they are written."""
    match value:
        case dict():
            for name, inner in value.items():
                yield name
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)
        case str():
            yield value
        case bool() | None:
            pass
        case _:
            yield str(value)
