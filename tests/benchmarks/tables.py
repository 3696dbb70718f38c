"""Samples, and what is computed from them: medians of rounds, ratios within a round, tables, the results file. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

Row = Sequence[str]


@dataclass(frozen=True)
class Cell:
    """A workload to repeat: `count` times in all, `at_once` at a time, after `warm` times that are not measured."""

    workload: str
    at_once: int
    count: int
    warm: int
    calls: int = 0  # of the model, for each
    single: bool = False  # only ever done one at a time

    @property
    def name(self) -> str:
        return f"{self.workload}, {self.at_once} at once"


@dataclass(frozen=True)
class Sample:
    """One round of one cell. Rates per second; `cpu` in milliseconds for each repetition, by process."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    others: float = 0.0  # cores that were busy with other work


Samples = Mapping[tuple[Cell, str], Sequence[Sample]]


@dataclass(frozen=True)
class Table:
    """Cells of text; the first `left` columns are text, the others figures."""

    columns: Row
    rows: Sequence[Row]
    left: int = 1

    def markdown(self) -> str:
        """Markdown, aligned for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [self.columns, *self.rows]
        text = ["| " + " | ".join(self._padded(row, widths)) + " |" for row in lines]
        rule = "|".join("-" * (width + 2) if n < self.left else "-" * (width + 1) + ":" for n, width in enumerate(widths))
        return "\n".join([text[0], f"|{rule}|", *text[1:]])

    def _padded(self, row: Row, widths: Sequence[int]) -> Iterable[str]:
        return (
            cell.ljust(width) if n < self.left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


@dataclass(frozen=True)
class Section:
    """A part of the results, measured in one run."""

    title: str
    parts: Sequence[Table | str]

    def markdown(self) -> str:
        return "\n\n".join(part if isinstance(part, str) else part.markdown() for part in self.parts)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    if len(seconds) < 2:
        return (seconds[0] * 1000,) * 2 if seconds else (0.0, 0.0)
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each figure, separately."""
    processes = dict.fromkeys(name for sample in samples for name in sample.cpu)
    return Sample(
        median(sample.rate for sample in samples),
        median(sample.p50_ms for sample in samples),
        median(sample.p99_ms for sample in samples),
        {name: median(sample.cpu.get(name, 0.0) for sample in samples) for name in processes},
        median(sample.others for sample in samples),
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Ours divided by theirs, round by round: median, least and most. `1.31 (1.22–1.40)`; empty without rounds."""
    each = [a / b for a, b in zip(ours, theirs, strict=True) if b]
    return f"{median(each):.2f} ({min(each):.2f}–{max(each):.2f})" if each else ""


def compared(samples: Samples, over: str = "") -> Table:
    """A row for each cell and side; with several sides, also the ratio of the side named `over` to each in the same rounds."""
    names = list(dict.fromkeys(side for _, side in samples))
    beside = len(names) > 1 and over in names
    head = ["workload", "at once", "system", "per second", "p50 ms", "p99 ms", "CPU ms", "others' cores"]
    rows = []
    for (cell, side), rounds in samples.items():
        one = middle(rounds)
        cpu = sum(one.cpu.values())
        row = [
            cell.workload, str(cell.at_once), side, figure(one.rate), figure(one.p50_ms), figure(one.p99_ms),
            figure(cpu) if cpu else "", f"{one.others:.2f}",
        ]  # fmt: skip
        if beside:
            ours = samples[cell, over]
            same = side == over
            row.append("" if same else ratios([a.rate for a in ours], [b.rate for b in rounds]))
            row.append("" if same else ratios([a.p50_ms for a in ours], [b.p50_ms for b in rounds]))
        rows.append(row)
    return Table([*head, f"rate: {over} over it", f"p50: {over} over it"] if beside else head, rows, left=3)


def by_process(samples: Samples, side: str) -> Table:
    """Milliseconds of CPU for one repetition by process, a column for each cell; the largest first."""
    middles = {cell: middle(rounds) for (cell, name), rounds in samples.items() if name == side}
    used = {name: max(one.cpu.get(name, 0.0) for one in middles.values()) for one in middles.values() for name in one.cpu}
    names = sorted(used, key=lambda name: -used[name])
    rows = [[name, *(figure(one.cpu.get(name, 0.0)) for one in middles.values())] for name in names]
    rows.append(["all", *(figure(sum(one.cpu.values())) for one in middles.values())])
    return Table(["process", *(cell.name for cell in middles)], rows)


def figure(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def merged(text: str, sections: Iterable[Section], order: Sequence[str], stamp: str, head: str) -> str:
    """The results file with these sections in place of those of the same title; `stamp` says when and where."""
    _, *kept = text.split("\n## ")
    known = {title: body.strip() for title, _, body in (part.partition("\n") for part in kept)}
    known |= {section.title: f"{stamp}\n\n{section.markdown()}" for section in sections}
    titles = sorted(known, key=lambda title: order.index(title) if title in order else len(order))
    return "\n\n".join([head.strip(), *(f"## {title}\n\n{known[title]}" for title in titles)]) + "\n"
