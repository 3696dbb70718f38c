"""Which agents, and in which architecture: tables, read from the top.

A request is reduced to signs (`urgent`, `several-agents`). The first row whose signs are there and whose "avoid when" is
not wins. A row that no service can run today is passed over, and the reasoning says so.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from contracts.plans import Plan, Step
from contracts.requests import Architecture
from services.router.rules.words import fold, mentioned

AGENTS: Mapping[str, tuple[str, ...]] = {
    "research": ("research", "find", "look up", "what is"),
    "analyst": ("analyze", "analyse", "data", "statistics", "trend"),
    "writer": ("write", "draft", "summarize", "summarise", "report"),
    "coder": ("code", "implement", "build", "function"),
}
DEFAULT_AGENT = "research"
GATHERERS = ("research", "analyst")  # work at once; those who make something of it wait for them

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
    """One line of the guide. `when` is what it is best for, `avoid` what speaks against it: any one sign is enough."""

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
TODAY: frozenset[Architecture] = frozenset({"specialist", "pipeline", "fan-out", "hybrid"})

PARTS = {
    "research": "Gather the facts that the request needs. Keep what is known apart from what is inferred.",
    "analyst": "Work out what the facts and figures say, and show how.",
    "writer": "Write the answer, resting on what the steps before brought.",
    "coder": "Write the code that is asked for, and say how it is tested.",
}


@dataclass(frozen=True)
class Choice:
    architecture: Architecture
    agents: tuple[str, ...]
    reasoning: str
    certain: bool  # words of the request led to the agents, not the default


Hits = Mapping[str, tuple[str, ...]]  # agent -> the keywords that named it


def agents_in(text: str) -> Hits:
    folded = fold(text)
    return {agent: found for agent, words in AGENTS.items() if (found := mentioned(folded, words))}


def best_of(hits: Hits) -> tuple[str, ...]:
    """The one agent that most keywords name; of equals, the first of the table."""
    return (max(hits, key=lambda agent: len(hits[agent]), default=DEFAULT_AGENT),)


def because(hits: Hits) -> str:
    named = "; ".join(f"{agent} for {', '.join(map(repr, words))}" for agent, words in hits.items())
    return named or f"no keyword names an agent, so {DEFAULT_AGENT}"


def choose(text: str, facts: Iterable[str] = (), runs: Collection[Architecture] = TODAY) -> Choice:
    """By the words of a free request. `facts` are signs known otherwise, such as `urgent` from a near deadline."""
    folded = fold(text)
    hits = agents_in(folded)
    agents = tuple(hits) or (DEFAULT_AGENT,)
    signs = {sign for sign, words in SIGNS.items() if mentioned(folded, words)} | {*facts, *_signs_of(agents)}
    fitting = [row for row in GUIDE if row.when & signs and not row.avoid & signs]
    runnable = [row for row in fitting if row.architecture in runs]
    row = runnable[0]
    reasons = [
        because(hits),
        f"{row.architecture} for {', '.join(sorted(row.when & signs))} ({row.complexity} complexity, {row.latency} latency)",
    ]
    if passed_over := [better.architecture for better in fitting[: fitting.index(row)]]:
        reasons.append(f"{' and '.join(passed_over)} would suit it too, but no service here runs that yet")
    return Choice(row.architecture, agents, "; ".join(reasons), bool(hits))


def _signs_of(agents: tuple[str, ...]) -> Iterable[str]:
    gatherers = sum(agent in GATHERERS for agent in agents)
    yield "one-agent" if len(agents) == 1 else "several-agents"
    if gatherers > 1 or len(agents) - gatherers > 1:
        yield "agents-at-once"


def arrange(architecture: Architecture, agents: tuple[str, ...]) -> Plan:
    """These agents as a plan. Pipeline: one after the other. Else gatherers at once, then at once those who rest on them."""
    gatherers = tuple(agent for agent in agents if agent in GATHERERS)
    parts = PARTS if len(agents) > 1 else {}  # one agent alone is asked what was asked

    def needs(place: int, agent: str) -> tuple[str, ...]:
        if architecture == "pipeline":
            return agents[max(place - 1, 0) : place]
        return () if agent in GATHERERS else gatherers

    return Plan(
        name="-".join((architecture, *agents)),
        architecture=architecture,
        steps=tuple(
            Step(id=agent, worker=agent, instructions=parts.get(agent, ""), needs=needs(place, agent))
            for place, agent in enumerate(agents)
        ),
    )


def is_one(architecture: Architecture, plan: Plan) -> bool:
    """Whether this plan deserves the name: a pipeline of one step, or a fan-out with nothing at once, does not."""
    if architecture == "pipeline":
        return len(plan.steps) > 1
    return architecture != "fan-out" or sum(not step.needs for step in plan.steps) > 1
