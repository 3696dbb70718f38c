"""Which agents, and in which architecture: tables, read from the top.

The agents are the roles whose keywords the text has. A request is reduced to signs (`urgent`, `several-agents`). The first row
with one of these signs under `when`, and none under `avoid`, is chosen. A row that no service can run today is passed over,
and the reasoning says so.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from contracts.plans import WAIT, Gate, Plan, Step
from contracts.requests import Architecture
from shared.roles import SHIPPED, Routings, routings
from shared.words import fold, mentioned

DEFAULT_AGENT = "research"

SIGNS: Mapping[str, tuple[str, ...]] = {
    "high-stakes": (
        "needs approval",
        "approve",
        "sign off",
        "legally binding",
        "regulated",
        "wire transfer",
        "in production",
    ),
    "routine": ("in bulk", "bulk", "low risk", "low-risk", "routine"),
    "waits": (
        "wait for",
        "wait until",
        "as soon as",
        "whenever",
        "every day",
        "every week",
        "every hour",
        "webhook",
        "remind me",
    ),
    "open-ended": ("explore", "investigate", "figure out", "open-ended", "on your own", "until you succeed"),
    "urgent": ("urgent", "asap", "right now", "immediately"),
    "thrifty": ("cheap", "low budget", "within budget", "at low cost"),
    "several-steps": ("step by step", "in stages", "migrate", "migration", "roll out", "and then verify"),
    "one-shot": ("in one sentence", "in a word", "briefly", "just tell me"),
    "sources": ("according to", "cite", "knowledge base", "our documents", "our documentation", "the handbook"),
    "known-answer": ("business hours", "reset my password", "refund policy"),
    "disputed": ("debate", "pros and cons", "should we", "risk assessment", "devil's advocate"),
    "sub-projects": ("sub-task", "subtask", "sub-project", "work package", "delegate"),
}


@dataclass(frozen=True)
class Row:
    """One line of the guide. `when`: signs for the architecture; `avoid`: signs against it. Any one of them is enough."""

    architecture: Architecture
    when: frozenset[str]
    avoid: frozenset[str]
    complexity: str
    latency: str


def _row(name: Architecture, when: str, avoid: str, complexity: str, latency: str) -> Row:
    return Row(name, frozenset(when.split()), frozenset(avoid.split()), complexity, latency)


GUIDE = (
    _row("human", "high-stakes", "routine", "medium", "variable"),
    _row("event-driven", "waits", "urgent", "high", "low"),
    _row("agent", "open-ended", "urgent thrifty", "very high", "very high"),
    _row("plan-and-execute", "several-steps", "one-shot", "high", "high"),
    _row("rag", "sources", "known-answer", "medium", "medium"),
    _row("debate", "disputed", "one-shot known-answer", "high", "high"),
    _row("hierarchical", "sub-projects", "one-agent", "high", "high"),
    _row("fan-out", "agents-at-once", "one-agent", "medium", "high"),
    _row("pipeline", "several-agents", "one-agent", "low", "high"),
    _row("specialist", "one-agent", "", "low", "low"),
)
TODAY: frozenset[Architecture] = frozenset({"specialist", "pipeline", "fan-out", "human", "hybrid"})

AGENTS: Routings = routings(SHIPPED)


@dataclass(frozen=True)
class Choice:
    architecture: Architecture
    agents: tuple[str, ...]
    reasoning: str
    certain: bool  # words of the request led to the agents, not the default


Hits = Mapping[str, tuple[str, ...]]  # agent -> the keywords that named it


def agents_in(text: str, agents: Routings = AGENTS) -> Hits:
    folded = fold(text)
    return {name: found for name, routing in agents.items() if (found := mentioned(folded, routing.keywords))}


def best_of(hits: Hits) -> tuple[str, ...]:
    """The one agent that most keywords name; of equals, the first of the table."""
    return (max(hits, key=lambda agent: len(hits[agent]), default=DEFAULT_AGENT),)


def because(hits: Hits) -> str:
    named = "; ".join(f"{agent} for {', '.join(map(repr, words))}" for agent, words in hits.items())
    return named or f"no keyword names an agent, so {DEFAULT_AGENT}"


def choose(text: str, facts: Iterable[str] = (), runs: Collection[Architecture] = TODAY, agents: Routings = AGENTS) -> Choice:
    """By the words of a free request. `facts` are signs known otherwise, such as `urgent` from a near deadline."""
    folded = fold(text)
    hits = agents_in(text, agents)
    chosen = tuple(hits) or (DEFAULT_AGENT,)
    signs = {sign for sign, words in SIGNS.items() if mentioned(folded, words)} | {*facts, *_signs_of(chosen, agents)}
    fitting = [row for row in GUIDE if row.when & signs and not row.avoid & signs]
    row = next(row for row in fitting if row.architecture in runs)
    reasons = [
        because(hits),
        f"{row.architecture} for {', '.join(sorted(row.when & signs))} ({row.complexity} complexity, {row.latency} latency)",
    ]
    if passed_over := [better.architecture for better in fitting[: fitting.index(row)]]:
        reasons.append(f"{' and '.join(passed_over)} would suit it too, but no service here runs that yet")
    return Choice(row.architecture, chosen, "; ".join(reasons), bool(hits))


def _signs_of(chosen: tuple[str, ...], agents: Routings) -> Iterable[str]:
    gatherers = len(_gatherers(chosen, agents))
    yield "one-agent" if len(chosen) == 1 else "several-agents"
    if gatherers > 1 or len(chosen) - gatherers > 1:
        yield "agents-at-once"


def _gatherers(chosen: tuple[str, ...], agents: Routings) -> tuple[str, ...]:
    return tuple(name for name in chosen if name in agents and agents[name].gathers)


def arrange(architecture: Architecture, chosen: tuple[str, ...], agents: Routings = AGENTS) -> Plan:
    """The chosen agents as a plan. Pipeline: one after the other. Human: one after the other, and a person approves the last
    answer. Else all gatherers at once, then all others at once."""
    gatherers = _gatherers(chosen, agents)

    def needs(place: int, agent: str) -> tuple[str, ...]:
        if architecture in ("pipeline", "human"):
            return chosen[max(place - 1, 0) : place]
        return () if agent in gatherers else gatherers

    def part(agent: str) -> str:
        """An agent that is alone gets the request as it is."""
        return agents[agent].part if len(chosen) > 1 and agent in agents else ""

    steps = [
        Step(id=agent, worker=agent, instructions=part(agent), needs=needs(place, agent)) for place, agent in enumerate(chosen)
    ]
    if architecture == "human":
        gate = Gate(approval="always", action={"tool": "answer", "about": "Give this answer"}, text_from=chosen[-1])
        steps.append(Step(id="approve", worker=WAIT, needs=chosen[-1:], gate=gate))
    return Plan(name="-".join((architecture, *chosen)), architecture=architecture, steps=tuple(steps))


def is_one(architecture: Architecture, plan: Plan) -> bool:
    """Whether the plan has this architecture: a pipeline has several steps, a fan-out several that need nothing."""
    if architecture == "pipeline":
        return len(plan.steps) > 1
    return architecture != "fan-out" or sum(not step.needs for step in plan.steps) > 1
