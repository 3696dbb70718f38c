"""How output looks: coloured on a terminal, plain text in a pipe or a file.

All that a command prints goes through here: what others wrote cannot steer a terminal, and is never read as markup.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from contracts.catalog import SERVICES
from infra.audit.message import Numbering, ShownMessage
from infra.audit.text import degraded, dollars, money, one_line, percent
from infra.terminal import holds_everything
from shared import foreign_text
from shared.foreign_text import printable

CLIENTS = ("", "console")  # senders that are no service
COLOURS = (  # more than there are services
    *("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_yellow"),
    *("bright_blue", "dark_orange", "medium_purple", "dark_cyan"),
)


def colour(service: str) -> str:
    """A service has the same colour in every run: ours by their place in the list, others by their name."""
    if service in CLIENTS:
        return "bold white"
    place = SERVICES.index(service) if service in SERVICES else len(SERVICES) + sum(service.encode())
    return COLOURS[place % len(COLOURS)]


class SafeConsole(Console):
    """Prints what others wrote as text: whatever is rendered, at any depth of a table or a frame, comes by here."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        if isinstance(renderable, str):
            renderable = printable(renderable)
        elif isinstance(renderable, Text) and (safe := printable(renderable.plain)) != renderable.plain:
            renderable = Text(safe, renderable.style, no_wrap=renderable.no_wrap, overflow=renderable.overflow)
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else max(shutil.get_terminal_size((160, 24)).columns, 160)
    width = int(os.environ.get("COLUMNS") or 0) or width
    return SafeConsole(stderr=stderr, width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)


class _Output:
    """A console created at every use: tests and pipes replace the standard streams."""

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    def print(self, *objects: object, style: str | None = None, soft_wrap: bool = False) -> None:
        _console(stderr=self._stderr).print(*objects, style=style, soft_wrap=soft_wrap)


out = _Output(stderr=False)
err = _Output(stderr=True)


def put(text: Text, console: Console | None = None) -> None:
    """Prints one line: cut to the width of a terminal, whole in a pipe or a file."""
    console = console or _console()
    if console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
        console.print(text, no_wrap=True, crop=True)
    else:
        write(text.plain)


def write(text: str, *, stderr: bool = False) -> None:
    """Prints text as it is, uncut and without colour."""
    print(printable(text), file=sys.stderr if stderr else sys.stdout, flush=True)


def put_json(value: object, *, indent: int | None = None) -> None:
    """Prints JSON for programs, on one line unless it is indented."""
    write(as_json(value, indent=indent))


