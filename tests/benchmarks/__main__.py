"""`python -m tests.benchmarks [PART…] [--write]`: measures, prints a table, adds to `.hansard/bench.jsonl`."""

import asyncio
import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from tests.benchmarks import kit

PARTS = ("store", "replay", "hop", "recovery", "gateway", "workflows")
RESULTS = Path(__file__).with_name("RESULTS.md")


async def main(parts: list[str]) -> None:
    book = kit.Book(kit.ROOT / ".hansard" / "bench.jsonl")
    with kit.servers() as addresses:
        for part in parts:
            print(f"\n== {part}", flush=True)
            async for measured in importlib.import_module(f"tests.benchmarks.{part}").measure(addresses):
                book.note(measured)
    book.show()
    if "--write" in sys.argv:
        when = f"of {datetime.now(UTC):%Y-%m-%d}, commit {kit.commit()}, on {kit.machine()}"
        head = f"# Benchmarks\n\nThe latest run of `make bench`, {when}.\n"
        RESULTS.write_text(f"{head}Everything (broker, database, load, services) shares these cores.\n\n{book.table()}\n")


if __name__ == "__main__":
    named = [part for part in sys.argv[1:] if not part.startswith("-")]
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(named or list(PARTS)))
