"""How things look on a terminal. Piped somewhere, it is plain text."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from contracts.catalog import SERVICES
from infra.audit.words import Minutes, Word, dollars, money, one_line, percent
from infra.terminal import holds_everything

CLIENTS = ("", "console")  # whoever stands outside of the services
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_yellow")


def colour(service: str) -> str:
    """The same for the same service in every run: ours by their place in the list, others by their name."""
    if service in CLIENTS:
        return "bold white"
    place = SERVICES.index(service) if service in SERVICES else len(SERVICES) + sum(service.encode())
    return COLOURS[place % len(COLOURS)]


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else max(shutil.get_terminal_size((160, 24)).columns, 160)
    return Console(stderr=stderr, width=int(os.environ.get("COLUMNS") or 0) or width, highlight=False, soft_wrap=False)


class _Lazy:
    """Asks for the streams when it prints: tests and pipes change them."""

    def __init__(self, *, stderr: bool) -> None:
        self.stderr = stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(_console(stderr=self.stderr), name)


out: Any = _Lazy(stderr=False)
err: Any = _Lazy(stderr=True)


def put(text: Text, console: Console | None = None) -> None:
    """One line: cut to the width of a terminal, whole where it goes elsewhere."""
    console = console or _console()
    if console.is_terminal:
        text.truncate(console.width, overflow="ellipsis")
        console.print(text, no_wrap=True, crop=True)
    else:
        print(text.plain, flush=True)


class Stage:
    """Lines that stay and, on a terminal, under them what changes: `below`."""

    def __init__(self) -> None:
        self._live: Live | None = None

    @property
    def can_change(self) -> bool:
        """Whether there is a terminal to show what changes."""
        console = _console()
        return bool(console.is_terminal and not console.is_dumb_terminal)

    def put(self, text: Text) -> None:
        put(text, self._live.console if self._live else None)

    def below(self, lines: Sequence[Text]) -> None:
        """These stand under all that was put, in place of those that stood there."""
        if not lines:
            self.clear()
            return
        if self._live is None:
            self._live = Live(console=_console(), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(Group(*lines), refresh=True)

    def clear(self) -> None:
        """Nothing stands below."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def err_console() -> Console:
    """Standard error, for progress bars."""
    return _console(stderr=True)


def say(text: str) -> None:
    """A word of ours about how it goes: to standard error, so that output stays clean."""
    err.print(Text(text, style="dim"))


def line(word: Word, minutes: Minutes, began: datetime | None = None, *, workflow: bool = False) -> Text:
    """`12  +0.431s gateway     model-replied    ← 9   “…”  $0.0001`."""
    text = _columns(str(minutes.number(word)), word, word.name, minutes.causation_id(word), began, workflow=workflow)
    if word.spent:
        text.append(f"{dollars(word.spent)} ", "bold green")
    text.append(word.gist)
    return text


def writing(word: Word, so_far: str, began: datetime | None = None, *, workflow: bool = False) -> Text:
    """What an answer that is being written says so far: its last words, on a line like those of `line`."""
    text = _columns("", word, "writes", "", began, workflow=workflow)
    room = max(_console().width - text.cell_len - 2, 10)
    told = one_line(so_far, len(so_far) + 1)
    text.append(f"“{told}" if len(told) <= room else f"…{told[1 - room :]}", "italic")
    return text


def _columns(number: str, word: Word, name: str, causation_id: str, began: datetime | None, *, workflow: bool) -> Text:
    clock = f"+{max((word.at - began).total_seconds(), 0):.3f}s" if began else f"{word.at.astimezone():%H:%M:%S.%f}"[:-3]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{number:>4} ", "dim")
    text.append(f"{clock:>12} ", "dim")
    if workflow:
        text.append(f"{word.workflow[-18:]:<19}", "dim")
    text.append(f"{one_line(word.stream or 'a client', 24):<25}", colour(word.service))
    text.append(f"{one_line(name, 17):<18}", "bold " + colour(word.service))
    text.append(f"{causation_id:<10}", "dim")
    return text


def heading(*, workflow: bool = False) -> Text:
    """What the columns of `line` are."""
    return Text(
        f"{'no':>4} {'when':>12} {'workflow           ' if workflow else ''}{'who':<25}{'stored':<18}{'because':<10}what",
        style="dim underline",
        no_wrap=True,
        overflow="ellipsis",
    )


GOOD = "hansard.results.completed.v1"


def result(kind: str, data: Mapping[str, Any], seconds: float | None = None) -> Panel:
    """A terminal message, whole."""
    good = kind == GOOD
    name = kind.split(".")[-2] if kind.count(".") > 1 else kind
    body = Text(str(data.get("text") or "")) if good else Text(f"{data.get('reason', '')}: {data.get('detail', '')}".strip(": "))
    if good and data.get("data") is not None:
        body.append("\n" + json.dumps(data["data"], ensure_ascii=False), "dim")
    for source in data.get("sources") or ():
        body.append(f"\n  ↳ {source}", "dim")
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
        title=Text(name, "bold green" if good else "bold red"),
        subtitle=subtitle,
        border_style="green" if good else "red",
        width=min(longest + 6, _console().width),
    )


def _model(one: Mapping[str, Any]) -> str:
    return str(one.get("model") or one.get("tier") or "")


def confidence(data: Mapping[str, Any]) -> str:
    """`confidence 85%`, or that nobody measured one."""
    told = percent(data.get("confidence"))
    return f"confidence {told}" if told else ""


def cost(data: Mapping[str, Any]) -> str:
    """Dollars and tokens, where there were any."""
    tokens = int(data.get("input_tokens") or 0) + int(data.get("output_tokens") or 0)
    return " · ".join(part for part in (dollars(money(data.get("cost"))), f"{tokens} tokens" if tokens else "") if part)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """Plain rows under a heading; nothing in a cell is taken for markup."""
    made = Table(title=title or None, box=None, header_style="dim underline", title_justify="left", pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else escape(str(cell)) for cell in row))
    return made


def as_json(value: object) -> str:
    """One object a line, for programs, which lose nothing where the output is not UTF-8."""
    return json.dumps(value, ensure_ascii=not holds_everything(), default=str)


def result_line(word: Word) -> Text:
    """A terminal message on one line."""
    good = word.kind == GOOD
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{word.at.astimezone():%H:%M:%S} ", "dim")
    text.append(f"{word.workflow:<34} ")
    text.append(f"{word.name:<10} ", "green" if good else "red")
    if word.spent:
        text.append(f"{dollars(word.spent)} ", "bold green")
    text.append(word.gist)
    return text
