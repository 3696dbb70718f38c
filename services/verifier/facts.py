"""Whether a claim contradicts a given fact.

A fact is a name and a value. A claim contradicts it where one of its sentences names the fact, states directly after it another
value of the same kind (`the total is 1,300`), and does not have the right value as well. A value that is stated roughly, or is
not a number, a date, a code or yes or no, is not judged.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation

from dateutil import parser
from pydantic import JsonValue

from contracts.verifier import CheckClaim

LONGEST = 2_000  # characters of a sentence that are read
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")
_VERB = r"\b(?:(?:is|was|are|were|will be)(?: at)?|equals|amounts to|comes to|stands at)\b"
_LINK = rf"(?:\s+(?:amount|value|number))?\s*(?:[:=]|{_VERB})\s*"
_DAY_LINK = rf"(?:\s+date)?(?:\s*(?:[:=]|{_VERB}|\b(?:on|by)\b)\s*){{1,2}}"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = rf"\d{{4}}-\d{{2}}-\d{{2}}|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
_NUMBER = r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?"
_AMOUNT = rf"(?:[$€£¥]|USD|EUR|GBP)?\s*((?:{_NUMBER})\s*%?)(?![\w,.-]*\d)(?!\s*(?:thousand|million|billion|[kmb]\b))"
_CODE = re.compile(r"(?=[\w-]*(?:\d|[A-Z]{2}))[A-Za-z0-9][\w-]*")
Value = Decimal | date | str | bool


def contradiction(asked: CheckClaim) -> str | None:
    found = [
        f"{name} is {_written(fact)}, not {stated}"
        for name, fact in asked.facts.items()
        if (stated := contradicted(asked.claim, name, fact)) is not None
    ]
    return f"The answer contradicts what was given: {'; '.join(found)}. Keep to what was given." if found else None


def contradicted(claim: str, name: str, fact: JsonValue) -> str | None:
    """The value that the claim states instead of the fact's; None where it does not contradict the fact."""
    mention = r"[\s_-]+".join(map(re.escape, _words_of(name)))
    named = re.compile(rf"\b{mention}\b", re.IGNORECASE)
    if not mention or not named.search(claim):
        return None
    for sentence in _sentences(claim):
        if named.search(sentence):
            stated = list(_values(sentence, mention, fact))
            if stated and not _has_value(sentence, fact):
                return stated[0]
    return None


def _sentences(claim: str) -> Iterator[str]:
    """With single spaces and of a bounded length: the patterns below are slow on long runs."""
    for sentence in _SENTENCE.split(claim):
        yield " ".join(sentence[:LONGEST].split())


def _values(sentence: str, mention: str, fact: JsonValue) -> Iterator[str]:
    """The values of the fact's kind that the sentence states directly after the fact's name."""
    value = _value(fact)
    if isinstance(value, bool):
        yield from _denials(sentence, mention, value)
        return
    kind = {date: f"({_DATE})", Decimal: _AMOUNT, str: r"[\"'“`]?([A-Za-z0-9][\w-]*)"}.get(type(value))
    if kind is None:
        return
    for found in re.finditer(rf"\b{mention}\b{_DAY_LINK if isinstance(value, date) else _LINK}{kind}", sentence, re.IGNORECASE):
        stated = found.group(1).strip()
        if isinstance(value, str) and not _CODE.fullmatch(stated):
            continue
        if isinstance(value, Decimal) and re.match(rf"(?:{_DATE})", sentence[found.start(1) :], re.IGNORECASE):
            continue
        yield stated


def _denials(sentence: str, mention: str, value: bool) -> Iterator[str]:
    wrong = "no|false" if value else "yes|true"
    for found in re.finditer(rf"\b{mention}\b\s*(?:[:=]|\bis\b)\s*({wrong})\b", sentence, re.IGNORECASE):
        yield found.group(1)
    if value:
        for found in re.finditer(rf"\bnot (?:yet )?{mention}\b", sentence, re.IGNORECASE):
            yield found.group()


def _has_value(sentence: str, fact: JsonValue) -> bool:
    """Whether the sentence has the right value, however it is written."""
    match _value(fact):
        case bool():
            return False
        case date() as day:
            return any(_day(text) == day for text in re.findall(_DATE, sentence, re.IGNORECASE))
        case Decimal() as number:
            wanted = _readings(fact if isinstance(fact, str) else str(number))
            return any(_readings(text) & wanted for text in re.findall(rf"(?:{_NUMBER})\s*%?", sentence))
        case str() as text:
            return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", sentence, re.IGNORECASE) is not None
        case _:
            return True


def _value(fact: JsonValue) -> Value | None:
    """The fact as a number, date, code or truth value; None for what is not judged."""
    if isinstance(fact, bool):
        return fact
    if isinstance(fact, int | float):
        return Decimal(fact) if isinstance(fact, int) else Decimal(str(fact))
    if not isinstance(fact, str):
        return None
    text = fact.strip()
    if re.fullmatch(_DATE, text, re.IGNORECASE):
        return _day(text)
    if readings := _readings(re.sub(r"^(?:[$€£¥]|USD|EUR|GBP)\s*", "", text)):
        return max(readings)
    return text if _CODE.fullmatch(text) else None


def _readings(text: str) -> set[Decimal]:
    """The numbers that a text may mean: `8%` is 8 and 0.08."""
    plain = re.sub(r"^(?:[$€£¥]|USD|EUR|GBP)\s*", "", text.strip()).replace(",", "")
    try:
        number = Decimal(plain.rstrip("% "))
    except InvalidOperation:
        return set()
    if not number.is_finite():
        return set()
    return {number, number / 100} if plain.endswith("%") else {number}


def _day(text: str) -> date | None:
    try:
        return parser.parse(text).date()
    except (ValueError, OverflowError):
        return None


def _words_of(name: str) -> list[str]:
    """The words of a name: the same for `dueDate`, `due_date` and `due date`."""
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+", name)


def _written(fact: JsonValue) -> str:
    return fact if isinstance(fact, str) else str(fact).lower()
