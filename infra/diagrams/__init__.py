"""State diagrams drawn from deciders: what each message of a decision changes, in every state that can be reached.

python -m infra.diagrams            write the diagrams anew
python -m infra.diagrams --check    name those that are stale, and exit with 1
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic
from uuid import UUID

from hansard.decider import Context, Decider, State
from hansard.message import Message

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HERE = Context(causation_id=UUID(int=1), at=NOON, workflow="workflow", tenant="default", message_id="request")


def at(time: datetime) -> Context:
    return replace(HERE, at=time)


@dataclass(frozen=True)
class Machine(Generic[State]):
    """A decider to draw.

    `received`: what may come in a state, each message with the context of its decision. `parts`: what is drawn of a state, each
    part by its name with the state that it is in; a part may come and go. `key`: states with one key are explored once.
    """

    title: str
    decider: Decider[State]
    received: Callable[[State], Iterable[tuple[Message, Context]]]
    parts: Callable[[State], Mapping[str, str]]
    key: Callable[[State], Hashable]


@dataclass(frozen=True)
class Drawing:
    """`starts`: the states in which a part begins; `edges`: the changes, with the messages that lead to each."""

    starts: dict[str, None]
    edges: dict[tuple[str, str], set[str]]


def draw(machine: Machine[State]) -> Drawing:
    """Every change of a part, breadth first from the initial state: the same for the same code."""
    decider = machine.decider
    drawing = Drawing(dict.fromkeys(machine.parts(decider.initial).values()), {})
    seen, waiting = {machine.key(decider.initial)}, deque([decider.initial])
    while waiting:
        state = waiting.popleft()
        for message, context in machine.received(state):
            after = state
            for decided in decider.decide(state, message, context):
                before, after = after, decider.evolve(after, decided)
                _add(drawing, machine.parts(before), machine.parts(after), decided)
            if (key := machine.key(after)) not in seen:
                seen.add(key)
                waiting.append(after)
    return drawing


def _add(drawing: Drawing, before: Mapping[str, str], after: Mapping[str, str], decided: Message) -> None:
    for name, now in after.items():
        if name not in before:
            drawing.starts.setdefault(now)
        elif before[name] != now:
            drawing.edges.setdefault((before[name], now), set()).add(type(decided).__name__)


def mermaid(machine: Machine[State]) -> str:
    """The machine as a Mermaid `stateDiagram-v2`. A state that nothing leaves is an end."""
    drawing = draw(machine)
    names = list(dict.fromkeys([*drawing.starts, *(name for edge in drawing.edges for name in edge)]))
    left = {name for name, _ in drawing.edges}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{name}" as {_id(name)}' for name in names if _id(name) != name]
    lines += [f"    [*] --> {_id(name)}" for name in drawing.starts]
    lines += [f"    {_id(was)} --> {_id(now)}: {', '.join(sorted(sent))}" for (was, now), sent in drawing.edges.items()]
    lines += [f"    {_id(name)} --> [*]" for name in names if name not in left]
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    return name.replace("-", "_")


def page(service: str, machines: Iterable[Machine[Any]]) -> str:
    """The diagrams of a service as Markdown."""
    parts = [
        f"# States of the {service}\n\nDrawn from the code by `python -m infra.diagrams`. Each arrow names the messages that"
        " lead to the next state.\n"
    ]
    parts += [f"## {machine.title}\n\n```mermaid\n{mermaid(machine)}```\n" for machine in machines]
    return "\n".join(parts)
