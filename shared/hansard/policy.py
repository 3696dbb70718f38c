"""A policy: what a service decides by, besides its code. Its data is stored under a version that is made from it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import JsonValue

from hansard.decider import Decider, State


@dataclass(frozen=True)
class StoredPolicy(Generic[State]):
    """A policy's data, and how a decider is made of such data: of today's, or of an earlier version's.

    `data` is stored: it must hold no secret. `decider` is given a version and its data. It may raise ValueError or
    LookupError for data that this code cannot decide by.
    """

    data: JsonValue
    decider: Callable[[str, Any], Decider[State]]


def canonical_json(data: JsonValue) -> bytes:
    """The one way to encode it. Raises ValueError for NaN and infinities."""
    return json.dumps(data, sort_keys=True, allow_nan=False).encode()


def version_of(code: str, data: JsonValue) -> str:
    """A policy's version: the version of the code's own rules, and a hash of the data."""
    return f"{code}-{_digest(canonical_json(data))}"


def matches_version(data: bytes, version: str) -> bool:
    """Whether the version was made from this data."""
    return version.rpartition("-")[2] == _digest(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
