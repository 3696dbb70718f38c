"""What a person sees while answers are being written."""

import io
import itertools
import sys
from typing import Any

import pytest

from contracts.gateway import AttemptFailed, AttemptStarted, CallCancelled, ModelReplied, TokensStreamed
from infra.audit.message import ShownMessage
from infra.cli import screen
from infra.cli.watching import Printer
from infra.cli.writing import Drafts
from tests.unit.toy import NOON

CALL = "gateway/specialists/draft.1/1"
ids = itertools.count()


def published(kind: Any, workflow: str = "w", **data: Any) -> ShownMessage:
    return ShownMessage(str(next(ids)), NOON, workflow, CALL, kind.kind, "", data)


def piece(n: int, text: str, attempt: int = 1, workflow: str = "w") -> ShownMessage:
    return published(TokensStreamed, workflow, attempt=attempt, piece=n, text=text)


def written(*messages: ShownMessage) -> list[str]:
    """The drafts after these messages."""
    drafts = Drafts()
    for message in messages:
        drafts.process(message)
    return [draft.text for draft in drafts]


def test_a_draft_is_the_same_in_whatever_order_and_however_often_its_pieces_arrive() -> None:
    assert written(piece(1, "Ray"), piece(3, "."), piece(2, "leigh"), piece(1, "Ray")) == ["Rayleigh."]


def test_answers_written_at_the_same_time_are_kept_apart() -> None:
    assert written(piece(1, "one"), piece(1, "two", workflow="x"), piece(2, " more")) == ["one more", "two"]


@pytest.mark.parametrize("end", [published(ModelReplied, attempt=1), published(CallCancelled), published(AttemptFailed, fall={})])
def test_a_draft_ends_with_its_answer_or_failure_even_if_a_piece_arrives_late(end: ShownMessage) -> None:
    begun = published(AttemptStarted, attempt=1)
    assert written(begun, piece(1, "Ray"), end) == []
    assert written(begun, piece(1, "Ray"), end, piece(2, "leigh")) == []
    assert written(begun, end, piece(1, "Rayleigh")) == []


def test_the_next_attempt_is_a_draft_of_its_own() -> None:
    first = (published(AttemptStarted, attempt=1), piece(1, "Ray"), published(AttemptFailed, fall={}))
    again = (published(AttemptStarted, attempt=2), piece(1, "Tyn", attempt=2), piece(2, "leigh"), piece(2, "dall", attempt=2))
    assert written(*first, *again) == ["Tyndall"]
    assert written(*first[:2], piece(1, "Tyn", attempt=2)) == ["Tyn"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return found


def test_on_a_terminal_a_draft_grows_on_one_line_that_is_removed_when_the_reply_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = at_a_terminal(monkeypatch)
    with Printer("w") as printer:
        printer.show(published(AttemptStarted, attempt=1))
        printer.show(piece(1, "Ray"))
        printer.show(piece(2, "leigh"))
        assert "“Rayleigh" in terminal.getvalue()
        assert "tokens-streamed" not in terminal.getvalue()
        printer.show(published(ModelReplied, attempt=1, text="Rayleigh", tier="first"))
    assert terminal.getvalue().count("model-replied") == 1
    assert "writes" not in terminal.getvalue().partition("model-replied")[2]
    assert "\x1b[?25h" in terminal.getvalue().rpartition("writes")[2]  # the cursor is back


def test_an_interrupt_brings_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_a_terminal(monkeypatch)
    with pytest.raises(KeyboardInterrupt), Printer("w") as printer:
        printer.show(piece(1, "Ray"))
        raise KeyboardInterrupt
    hidden, shown = (terminal.getvalue().rfind(code) for code in ("\x1b[?25l", "\x1b[?25h"))
    assert 0 <= hidden < shown


def test_a_long_draft_shows_its_end_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = screen.writing(piece(1, ""), "word\n" * 200 + "the end")
    assert shown.plain.endswith("word the end")
    assert "\n" not in shown.plain
    assert shown.cell_len <= 100


def test_without_a_terminal_every_piece_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Printer("w") as printer:
        printer.show(piece(1, "Ray"))
        printer.show(piece(2, "leigh"))
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == ["“Ray”", "“leigh”"]


def test_the_frame_of_a_short_answer_is_wide_enough_for_its_subtitle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    data = {"text": "42", "answered_by": "plan", "handler": "specialist-research", "confidence": 0.9, "input_tokens": 12}
    screen.out.print(shown := screen.result(screen.GOOD, data, 1.5))
    assert shown.width is not None
    assert str(shown.subtitle) in _printed(shown)


def _printed(shown: Any) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
