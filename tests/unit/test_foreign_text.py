"""What others wrote cannot steer a terminal, wherever a command or a log shows it; programs lose nothing of it."""

import ast
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from rich.tree import Tree

from infra.audit.message import Numbering, ShownMessage
from infra.cli import report, screen
from infra.cli.problem import Problem
from infra.cli.progress import progress
from infra.cli.watching import Printer, print_result
from shared.foreign_text import as_json, on_one_line, printable, with_twins_seen
from shared.telemetry import logs
from tests.unit.toy import NOON

CLI = Path(__file__).parents[2] / "infra" / "cli"
HOSTILE = [
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b]0;a title\x07",  # sets the window's title
    "\x1b]52;c;cm0gLXJmIH4=\x07",  # writes the clipboard
    "\x1b]8;;http://evil.example\x1b\\a link\x1b]8;;\x1b\\",
    "\x9b31m\x9d0;title\x9c",  # the same in the 8-bit forms of C1
    "paid\rnot ",  # writes over what stands before
    "a\x08\x08b\x7f",
    "\u202eevil\u202c \u2066x\u2069 \u200fy",  # turns the order of letters round
    "one\u2028two\x85three\x0bfour\x0cfive",
    "un\u200bseen\ufeff \U000e0041",
    "half \ud800 a pair",
]
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufeff\uffa0\ufe00-\ufe0d\ufff0-\ufffb\ud800-\udfff\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
SEEN_AT_TIMES = re.compile("[\u200c\u200d\ufe0e\ufe0f]")  # inside an emoji, or between letters of some scripts
OURS = re.compile(r"\r?\x1b\[[0-9;?]*[A-Za-z]")  # what rich itself writes: colours, and the cursor of lines that change


def assert_safe(written: str) -> None:
    own = OURS.sub("", written) if sys.stdout.isatty() else written
    assert UNSAFE.search(own) is None, repr(written)
    assert "http://evil.example\x1b" not in written and "[2J" not in "".join(OURS.findall(written))


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_no_text_is_unsafe_once_it_is_printable_and_safe_text_is_left_alone(text: str) -> None:
    safe = printable(text)
    assert UNSAFE.search(safe) is None and printable(safe) == safe
    assert UNSAFE.search(text) is not None or SEEN_AT_TIMES.search(text) is not None or safe == text


@pytest.mark.parametrize(
    "text", ["größer → 日本", "line\n\tindented", "👨‍👩‍👧 می‌خواهم क्‍ष", "[bold]no markup[/bold] :smile:", "1️⃣ ❤️‍🔥"]
)
def test_what_people_write_is_left_alone(text: str) -> None:
    assert printable(text) == text


UNSEEN = "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180e\u200c\u200d\u2800\u3164\ufe00\ufe0f\uffa0\U000e0100\U000e01ef"


@pytest.mark.parametrize("char", UNSEEN)
def test_a_character_that_nobody_sees_is_written_out_and_in_json_for_programs_too(char: str) -> None:
    assert printable(f"pay{char}pal") == f"pay{ascii(char)[1:-1]}pal"
    assert as_json(f"pay{char}pal").isascii()


def test_text_on_one_line_shows_where_its_lines_ended() -> None:
    assert on_one_line("paid\nstatus\tapproved\r\n\u2028") == r"paid\nstatus\tapproved\n\u2028"


def test_a_name_that_looks_like_another_is_shown_with_its_codes() -> None:
    assert with_twins_seen("acct-9") == "acct-9"
    assert with_twins_seen("\u0430cct-9") == r"аcct-9 (not ASCII: '\u0430cct-9')"


@given(
    st.recursive(
        st.text(alphabet=st.characters(exclude_categories=())) | st.none() | st.integers(),
        lambda inner: st.dictionaries(st.text(), inner),
    )
)
def test_json_for_programs_is_safe_and_reads_back_as_the_same(value: Any) -> None:
    for written in (as_json(value), as_json(value, indent=2), as_json(value, ascii_only=True)):
        assert UNSAFE.search(written) is None
        assert json.dumps(json.loads(written)) == json.dumps(value)


