"""How far a long read has come: a bar on a terminal, else a plain line every few seconds. On standard error."""

import contextlib
import time
from collections.abc import Iterator

from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from infra.cli import screen

EVERY = 10.0  # seconds between two plain lines
OFTEN = 0.1  # seconds between two updates of the bar


class _Counts(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(line("", int(task.completed), int(task.total or 0), task.elapsed or 0))


class Progress:
    """`progress(n)` counts n more; inside `aside()` the bar is gone, so that output can be printed."""

    def __init__(self, what: str, total: int, bar: Bar | None) -> None:
        self.done = 0
        self._what, self._total, self._bar = what, total, bar
        self._task = bar.add_task(what, total=total or None) if bar else None
        self._began = self._shown_at = time.monotonic()

    def __call__(self, more: int = 1) -> None:
        self.done += more
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            if now - self._shown_at >= OFTEN:
                self._shown_at = now
                self._bar.update(self._task, completed=self.done, total=max(self._total, self.done))
        elif now - self._shown_at >= EVERY:
            self._shown_at = now
            screen.note(line(self._what, self.done, self._total, now - self._began))

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Hides the bar meanwhile."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()


def line(what: str, done: int, total: int, seconds: float) -> str:
    """`verifying: 40,000 of about 210,000, 8,900/s`. A total that is exceeded or unknown (0) is left out."""
    count = f"{what}: {done:,}" if what else f"{done:,}"
    of = f" of about {total:,}" if total >= done > 0 else ""
    return f"{count}{of}, {done / seconds if seconds else 0:,.0f}/s"


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """`total` is an estimate; 0: unknown."""
    console = screen.err_console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield Progress(what, total, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        _Counts(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        yield Progress(what, total, bar)
