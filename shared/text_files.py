"""Files that a person wrote, as text. What cannot be read is said in words that name the remedy."""

import codecs
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)  # in this order: the mark of UTF-32 begins with that of UTF-16
HOW = "save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)"


class NotText(ValueError):
    """The bytes are no text in UTF-8. The message says what they seem to be, and what to do."""


def read_text(path: Path) -> str:
    """A file as text. Raises NotText, which does not name the file; OSError."""
    return decoded(path.read_bytes())


def decoded(raw: bytes) -> str:
    """Text in UTF-8, without the byte order mark that some editors put in front. Raises NotText."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            raise NotText(f"it is in {name}, not in UTF-8: {HOW}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = raw.count(b"\n", 0, bad.start) + 1
        raise NotText(f"line {line} is not in UTF-8 (byte 0x{raw[bad.start]:02x}): {HOW}") from None
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        what = "it seems to be in UTF-16, without its mark" if at < 4 else f"line {line} holds a NUL"
        raise NotText(f"{what}, so it is no text in UTF-8: {HOW}")
    return text
