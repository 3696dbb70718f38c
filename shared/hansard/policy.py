"""A policy: the rules by which a service decides, besides its code. Its data is stored under a version made from it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import JsonValue

from hansard.decider import Decider, State


@dataclass(frozen=True)
class StoredPolicy(Generic[State]):
    """A policy's data, and a function that makes a decider from such data: today's, or an earlier version's.

    `data` is stored: it must hold no secret. `decider` is given a version and its data. It may raise ValueError or
    LookupError for data that this code cannot decide by.
    """

    data: JsonValue
    decider: Callable[[str, Any], Decider[State]]


def canonical_json(data: JsonValue) -> bytes:
    """Encodes a policy's data, always in the same way. Raises ValueError for NaN and infinities."""
    return json.dumps(data, sort_keys=True, allow_nan=False).encode()


def version_of(code: str, data: JsonValue) -> str:
    """A policy's version: the version of the code's own rules, and a hash of the data."""
    return f"{code}-{_digest(canonical_json(data))}"


def matches_version(data: bytes, version: str) -> bool:
    """Whether the version was made from this data."""
    return version.rpartition("-")[2] == _digest(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
