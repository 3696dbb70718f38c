"""A plan as a graph. Each function here costs as much as the plan has steps and needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from contracts.plans import WAIT, Plan, Step
from hansard.actions import BadAction, action_bytes
from services.planner.actions import action_of, refuse_unknown

SHOWN = 50  # problems of one plan


@dataclass(frozen=True, slots=True)
class Graph:
    """`steps` and `answer` are in plan order; `needs` and `needed_by` name each step once. `events`: the steps that wait for one,
    by its name; `foreign`: those whose answer rests on what an event or a person outside of the workflow gave."""

    steps: Mapping[str, Step]
    needs: Mapping[str, tuple[str, ...]]
    needed_by: Mapping[str, tuple[str, ...]]
    answer: tuple[str, ...]
    events: Mapping[str, tuple[str, ...]]
    foreign: frozenset[str]


def graph_of(plan: Plan) -> Graph:
    """The graph of a plan that has no problems."""
    steps = {step.id: step for step in plan.steps}
    needs = {step.id: tuple(dict.fromkeys(step.needs)) for step in plan.steps}
    needed_by: dict[str, list[str]] = {name: [] for name in steps}
    for name, needed in needs.items():
        for need in needed:
            needed_by[need].append(name)
    wanted = set(plan.answer) or {name for name, needing in needed_by.items() if not needing}
    events: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.wait and step.wait.event:
            events.setdefault(step.wait.event, []).append(step.id)
    return Graph(
        steps,
        needs,
        {name: tuple(needing) for name, needing in needed_by.items()},
        tuple(name for name in steps if name in wanted),
        {event: tuple(waiting) for event, waiting in events.items()},
        _foreign(steps, needed_by),
    )


def _foreign(steps: Mapping[str, Step], needed_by: Mapping[str, Iterable[str]]) -> frozenset[str]:
    waiting = [name for name, step in steps.items() if step.wait and (step.wait.event or step.wait.question)]
    found: set[str] = set()
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting.extend(needed_by[name])
    return frozenset(found)


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
        if step.worker not in workers and step.worker != WAIT:
            yield f"step {step.id!r}: no worker is named {step.worker!r}; there are {', '.join(sorted(workers))}"
        yield from (f"step {step.id!r}: {wrong}" for wrong in (*_of_wait(step), *_of_gate(step, workers)))
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


def _of_wait(step: Step) -> Iterator[str]:
    if step.worker == WAIT and step.wait is None and (step.gate is None or step.gate.text_from is None):
        yield f"the worker {WAIT!r} needs `wait`, which says what for, or a `gate` with `text_from`, whose text is approved"
    if step.worker != WAIT and step.wait is not None:
        yield f"`wait` goes with the worker {WAIT!r}, and {step.worker!r} does not wait"
    if step.wait is not None and step.gate is not None:
        yield "it waits and does nothing that could be approved: give `gate` to a step of its own"


def _of_gate(step: Step, workers: Mapping[str, str]) -> Iterator[str]:
    gate = step.gate
    if gate is None:
        return
    if gate.ask is not None and gate.ask not in workers:
        yield f"`ask`: no worker is named {gate.ask!r}; there are {', '.join(sorted(workers))}"
    named = (("action_from", (gate.action_from,)), ("text_from", (gate.text_from,)), ("options_from", gate.options_from))
    for field, names in named:
        for name in names:
            if name is not None and name not in step.needs:
                yield f"`{field}` names {name!r}, which is not among its `needs`"
    try:
        refuse_unknown(gate.action)
        if gate.action_from is None:
            action_bytes(action_of(gate.action))
    except BadAction as bad:
        yield f"its action: {bad}"
