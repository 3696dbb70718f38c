"""Terminals that are not UTF-8: a character that one cannot show is written as a similar one, `→` as `->`, `é` as `e`."""

import codecs
import io
import os
import sys
import unicodedata
from pathlib import Path

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
    """The text in ASCII, with similar characters; `?` for one that has none."""
    return "".join(LOOKALIKES.get(char) or _without_accents(char) or "?" for char in text)


def _without_accents(char: str) -> str:
    return unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode("ascii")


def _encoded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return lookalike(error.object[error.start : error.end]), error.end


def write_what_can_be_shown() -> None:
    """From now on no write to standard output or standard error fails because of the terminal's encoding."""
    codecs.register_error(_HANDLER, _encoded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a text of any length is no name of a file
        return False


def typed(text: str) -> str:
    """A command-line argument, read as UTF-8 where the locale's encoding could not read it; the name of a file stays as it is.
    Raises ValueError for one that is in neither encoding: what was meant cannot be known."""
    if not any("\udc80" <= char <= "\udcff" for char in text) or _is_file(text):
        return text
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError:
        locale = sys.getfilesystemencoding()
        raise ValueError(f"{text!r} is neither in UTF-8 nor in {locale}, the encoding of this terminal's locale") from None


def holds_everything() -> bool:
    """Whether standard output is in an encoding that has every character."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
