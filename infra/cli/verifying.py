"""`audit verify`: whether the record holds true."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated

import typer

from hansard.envelope import TENANT
from infra.audit import verify as verifying
from infra.audit.against_kafka import AgainstKafka
from infra.audit.differences import Difference
from infra.audit.text import counted
from infra.cli import base, screen
from infra.cli.bus import Bus, batches
from infra.cli.options import Json, Tenant
from infra.cli.progress import progress
from infra.cli.running import services
from infra.cli.unsettled import WAIT, Wait, moment, nothing_of, settled, unseen
from shared.eventstore.model import Stream
from shared.eventstore.ports import MessageReader
from shared.kafka.record import Record
from shared.settings import Settings


def verify(
    workflow: Annotated[str, typer.Option(help="Only this workflow.")] = "",
    since: Annotated[str, typer.Option(help="Only workflows that stored a message since this time.")] = "",
    against_kafka: Annotated[bool, typer.Option("--against-kafka", help="Compare with Kafka's copy too.")] = False,
    wait: Wait = WAIT,
    tenant: Tenant = TENANT,
    json_: Json = False,
) -> None:
    """Decide every inbox entry again and compare: the same messages, ids and bytes, no gap, no row that another contradicts.

    Today's code decides, by the policy of then, on what came from outside and from performers, as it was recorded. Dead
    letters decided nothing. Exits 1 on any difference, and if a transaction still runs that may store something; 3 if the record
    is whole, and messages were received on internal topics that are not on it (with --against-kafka: or lie there unread).

    Example: hansard audit verify --against-kafka    ·    hansard audit verify --workflow ask-1f0b6f7a9c11
    """
    settings = base.running(postgres=True, kafka=against_kafka)
    only = (tenant, workflow) if workflow else None
    found = base.run(_verify(settings, moment(since), only, _Found(json_), wait, against_kafka))
    found.print_totals()
    if workflow and not found.streams and not found.differences:
        raise nothing_of(workflow, tenant)
    if found.differences or found.unknown_workers or found.unsettled:
        raise typer.Exit(1)
    if found.forged:
        raise typer.Exit(3)


UNPROVEN = (
    "Only signatures can show: a change made alike in every row that it touches and in Kafka; what one row alone says (the "
    "code's version, a trace's id; and, without --against-kafka, a broker's time and the headers that nothing rests on)."
)
SHOWN = 1000  # findings that are printed one by one; the rest is counted


@dataclass
class _Found:
    """What an audit has found so far: printed as it comes, and counted."""

    json: bool
    workflows: int = 0
    streams: int = 0
    decided: int = 0
    dead_letters: int = 0
    outcomes: int = 0
    of_unknown_services: int = 0
    differences: int = 0
    unsettled: str = ""  # since when a transaction runs that may still store something
    forged: list[str] = field(default_factory=list)
    more_forged: int = 0
    unknown_workers: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def add(self, report: verifying.Report) -> None:
        self.workflows += 1
        self.streams += report.streams
        self.decided += report.decided
        self.dead_letters += report.dead
        self.outcomes += report.outcomes
        self.of_unknown_services += report.unknown
        for name in sorted(report.unknown_workers - set(self.unknown_workers)):
            self.unknown_workers.append(name)
            if not self.json:
                what = f"the record names a worker `{name}` that neither HANSARD_SERVICES nor HANSARD_WORKERS names"
                screen.out.print(what, style="bold red", soft_wrap=True)
        self.differ(first_of_each(report.differences))
        self.add_forged(report.forged)

    def add_forged(self, places: Iterable[str]) -> None:
        """Each place once, whichever services received it."""
        for place in places:
            if place in self._seen:
                continue
            self._seen.add(place)
            if len(self.forged) >= SHOWN and not self.json:
                self.more_forged += 1
                continue
            self.forged.append(place)
            if not self.json:
                screen.out.print(f"forged, not on the record: {place}", style="yellow")

    def differ(self, differences: Iterable[Difference]) -> None:
        for difference in differences:
            self.differences += 1
            if self.differences <= SHOWN:
                self._differs(difference)

    def _differs(self, difference: Difference) -> None:
        if self.json:
            screen.put_json(asdict(difference) | {"stream": str(difference.stream)})
            return
        where = f"{difference.stream}, inbox entry {difference.sequence}"
        screen.out.print(f"{where}: {difference.what}", style="bold red")
        screen.out.print(screen.table(("", ""), [("recorded", difference.recorded), ("today", difference.today)]))

    def print_totals(self) -> None:
        if self.json:
            screen.put_json({name: count for name, count in vars(self).items() if name not in ("json", "_seen")})
            return
        more = self.differences - SHOWN
        if more > 0:
            screen.out.print(f"and {counted(more, 'more stream differs', 'more streams differ')}", style="bold red")
        if self.more_forged:
            what = counted(self.more_forged, "more message is", "more messages are")
            screen.out.print(f"and {what} not on the record", style="bold red")
        if self.unsettled:
            screen.out.print(unseen(self.unsettled), style="bold red", soft_wrap=True)
        bad = self.differences or self.unknown_workers or self.unsettled
        screen.out.print(self.totals(), style="bold red" if bad else "bold green")
        screen.note(UNPROVEN)

    def totals(self) -> str:
        """The last line: whether anything differs, and how much was decided again."""
        differ = counted(self.differences, "stream differs", "streams differ")
        others = (
            (self.dead_letters, counted(self.dead_letters, "dead letter")),
            (self.of_unknown_services, f"{counted(self.of_unknown_services, 'message')} of services that are not known here"),
        )
        left = ", ".join(text for count, text in others if count)
        forged = counted(len(self._seen), "forged message") if self._seen else ""
        return (
            f"{differ if self.differences else 'No differences'}: {counted(self.workflows, 'workflow')}, "
            f"{counted(self.decided, 'message')} decided again"
            f"{(self.outcomes and f', {self.outcomes} of them of performers') or ''}{left and f'; not decided again: {left}'}"
            f"{forged and f'; {forged}, which changed nothing'}"
        )


def first_of_each(differences: list[Difference]) -> list[Difference]:
    """The first difference of every stream: later ones may only follow from it."""
    first: dict[Stream, Difference] = {}
    for difference in differences:
        first.setdefault(difference.stream, difference)
    return list(first.values())


async def _verify(
    settings: Settings, since: datetime | None, only: tuple[str, str] | None, found: _Found, wait: float, against_kafka: bool
) -> _Found:
    known = services(settings)
    async with base.record(settings) as store:
        found.unsettled = await settled(store, wait)
        if against_kafka:
            differences, forged = await _against_kafka(settings, store, only)
            found.differ(differences)
            found.add_forged(forged)
        if only:
            found.add(await verifying.verify(store, known, settings.topics, *only))
            return found
        found.differ(await verifying.of_all_tables(store, SHOWN))
        with progress("verifying", await store.estimate_size()) as passed:
            async for report in verifying.verify_all(store, known, settings.topics, since, passed):
                if report.differences or report.forged or report.unknown_workers:
                    with passed.aside():
                        found.add(report)
                else:
                    found.add(report)
    return found


async def _against_kafka(
    settings: Settings, store: MessageReader, only: tuple[str, str] | None
) -> tuple[list[Difference], list[str]]:
    from shared.eventstore.postgres.rebuild import comparison

    async with (
        comparison(settings.postgres.get_secret_value(), settings.postgres_schema) as beside,
        Bus(settings) as bus,
        bus.listen(settings.topics.by_name, "beginning") as listener,
    ):
        compared = AgainstKafka(beside, settings.topics, await listener.reader.beginnings(), store)
        with progress("reading Kafka", await listener.extent()) as passed:

            async def records() -> AsyncIterator[list[Record]]:
                async for some in batches(listener.to_the_end(), 2000):
                    yield [entry.record for entry in some]
                    passed(len(some))

            await compared.add(records())
        found = await compared.differences(SHOWN)
    mine = [one for one in found if only is None or (one.stream.tenant, one.stream.workflow) == only]
    return mine, [] if only else compared.forged
