"""The data of a structured answer: JSON alone, in a fence, behind reasoning or between words. Pure."""

import json
import re
from collections.abc import Iterator
from math import isinf
from typing import Any

import jsonschema_rs
from pydantic import JsonValue

from hansard.message import refuse_unreadable
from services.gateway.openai_wire.tolerant import Json, clean

STARTS = 100  # places of a text where JSON is looked for
_FENCE = re.compile(r"(?:```|~~~)[ \t]*[\w+.-]*[ \t]*\r?\n?(.*?)(?:```|~~~|\Z)", re.DOTALL)
# Each reads a text once, whatever is in it: one that begins again at every place takes hours for a long answer, and all wait.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\[\s\S])*(?:"|\\?\Z)|[{}\[\]]')
_THOUGHT = re.compile(r"</(?:think|thinking|thought)>", re.IGNORECASE)


class Unfit(Exception):
    """Why a text holds no data of the schema."""


class BadSchema(Exception):
    """The schema itself is none."""


def structured(schema: Json, text: str) -> JsonValue:
    """The data of an answer that fits the schema. Raises Unfit, or BadSchema.

    An answer in which different data fit is not taken: which of them is meant cannot be known.
    """
    try:
        checker = jsonschema_rs.validator_for(schema, offline=True)
    except ValueError as error:
        raise BadSchema(str(error).partition("\n")[0]) from None
    fitting: list[Any] = []
    wrong = ""
    for found in _values(text):
        if isinstance(found, Unfit):
            wrong = wrong or str(found)
        elif (problem := _problem(checker, found)) is None:
            fitting += [] if found in fitting else [found]
        else:
            wrong = wrong if wrong.startswith("it does not fit") else problem
    if len(fitting) == 1:
        cleaned: JsonValue = _clean(fitting[0])
        return cleaned
    raise Unfit("it holds several answers that fit the schema" if fitting else wrong or "it is not JSON")


def _values(text: str) -> Iterator[Any]:
    """The JSON values of a text: its whole if it is JSON, else those in fences, else those between the words. An Unfit is what
    is no JSON after all."""
    whole = _read(text.strip("\ufeff\u200b \t\r\n"))
    if not isinstance(whole, Unfit):
        yield whole
        if isinstance(whole, str) and whole.lstrip()[:1] in ("{", "["):  # JSON that was encoded twice
            yield _read(whole)
        return
    answer = text[max((found.end() for found in _THOUGHT.finditer(text)), default=0) :]
    fenced = [read for block in _FENCE.findall(answer) if not isinstance(read := _read(block.strip()), Unfit)]
    yield from fenced or _between_words(answer)
    yield whole


def _between_words(text: str) -> Iterator[Any]:
    at = 0
    for _ in range(STARTS):
        start = min((found for mark in "{[" if (found := text.find(mark, at)) >= 0), default=-1)
        if start < 0:
            return
        try:
            value, at = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            if (at := _closed_at(text, start)) < 0:  # what stands in broken JSON is a part of an answer, not the answer
                return
        else:
            yield _storable(value)


def _closed_at(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`; -1 if none does."""
    level = 0
    for token in _BRACKETS.finditer(text, start):
        level += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if level <= 0:
            return token.end()
    return -1


def _read(text: str) -> Any:
    """The value of a text that is JSON, else an Unfit."""
    try:
        value = _DECODER.decode(text)
    except ValueError as error:
        return Unfit(f"it is not JSON ({error})")
    except RecursionError:
        return Unfit("it is not JSON (nested too deeply)")
    return _storable(value)


def _problem(checker: Any, value: Any) -> str | None:
    try:
        wrong = next(checker.iter_errors(value), None)
    except ValueError as error:  # a value that the checker cannot read
        return f"it does not fit the schema: {error}"
    if wrong is None:
        return None
    where = "/".join(str(step) for step in wrong.instance_path)
    return f"it does not fit the schema{' at ' + where if where else ''}: {wrong.message}"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _float(written: str) -> float:
    if isinf(number := float(written)):
        raise ValueError(f"the number {written[:40]} is beyond what JSON readers can hold")
    return number


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_float, strict=False)  # models leave line breaks in strings


def _storable(value: JsonValue) -> Any:
    """The value, or an Unfit if no message can carry it."""
    try:
        return refuse_unreadable(value)
    except ValueError as error:
        return Unfit(f"it cannot be stored: {error}")


def _clean(data: Any) -> Any:
    match data:
        case str():
            return clean(data)
        case list():
            return [_clean(part) for part in data]
        case dict():
            return {clean(name): _clean(part) for name, part in data.items()}
        case _:
            return data
