"""Terminals that are not UTF-8 get similar characters that they can show; programs lose nothing."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.cli import screen
from infra.terminal import lookalike, typed, write_what_can_be_shown

ROOT = Path(__file__).parents[2]


@given(st.text(alphabet=st.characters(exclude_categories=())))  # lone surrogates too
def test_every_text_has_a_lookalike_in_ascii(text: str) -> None:
    assert lookalike(text).isascii()


def test_lookalikes_are_similar() -> None:
    assert lookalike("→ “Größe” … ✓ é 日") == '-> "Grosse" ... + e ?'


def test_typed_text_is_read_as_utf_8_where_the_locale_could_not_read_it() -> None:
    assert typed("größer".encode().decode("ascii", "surrogateescape")) == "größer"
    assert typed("größer") == "größer"


def test_an_argument_in_no_encoding_that_is_known_is_refused_and_not_guessed() -> None:
    with pytest.raises(ValueError, match="neither in UTF-8 nor in"):
        typed(b"gr\xf6\xdfer".decode("utf-8", "surrogateescape"))


def test_the_name_of_a_file_stays_as_it_is(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/gr\xf6\xdfer.jsonl")
    Path(name).write_text("x", "utf-8")
    assert typed(name) == name
    assert typed("a" * 100_000 + "\udcc3\udc9f") == "a" * 100_000 + "ß"


def test_every_argument_is_read_so() -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for argument, expected in (("größer".encode(), "not 'grosser'"), (b"gr\xf6\xdfer", "neither in UTF-8 nor in")):
        line = [sys.executable.encode(), b"-m", b"infra.cli", b"ask", b"a", b"--id", argument]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True)
        assert done.returncode == 2 and expected in done.stderr.decode(), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_help_and_errors_are_written_in_any_encoding(encoding: str) -> None:
    for arguments, code in ((["--help"], 0), (["plans", "validate", "Übung-→.yaml"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        output = (done.stdout + done.stderr).decode(encoding)
        assert done.returncode == code, output
        assert "hansard" in output and "UnicodeEncodeError" not in output


@contextmanager
def ascii_terminal() -> Iterator[io.BytesIO]:
    written = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
        patch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "ascii"))
        write_what_can_be_shown()
        yield written


def test_an_answer_is_shown_on_an_ascii_terminal() -> None:
    with ascii_terminal() as written:
        screen.out.print(screen.result(screen.GOOD, {"text": "Wörtlich → 日", "sources": ["Größe"], "answered_by": "rule"}))
        shown = written.getvalue().decode("ascii")
    assert "Wortlich -> ?" in shown and "-> Grosse" in shown


def test_json_for_programs_loses_nothing_in_ascii() -> None:
    value = {"text": "Wörtlich → 日 🏛"}
    with ascii_terminal() as written:
        print(screen.as_json(value))
        assert json.loads(written.getvalue()) == value
