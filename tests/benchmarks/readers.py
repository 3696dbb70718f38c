"""Commands that read a whole record or all topics, on records of 1,000 and of 10,000 workflows: messages a second,
messages a second of their own CPU, and the most memory that they held.
"""

import asyncio
import os
import subprocess
import sys
import time

import asyncpg

from tests.benchmarks.closed import closed
from tests.benchmarks.deployments import Caller, Deployment
from tests.benchmarks.kit import Bench, Run
from tests.benchmarks.tables import Row, Section, Table, figure
from tests.benchmarks.trees import TODAY, Failed
from tests.benchmarks.workflows import BODIES, stack

WORKFLOWS = (1_000, 10_000)
# A process counts the memory it had before exec: a large parent needs a small process in between.
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
        async with stack(bench, TODAY) as deployment:
            async with Caller(deployment) as caller:
                await closed(lambda caller=caller: caller.call(BODIES["w1"]), 256, workflows)  # type: ignore[misc]
                messages = await at_rest(deployment)
            rebuilt = f"{deployment.schema}_rebuilt"
            for command in (
                "audit verify",
                f"audit rebuild --to {rebuilt}",
                f"audit compare --with {rebuilt}",
                f"replay --to {rebuilt}",
            ):
                rows.append(await asyncio.to_thread(timed, command, deployment, messages))
    columns = ["command", "record", "messages per second", "messages per second of its CPU", "most MB held"]
    return Section("Readers", [Table(columns, rows, left=2)])


async def at_rest(deployment: Deployment) -> int:
    """Waits until all messages are published; how many there are."""
    connection = await asyncpg.connect(deployment.bench.addresses.owner)
    try:
        while await connection.fetchval(f"select exists (select from {deployment.schema}.streams where published < version)"):
            await asyncio.sleep(0.1)
        return int(await connection.fetchval(f"select count(*) from {deployment.schema}.messages"))
    finally:
        await connection.close()


def timed(command: str, deployment: Deployment, messages: int) -> Row:
    """One command from its start to its end, with its imports. Raises Failed where it fails or finds a difference."""
    line = [sys.executable, "-c", SMALL, *deployment.tree.command(*command.split())]
    began = time.perf_counter()
    done = subprocess.run(
        line, cwd=deployment.tree.path, env=os.environ | deployment.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"hansard {command}: {done.stderr[-1000:]}")
    taken, (cpu, memory) = time.perf_counter() - began, map(float, done.stdout.split())
    name = command.partition(" --")[0]
    return [name, f"{messages:,} messages", figure(messages / taken), figure(messages / cpu), figure(memory / 1024)]
