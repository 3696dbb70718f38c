"""Records: which fields are missing, whether an item is a duplicate, and rows as CSV."""

import csv
import hashlib
import io
import json
import unicodedata
from typing import Annotated

from pydantic import Field, JsonValue

from services.router.rules.rule import Data, Input, Rule, Unfit
from shared.words import blank

Key = Annotated[str, Field(min_length=1, max_length=200)]
MAX_CELLS = 100_000


class Required(Input):
    record: dict[str, JsonValue]
    required: list[Key] = Field(min_length=1, max_length=1000, description="names of fields; a dot goes into an inner record")


def _composed(value: JsonValue) -> JsonValue:
    """With the names of fields composed (NFC); of two that are the same then, one with a value counts."""
    if not isinstance(value, dict):
        return value
    found: dict[str, JsonValue] = {}
    for name, inner in value.items():
        same = unicodedata.normalize("NFC", name)
        if _blank(found.get(same)):
            found[same] = _composed(inner)
    return found


def _at(record: JsonValue, path: str) -> JsonValue:
    for name in path.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _blank(value: JsonValue) -> bool:
    return value is None or value == [] or value == {} or (isinstance(value, str) and blank(value))


def required_fields(given: Required) -> Data:
    """A field is missing where it is absent, null or blank; 0 and false are values."""
    record = _composed(given.record)
    assert isinstance(record, dict)

    def is_missing(path: str) -> bool:
        name = unicodedata.normalize("NFC", path)
        return _blank(record.get(name)) and _blank(_at(record, name))

    missing = list(filter(is_missing, given.required))
    return {"complete": not missing, "missing": [*missing], "method": "presence_check"}


class Candidate(Input):
    item: JsonValue
    earlier: list[JsonValue] = Field(default=[], description="the earlier items; or their hashes, in `hashes`")
    hashes: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default=[])


def _same_numbers(value: JsonValue) -> JsonValue:
    """JSON has one kind of number: 1.0 is 1. Raises ValueError for a float that may stand for another whole number."""
    match value:
        case float() if value.is_integer():
            if abs(value) >= 2**53:
                raise ValueError("holds a number too large for a JSON number to be exact: send it as a string")
            return int(value)
        case dict():
            return {name: _same_numbers(inner) for name, inner in value.items()}
        case list():
            return [_same_numbers(inner) for inner in value]
        case _:
            return value


def fingerprint(value: JsonValue) -> str:
    """SHA-256 of the value as JSON without spaces, names sorted. Raises ValueError for what JSON cannot hold."""
    text = json.dumps(_same_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def detect_duplicate(given: Candidate) -> Data:
    own = fingerprint(given.item)
    known = [*given.hashes, *map(fingerprint, given.earlier)]
    found = known.index(own) if own in known else None
    return {"duplicate": found is not None, "hash": own, "position": found, "method": "sha256"}


class Table(Input):
    rows: list[dict[str, JsonValue]] = Field(min_length=1)
    columns: list[Key] | None = Field(default=None, min_length=1, description="none: all, as they first appear")
    delimiter: str = Field(default=",", pattern=r"^[,;|\t]$")


def _cell(value: JsonValue) -> str | int | float | None:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return value


def json_to_csv(given: Table) -> Data:
    """CSV by RFC 4180. Null becomes an empty cell; a list or a record becomes a cell of JSON."""
    columns = given.columns or list(dict.fromkeys(name for row in given.rows for name in row))
    if len(columns) * len(given.rows) > MAX_CELLS:
        raise Unfit(f"rows: {len(given.rows)} rows of {len(columns)} columns are more than {MAX_CELLS} cells")
    text = io.StringIO()
    writer = csv.writer(text, delimiter=given.delimiter)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in given.rows)
    return {"csv": text.getvalue(), "rows": len(given.rows), "columns": list(columns), "method": "rfc4180"}


REQUIRED_FIELDS = Rule(
    "required_fields",
    Required,
    required_fields,
    lambda d: "Nothing is missing." if d["complete"] else f"Missing: {', '.join(d['missing'])}.",
    version="2",
)
DETECT_DUPLICATE = Rule(
    "detect_duplicate",
    Candidate,
    detect_duplicate,
    lambda d: "It was there before." if d["duplicate"] else "It is new.",
    version="2",
)
JSON_TO_CSV = Rule("json_to_csv", Table, json_to_csv, lambda d: f"{d['rows']} rows of {len(d['columns'])} columns as CSV.")
