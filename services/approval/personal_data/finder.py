"""One way to find one kind of personal data: where it may be, and whether it is."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finder:
    """`candidates` takes time in proportion to the text, `is_one` a bounded one. At most `limit` candidates are looked at."""

    kind: str
    candidates: Callable[[str], Iterator[str]]
    is_one: Callable[[str], bool]
    limit: int = 500


def every(pattern: str, flags: int = 0) -> Callable[[str], Iterator[str]]:
    """All places that match. The pattern must not repeat without a bound."""
    compiled = re.compile(pattern, flags)
    return lambda text: (found[0] for found in compiled.finditer(text))


def whole(pattern: str, flags: int = re.IGNORECASE) -> Callable[[str], Iterator[str]]:
    """All places that match and stand alone: no letter touches them, and no further group of digits stands beside them."""
    return every(rf"(?<![\w.,/+-])(?<!\d )(?:{pattern})(?![\w/]|[.,-]\w| \d)", flags)


def after(pattern: str, length: int, flags: int = re.IGNORECASE) -> Callable[[str], Iterator[str]]:
    """What follows each place that matches: at most so many characters."""
    compiled = re.compile(pattern, flags)
    return lambda text: (text[found.end() : found.end() + length] for found in compiled.finditer(text))


def always(_: str) -> bool:
    return True
