"""The commands that read all of a record or of the topics, on records that the services made of 1,000 and of 10,000 workflows:
events a second, events a second of CPU of their own, and the most memory that they held.
"""

import asyncio
import os
import subprocess
import sys
import time

import asyncpg

from tests.benchmarks.closed import closed
from tests.benchmarks.kit import Bench, Caller, House, Run
from tests.benchmarks.tables import Row, Section, Table, figure
from tests.benchmarks.trees import TODAY, Failed
from tests.benchmarks.workflows import BODIES, stack

WORKFLOWS = (1_000, 10_000)
# A process counts as its own what it held before it was another program: a large parent needs a small one in between.
SMALL = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""


async def measure(bench: Bench, run: Run) -> Section:
    rows: list[Row] = []
    for workflows in WORKFLOWS:
        async with stack(bench, TODAY) as it:
            async with Caller(it) as caller:
                await closed(lambda caller=caller: caller.call(BODIES["w1"]), 256, workflows)  # type: ignore[misc]
                events = await at_rest(it)
            rebuilt = f"{it.schema}_rebuilt"
            for command in (
                "audit verify",
                f"audit rebuild --to {rebuilt}",
                f"audit compare --with {rebuilt}",
                f"replay --to {rebuilt}",
            ):
                rows.append(await asyncio.to_thread(timed, command, it, events))
    columns = ["command", "record", "events per second", "events per second of its CPU", "most MB held"]
    return Section("Readers", [Table(columns, rows, left=2)])


async def at_rest(it: House) -> int:
    """How many events there are, once all are published: from then on nothing more is said."""
    connection = await asyncpg.connect(it.bench.addresses.postgres)
    try:
        while await connection.fetchval(f"select exists (select from {it.schema}.streams where published < version)"):
            await asyncio.sleep(0.1)
        return int(await connection.fetchval(f"select count(*) from {it.schema}.messages"))
    finally:
        await connection.close()


def timed(command: str, it: House, events: int) -> Row:
    """One command from its start to its end, imports and all. Raises Failed where it finds anything."""
    line = [sys.executable, "-c", SMALL, *it.tree.command(*command.split())]
    began = time.perf_counter()
    done = subprocess.run(line, cwd=it.tree.path, env=os.environ | it.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"hansard {command}: {done.stderr[-1000:]}")
    taken, (cpu, memory) = time.perf_counter() - began, map(float, done.stdout.split())
    name = command.partition(" --")[0]
    return [name, f"{events:,} events", figure(events / taken), figure(events / cpu), figure(memory / 1024)]
