"""Whole workflows, one process a service, broker and database and model stand-in on the same cores.

W1  routed by rule · a retrieve step · one model call through the real SDK to a scripted model · verified by code · finished
W2  one step · sixteen in parallel · a join
W3  a fan-out of 1,000 · a chain of 200
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any

import yaml

from tests.benchmarks.deployments import Caller, Deployment, Ours, deployed
from tests.benchmarks.kit import Bench, Open, Run, apart, rounds
from tests.benchmarks.tables import Cell, Section, Table, by_process, compared
from tests.benchmarks.trees import Failed, Tree

WORKER: dict[str, Any] = {"worker": "retriever", "verify": "none"}
W1: list[dict[str, Any]] = [
    {"id": "retrieve", **WORKER},
    {"id": "answer", "worker": "research", "needs": ["retrieve"], "verify": "code"},
]
W2: list[dict[str, Any]] = [
    {"id": "plan", **WORKER},
    *({"id": f"s{n}", "needs": ["plan"], **WORKER} for n in range(16)),
    {"id": "join", "needs": [f"s{n}" for n in range(16)], **WORKER},
]
FAN: list[dict[str, Any]] = [{"id": f"s{n}", **WORKER} for n in range(1000)] + [{"id": "join", "needs": ["s0"], **WORKER}]
CHAIN: list[dict[str, Any]] = [{"id": f"s{n}", "needs": [f"s{n - 1}"] if n else [], **WORKER} for n in range(200)]
PLANS: dict[str, list[dict[str, Any]]] = {"w1": W1, "w2": W2, "fan": FAN, "chain": CHAIN}
BODIES = {plan: {"text": "Why is the record verbatim?", "plan": plan} for plan in PLANS}

W1_AT = {1: 60, 32: 320, 256: 1024}
W2_AT = {1: 20, 32: 160, 256: 512}
W3 = [Cell("fan", 1, 2, 1, single=True), Cell("chain", 1, 1, 0, single=True)]
CELLS = {
    "w1": [Cell("w1", c, n, max(c, 20), calls=1) for c, n in (W1_AT | {1024: 2048}).items()],
    "w2": [Cell("w2", c, n, max(c, 10)) for c, n in W2_AT.items()],
    "w3": W3,
}
BESIDE = CELLS | {"w1": [cell for cell in CELLS["w1"] if cell.at_once <= 256]}
PEERS = {"w1": BESIDE["w1"], "w2": [cell for cell in CELLS["w2"] if cell.at_once <= 32]}
FIRST = Cell("w1", 32, 500, 0, calls=1)  # a process that has just started is slower


async def measure(bench: Bench, run: Run) -> Section:
    """The workflows of today's tree: alone, beside those of an earlier commit, or beside peers."""
    parts = PEERS if run.peers else BESIDE if len(run.trees) > 1 else CELLS
    cells = run.cells(cell for part, cells in parts.items() if part in run.parts for cell in cells)
    async with AsyncExitStack() as opened:
        opens: list[Open] = [partial(side, tree=tree) for tree in run.trees]
        if run.peers:  # not side by side: each idle deployment takes a seventh of a core from the one that is measured
            samples = await apart(bench, "workflows", [*opens, *run.peers], FIRST, cells, run.rounds)
        else:
            sides = [await start(bench, opened) for start in opens]
            for one in sides:
                await one.loop(FIRST, FIRST.at_once, FIRST.count)
            samples = await rounds(bench, "workflows", sides, cells, run.rounds)
    today = run.trees[0].name
    beside = " beside peers" if run.peers else " beside an earlier commit" if len(run.trees) > 1 else ""
    w1 = {key: found for key, found in samples.items() if key[0].workload == "w1"}
    processes: list[Table | str] = ["CPU of one W1, in ms, by process:", by_process(w1, today)] if w1 else []
    return Section(f"Workflows{beside}", [compared(samples, today), *processes])


async def side(bench: Bench, opened: AsyncExitStack, *, tree: Tree) -> Ours:
    """Every service of a tree, and a caller."""
    deployment = await opened.enter_async_context(stack(bench, tree))
    return Ours(tree.name, await opened.enter_async_context(Caller(deployment)), BODIES)


def stack(bench: Bench, tree: Tree, script: str = "ok", command: Sequence[str] = ()) -> AbstractAsyncContextManager[Deployment]:
    """Every service of this tree, and the benchmark's worker of the same tree. Raises Failed where it has none."""
    if not (tree.path / "tests" / "benchmarks" / "retriever.py").exists():
        raise Failed(f"{tree.name} has no tests/benchmarks/retriever.py, the worker of these workflows.")
    plans = bench.folder / "plans"
    plans.mkdir(exist_ok=True)
    for name, steps in PLANS.items():
        (plans / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "steps": steps}))
    settings = {
        "plans": str(plans),
        "workers": '["retriever"]',
        "model_url": bench.model,
        "model_name": script,
        "model_key": "scripted",
    }
    return deployed(bench, tree, *tree.services, "tests.benchmarks.retriever:service", command=command, **settings)
