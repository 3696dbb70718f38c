"""What a service decides by, besides its code: data, kept in the event store under a version that is made from them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import JsonValue

from hansard.decider import Decider, State


@dataclass(frozen=True)
class Basis(Generic[State]):
    """The data behind a policy, and how to make a decider from such data: today's, or those of an earlier time.

    `data` is stored: never a secret. `decider` is given a version and its data; it may raise ValueError or LookupError for
    data that this code cannot decide by.
    """

    data: JsonValue
    decider: Callable[[str, Any], Decider[State]]


def canonical(data: JsonValue) -> bytes:
    """The one way to write the data down. Raises ValueError for NaN and infinities."""
    return json.dumps(data, sort_keys=True, allow_nan=False).encode()


def version_of(code: str, data: JsonValue) -> str:
    """A policy's name: the version of the code's own rules, and a hash of the data."""
    return f"{code}-{_digest(canonical(data))}"


def is_behind(data: bytes, version: str) -> bool:
    """Whether the version was made from these data."""
    return version.rpartition("-")[2] == _digest(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