class Stage:
    """Lines that stay and, on a terminal, below them lines that change."""

    def __init__(self) -> None:
        self._live: Live | None = None

    @property
    def can_change(self) -> bool:
        """Whether there is a terminal on which lines can change."""
        console = _console()
        return bool(console.is_terminal and not console.is_dumb_terminal)

    def put(self, text: Text) -> None:
        put(text, self._live.console if self._live else None)

    def below(self, lines: Sequence[Text]) -> None:
        """Shows these lines below all that was put, in place of those shown there before."""
        if not lines:
            self.clear()
            return
        if self._live is None:
            self._live = Live(console=_console(), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(Group(*lines), refresh=True)

    def clear(self) -> None:
        """Removes the lines below."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def err_console() -> Console:
    """A console on standard error, for progress bars."""
    return _console(stderr=True)


def note(text: str) -> None:
    """Prints a remark about progress, or what to do next, on standard error: standard output holds only results."""
    err.print(Text(text, style="dim"))


def warn(text: str) -> None:
    """Prints what nobody may overlook, on standard error."""
    err.print(Text(f" WARNING  {text}", style="bold white on red"))


def line(message: ShownMessage, numbering: Numbering, began: datetime | None = None, *, workflow: bool = False) -> Text:
    """`12  +0.431s gateway     model-replied    ← 9   “…”  $0.0001`."""
    text = _columns(str(numbering.number(message)), message, message.name, numbering.causation(message), began, workflow=workflow)
    if message.cost:
        text.append(f"{dollars(message.cost)} ", "bold green")
    text.append(message.summary)
    return text


def writing(message: ShownMessage, so_far: str, began: datetime | None = None, *, workflow: bool = False) -> Text:
    """An answer that is still being written: the end of its text so far, on a line like those of `line`."""
    text = _columns("", message, "writes", "", began, workflow=workflow)
    room = max(_console().width - text.cell_len - 2, 10)
    flat = one_line(so_far, len(so_far) + 1)
    text.append(f"“{flat}" if len(flat) <= room else f"…{flat[1 - room :]}", "italic")
    return text


def _columns(number: str, message: ShownMessage, name: str, causation: str, began: datetime | None, *, workflow: bool) -> Text:
    clock = f"+{max((message.at - began).total_seconds(), 0):.3f}s" if began else f"{message.at.astimezone():%H:%M:%S.%f}"[:-3]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{number:>4} ", "dim")
    text.append(f"{clock:>12} ", "dim")
    if workflow:
        text.append(f"{message.workflow[-18:]:<19}", "dim")
    text.append(f"{one_line(message.stream or 'a client', 24):<25}", colour(message.service))
    text.append(f"{one_line(name, 17):<18}", "bold " + colour(message.service))
    text.append(f"{causation:<10}", "dim")
    return text


def heading(*, workflow: bool = False) -> Text:
    """The headings of the columns of `line`."""
    return Text(
        f"{'no':>4} {'when':>12} {'workflow           ' if workflow else ''}{'stream':<25}{'message':<18}{'cause':<10}summary",
        style="dim underline",
        no_wrap=True,
        overflow="ellipsis",
    )


GOOD = "hansard.results.completed.v1"
DEGRADED = "yellow"


def grade(kind: str, data: Mapping[str, Any]) -> str:
    """The colour of a terminal message."""
    return "red" if kind != GOOD else DEGRADED if degraded(data) else "green"


def result(kind: str, data: Mapping[str, Any], seconds: float | None = None) -> Panel:
    """A terminal message in full."""
    good, shade, fell = kind == GOOD, grade(kind, data), degraded(data)
    name = kind.split(".")[-2] if kind.count(".") > 1 else kind
    text = str(data.get("text") or "") if good else f"{data.get('reason', '')}: {data.get('detail', '')}".strip(": ")
    body = Text(printable(text))
    if good and data.get("data") is not None:
        body.append("\n" + json.dumps(data["data"], ensure_ascii=False), "dim")
    for source in data.get("sources") or ():
        body.append(f"\n  ↳ {source}", "dim")
    for reason in fell:
        body.append(f"\n  degraded: {reason}", DEGRADED)
    facts = [
        f"{data.get('answered_by', '')} {data.get('handler', '')}".strip(),
        confidence(data),
        ", ".join(sorted({_model(one) for one in data.get("contributions") or () if _model(one)})),
        cost(data),
        f"{seconds:.2f} s" if seconds is not None else "",
    ]
    subtitle = Text(" · ".join(fact for fact in facts if fact), "dim")
    longest = max(subtitle.cell_len, *(line.cell_len for line in body.split("\n", allow_blank=True)))
    return Panel(
        body,
        title=Text(f"{name}, degraded" if fell else name, f"bold {shade}"),
        subtitle=subtitle,
        border_style=shade,
        width=min(longest + 6, _console().width),
    )


def _model(one: Mapping[str, Any]) -> str:
    return str(one.get("model") or one.get("tier") or "")


def confidence(data: Mapping[str, Any]) -> str:
    """`confidence 85%`; empty where none is given."""
    measured = percent(data.get("confidence"))
    return f"confidence {measured}" if measured else ""


def cost(data: Mapping[str, Any]) -> str:
    """`$0.0042 · 120 tokens`; empty where there were none."""
    tokens = int(data.get("input_tokens") or 0) + int(data.get("output_tokens") or 0)
    return " · ".join(part for part in (dollars(money(data.get("cost"))), f"{tokens} tokens" if tokens else "") if part)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """Plain rows below column names. Text in a cell is never read as markup."""
    heading = Text(printable(title)) if title else None
    made = Table(title=heading, box=None, header_style="dim underline", title_justify="left", pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return made


def as_json(value: object, *, indent: int | None = None) -> str:
    """JSON for programs: nothing is lost where the output is not UTF-8, and nothing in it steers a terminal."""
    return foreign_text.as_json(value, ascii_only=not holds_everything(), indent=indent)


def result_line(message: ShownMessage) -> Text:
    """A terminal message on one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{message.at.astimezone():%H:%M:%S} ", "dim")
    text.append(f"{message.workflow:<34} ")
    text.append(f"{message.name:<10} ", grade(message.kind, message.data))
    if message.cost:
        text.append(f"{dollars(message.cost)} ", "bold green")
    text.append(message.summary)
    return text
