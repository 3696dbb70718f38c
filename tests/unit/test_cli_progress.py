"""How far a long read has come, on a terminal and without one."""

import pytest

from infra.cli import progress, screen


def test_a_line_shows_the_count_the_total_and_the_rate() -> None:
    assert progress.line("verifying", 40_000, 210_000, 5.0) == "verifying: 40,000 of about 210,000, 8,000/s"


@pytest.mark.parametrize("total", [0, 39_999])
def test_an_unknown_or_exceeded_total_is_left_out(total: int) -> None:
    assert progress.line("reading", 40_000, total, 5.0) == "reading: 40,000, 8,000/s"


def test_without_a_terminal_a_line_goes_to_standard_error_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress.progress("reading", 10) as passed:
        passed(4)
        monkeypatch.setattr(progress, "EVERY", 1e9)
        passed(3)
        with passed.aside():
            print("a finding")
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), passed.done) == ("a finding\n", 1, 7)
    assert err.startswith("reading: 4 of about 10, ")


def test_on_a_terminal_the_bar_is_hidden_while_output_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    monkeypatch.setattr(screen, "err_console", lambda: Console(stderr=True, force_terminal=True, width=120))
    monkeypatch.setattr(progress, "OFTEN", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress("verifying", 200) as passed:
        passed(150)
        with passed.aside():
            print("a finding")
    out, err = capsys.readouterr()
    assert out == "a finding\n"
    assert "verifying" in err and "150 of about 200" in err
