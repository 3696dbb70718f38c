"""What Postgres refuses, for the store in memory. Each raises StoreRefused."""

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import NoReturn

from shared.eventstore.model import StoreRefused


def refuse_text(text: str) -> None:
    if "\0" in text:
        raise StoreRefused("a text holds NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreRefused(str(error)) from error


def refuse_json(data: bytes) -> None:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        json.loads(data.decode(), parse_constant=refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise StoreRefused(str(error) or type(error).__name__) from error


def refuse_twice(reason: str, before: Iterable[Hashable], now: Sequence[Hashable]) -> None:
    if len(set(now)) != len(now) or not set(now).isdisjoint(before):
        raise StoreRefused(reason)