def message(text: str) -> ShownMessage:
    data = {"text": text, "detail": text, "reason": text, "sources": [text], "answered_by": text, "handler": text, "cost": text}
    return ShownMessage(
        "1", NOON, f"w-{text}", f"router/{text}", f"hansard.results.{text}.v1", "", data | {text: text}, text, text
    )


SHOWN: dict[str, Callable[[str], object]] = {
    "a line": lambda text: screen.put(screen.line(message(text), Numbering(), NOON, workflow=True)),
    "a line as it is": lambda text: screen.put(Text(text)),
    "a draft": lambda text: screen.put(screen.writing(message(text), text)),
    "a result": lambda text: screen.out.print(screen.result(screen.GOOD, message(text).data)),
    "a failure": lambda text: screen.out.print(screen.result(text, message(text).data)),
    "a line of results": lambda text: print_result(message(text), json_=False),
    "a line of results as JSON": lambda text: print_result(message(text), json_=True),
    "a table": lambda text: screen.out.print(screen.table((text,), [(text,), (Text(text),)], title=text)),
    "a tree": lambda text: screen.out.print(Tree(Text(text)).add(Text(text))),
    "a plain sentence": lambda text: screen.out.print(f"not on the record: {text}", style="bold red"),
    "a remark": lambda text: screen.note(text),
    "JSON in full": lambda text: screen.put_json({text: [text]}, indent=2),
    "a problem": lambda text: report(Problem(f"There is no file {text}.")),
    "an error": lambda text: report(ValueError(text)),
}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_no_command_lets_it_through(
    shown: Callable[[str], object], text: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = written(monkeypatch, terminal)
    shown(text)
    assert out.getvalue().strip()
    assert_safe(out.getvalue())


def written(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> StringIO:
    """What goes to both standard streams, on a terminal or not."""
    out = StringIO()
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, out)
    return out


@pytest.mark.parametrize("text", HOSTILE)
def test_screens_that_change_let_nothing_through(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(monkeypatch, terminal=True)
    with Printer() as printer:
        tokens = message(text)
        printer.show(
            ShownMessage(
                "2",
                NOON + timedelta(seconds=1),
                tokens.workflow,
                tokens.stream,
                "hansard.gateway.tokens-streamed.v1",
                "",
                {"text": text, "attempt": 1, "piece": 1},
            )
        )
        printer.show(tokens)
    with progress(text, 10) as passed:
        passed(3)
    assert_safe(out.getvalue())


def test_foreign_text_is_no_markup_and_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[link=http://evil.example]here[/link] :warning: [red]x"
    screen.out.print(text)
    screen.out.print(screen.table((), [], title=text))
    screen.out.print(screen.table(("",), [(text,)]))
    assert capsys.readouterr().out.count(text) == 2


@pytest.fixture
def own_logs() -> Iterator[None]:
    """Logs may be configured in this test: it is as if no other had, and changes nothing for those after it."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level, disabled = root.handlers[:], root.level, logging.root.manager.disable
    logging.disable(logging.NOTSET)
    logs.log.__dict__.pop("bind", None)  # where structlog caches the logger
    yield
    logs.log.__dict__.pop("bind", None)
    structlog.configure(**config)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.disable(disabled)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.usefixtures("own_logs")
def test_a_log_on_a_terminal_lets_nothing_through(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = written(monkeypatch, terminal=True)
    logs.configure("INFO", "console")
    logs.log.info(f"an event {text}", workflow=text, detail=[text])
    logging.getLogger("other").warning("of a library: %s", text)
    assert "an event" in out.getvalue() and "of a library" in out.getvalue()
    assert_safe(out.getvalue())


def test_commands_print_through_the_screen_alone() -> None:
    """So that a new command cannot forget it."""
    found = []
    for file in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "typer.echo",
                "sys.stdout.write",
                "sys.stderr.write",
                "Console",
            ):
                found.append(f"{file.name}:{node.lineno}")
    assert [place for place in found if not place.startswith("screen.py:")] == []
