"""What a word beside it names: the number that follows `passport`, `tax id` or `phone` is one, whatever its form."""

import re

from services.approval.personal_data.finder import Finder, after
from services.approval.personal_data.words import WORDS

_NEAR = 40  # characters after the word

_MONTH = r"[^\W\d_]{3,10}\.?"
_DATE = re.compile(
    rf"\d{{4}} ?[-/.年년] ?\d{{1,2}} ?[-/.月월] ?\d{{1,2}}|\d{{1,2}} ?[-/. ] ?\d{{1,2}} ?[-/. ] ?\d{{2,4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.|er|º)? (?:of |de )?{_MONTH},?(?: de)? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}",
    re.IGNORECASE,
)
_TIMESTAMP = re.compile(r"(?<!\d)(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d\d:\d\d)(?!\d)")
_DIALLED = re.compile(r"\D*\d(?:[ ()./-]{0,3}\d){6,14}(?![\d,%])")  # the first digits
_NUMBER = re.compile(r"\D*?([A-Z]{0,5}\d(?:[ ./-]?[A-Z0-9]){4,20})", re.IGNORECASE)
_DOCUMENT = re.compile(r"(?<![A-Z0-9])[A-Z0-9]{1,3} ?[A-Z0-9]{5,9}(?![A-Z0-9])", re.IGNORECASE)


def _word(word: str) -> str:
    """As a pattern: see words.yaml."""
    inner = re.escape(word.strip("~")).replace(r"\~", "~").replace("~", r"[ _-]?")
    return (r"(?<![^\W\d_])" if word.startswith("~") else "") + inner + (r"(?![^\W\d_])" if word.endswith("~") else "")


def _untimed(text: str) -> str:
    return _TIMESTAMP.sub("\n", text)


def _is_dialled(text: str) -> bool:
    return _DIALLED.match(_untimed(text)) is not None


def _is_number(text: str) -> bool:
    found = _NUMBER.match(_untimed(text))
    return found is not None and _digits(found[1]) >= 5


def _is_document(text: str) -> bool:
    return any(_digits(found[0]) >= 4 for found in _DOCUMENT.finditer(_untimed(text)))


def _is_date(text: str) -> bool:
    return _DATE.search(text) is not None


def _digits(text: str) -> int:
    return sum(char.isdigit() for char in text)


_FORMS = {"phone": _is_dialled, "national-id": _is_number, "passport": _is_document, "birth-date": _is_date}
FINDERS = tuple(Finder(kind, after("|".join(map(_word, WORDS[kind])), _NEAR), is_one) for kind, is_one in _FORMS.items())
