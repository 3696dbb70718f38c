"""A plan as a graph. Each function here costs as much as the plan has steps and needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from contracts.plans import Plan, Step

SHOWN = 50  # problems of one plan


@dataclass(frozen=True, slots=True)
class Graph:
    """`steps` and `answer` are in plan order; `needs` and `needed_by` name each step once."""

    steps: Mapping[str, Step]
    needs: Mapping[str, tuple[str, ...]]
    needed_by: Mapping[str, tuple[str, ...]]
    answer: tuple[str, ...]


def graph_of(plan: Plan) -> Graph:
    """The graph of a plan that has no problems."""
    steps = {step.id: step for step in plan.steps}
    needs = {step.id: tuple(dict.fromkeys(step.needs)) for step in plan.steps}
    needed_by: dict[str, list[str]] = {name: [] for name in steps}
    for name, needed in needs.items():
        for need in needed:
            needed_by[need].append(name)
    wanted = set(plan.answer) or {name for name, needing in needed_by.items() if not needing}
    return Graph(
        steps,
        needs,
        {name: tuple(needing) for name, needing in needed_by.items()},
        tuple(name for name in steps if name in wanted),
    )


def problems(plan: Plan, workers: Mapping[str, str]) -> tuple[str, ...]:
    """Why a plan cannot be run, one sentence each. `workers`: the service of each worker, by the worker's name."""
    found = list(_problems(plan, workers))
    if len(found) > SHOWN:
        found[SHOWN:] = [f"and {len(found) - SHOWN} more"]
    return tuple(found)


def _problems(plan: Plan, workers: Mapping[str, str]) -> Iterator[str]:
    names: set[str] = set()
    for step in plan.steps:
        if step.id in names:
            yield f"two steps have the id {step.id!r}"
        names.add(step.id)
    for step in plan.steps:
        if step.worker not in workers:
            yield f"step {step.id!r}: no worker is named {step.worker!r}; there are {', '.join(sorted(workers))}"
        for need in dict.fromkeys(step.needs):
            if need not in names:
                yield f"step {step.id!r} needs {need!r}, which is no step of this plan"
    for name in dict.fromkeys(plan.answer):
        if name not in names:
            yield f"the answer names {name!r}, which is no step of this plan"
    try:
        TopologicalSorter({step.id: step.needs for step in plan.steps}).prepare()
    except CycleError as cycle:
        yield f"steps wait for each other: {' needs '.join(map(repr, reversed(cycle.args[1])))}"
