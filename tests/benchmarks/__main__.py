"""Measures, prints tables, adds each round to `.hansard/bench.jsonl`, and writes the latest to RESULTS.md with `--write`.

Everything runs on this machine: a real Kafka and a real Postgres with fsync on, a scripted model that answers at once, one
process a service, and the caller. Rounds are interleaved: each measures every workload at every concurrency by everyone.
"""

import asyncio
import importlib
import signal
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
import uvloop

from infra.servers import ServerError
from tests.benchmarks import kit, trees
from tests.benchmarks.peers import sides
from tests.benchmarks.tables import Section, merged

WORKFLOWS = ("w1", "w2", "w3")
PARTS = ("hop", "gateway", *WORKFLOWS, "approvals", "time")
ASKED = ("store", "replay", "readers", "wakeups", "recovery")  # only where they are named
MODULES = dict.fromkeys(WORKFLOWS, "workflows") | {"time": "phases"}
BESIDE = {"base": ("hop", *WORKFLOWS), "peers": ("w1", "w2")}
RESULTS = trees.ROOT / trees.RESULTS
HEAD = """# Benchmarks

The latest run of each part, by `make bench`. Everything (broker, database, load, services) shares the cores of one machine.
Compare only what stands in one table: it is of one run, with its rounds interleaved. Figures are medians of the rounds;
ratios are taken within each round, and given as their median, least and most. `others' cores` were busy with something else,
an idle system of the same run included."""
ORDER = (
    "Hop", "Gateway", "Workflows", "Approvals", "Where the time goes", "Workflows beside peers",
    "Hop beside an earlier commit", "Workflows beside an earlier commit",
)  # fmt: skip

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    parts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PART…]", envvar="PARTS", help=f"Only these of {', '.join(PARTS)}; or {', '.join(ASKED)}."),
    ] = None,
    base: Annotated[str, typer.Option(envvar="BASE", help="Today beside this commit: hop, w1, w2, w3.")] = "",
    peers: Annotated[bool, typer.Option("--peers", envvar="PEERS", help="Beside Restate, DBOS and asyncpg: w1, w2.")] = False,
    rounds: Annotated[int, typer.Option(min=1, envvar="ROUNDS", help="How often everything is measured.")] = 3,
    at_once: Annotated[str, typer.Option(envvar="AT_ONCE", help="Only these concurrencies, as '1 32 256'.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Put the tables into RESULTS.md.")] = False,
) -> None:
    """Measure this project: alone, beside an earlier commit of it, or beside its peers."""
    if base and peers:
        raise typer.BadParameter("Beside an earlier commit or beside peers, not both at once.")
    offered = BESIDE["base"] if base else BESIDE["peers"] if peers else (*PARTS, *ASKED)
    chosen = tuple(parts or (part for part in offered if part not in ASKED))
    if strange := sorted({*chosen} - {*offered}):
        raise typer.BadParameter(f"There is no {', '.join(strange)} here, but {', '.join(offered)}.")
    if not all(number.isdigit() for number in at_once.split()):
        raise typer.BadParameter(f"{at_once!r} are no numbers.")
    try:
        beside = (trees.TODAY, trees.built(base)) if base else (trees.TODAY,)
        others = sides.installed().opens if peers else ()
        run = kit.Run(rounds, chosen, tuple(int(number) for number in at_once.split()), beside, others)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            sections = runner.run(measured(run))
    except (trees.Failed, ServerError) as failed:
        sys.exit(f"benchmarks: {failed}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    if write:
        stamp = f"{datetime.now(UTC):%Y-%m-%d}, commit {trees.commit()}, {kit.machine()}, {rounds} rounds."
        RESULTS.write_text(merged(RESULTS.read_text(), sections, ORDER, stamp, HEAD))


async def measured(run: kit.Run) -> list[Section]:
    """A section for each part, on the same servers."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    sections: list[Section] = []
    with kit.bench() as bench:
        for name in dict.fromkeys(MODULES.get(part, part) for part in run.parts):
            print(f"\n{name}", flush=True)
            module = importlib.import_module(f"tests.benchmarks.{name}")
            sections.append(await module.measure(bench, run))
            print(f"\n{sections[-1].title}\n\n{sections[-1].markdown()}", flush=True)
    return sections


if __name__ == "__main__":
    app()
