"""Terminals that are not UTF-8: what one cannot show is written as what it can, `→` as `->`, `é` as `e`."""

import codecs
import io
import os
import sys
import unicodedata

LOOKALIKES = {
    "→": "->",
    "←": "<-",
    "↳": "->",
    "…": "...",
    "–": "-",
    "—": "-",
    "·": "-",
    "×": "x",
    "✓": "+",
    "✗": "x",
    "“": '"',
    "”": '"',
    "„": '"',
    "‘": "'",
    "’": "'",
    "€": "EUR",
    "ß": "ss",
}
_HANDLER = "hansard.lookalikes"


def lookalike(text: str) -> str:
    """The same in ASCII, as near as it comes; `?` for what has no likeness."""
    return "".join(LOOKALIKES.get(one) or _plain(one) or "?" for one in text)


def _plain(one: str) -> str:
    return unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode("ascii")


def _encoded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return lookalike(error.object[error.start : error.end]), error.end


def write_what_can_be_shown() -> None:
    """From now on nothing that is written to standard output or error fails for the terminal's encoding."""
    codecs.register_error(_HANDLER, _encoded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def typed(words: str) -> str:
    """What was typed, read as UTF-8 where the locale's encoding could not read it."""
    unread = any("\udc80" <= one <= "\udcff" for one in words)
    return os.fsencode(words).decode("utf-8", "replace") if unread else words


def holds_everything() -> bool:
    """Whether standard output is in an encoding that has every character."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
