"""How a request is answered: by a rule, by a plan, or with a refusal. The first of these that applies decides:

1. the plan or the architecture that the caller chose;
2. the rule for the request's type;
3. the model handler for the request's type; for an unknown type the handler that answers any question;
4. for free text the agents and the architecture that the tables in `selection` name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from contracts.plans import Plan
from contracts.requests import Architecture, SubmitRequest
from contracts.router import RequestRouted
from hansard.values import ContentReference
from services.router.kinds import GENERATE_RESPONSE, MODEL_KINDS
from services.router.policy import Policy
from services.router.rules import Unfit
from services.router.rules.rule import Data
from services.router.selection import DEFAULT_AGENT, agents_in, arrange, because, best_of, choose, is_one

CERTAIN, LIKELY, GUESS = 1.0, 0.9, 0.6  # confidence: by rule or the caller's choice; by type or keywords; by default
TYPICAL: Mapping[Architecture, str] = {"pipeline": "content-pipeline", "fan-out": "parallel-analysis"}  # shipped plans


@dataclass(frozen=True)
class ByRule:
    routed: RequestRouted
    data: Data
    text: str


@dataclass(frozen=True)
class ByPlan:
    routed: RequestRouted
    goal: str
    plan: Plan
    goal_ref: ContentReference | None = None


@dataclass(frozen=True)
class Refusal:
    reason: Literal["invalid", "unknown-plan", "past-deadline", "unsupported"]
    detail: str


Route = ByRule | ByPlan | Refusal


def route(policy: Policy, asked: SubmitRequest, at: datetime) -> Route:
    """`at`: the recorded time of the request."""
    if asked.deadline is not None and asked.deadline <= at:
        return Refusal("past-deadline", f"the deadline {asked.deadline.isoformat()} was over at {at.isoformat()}")
    if asked.deadline is not None and asked.deadline - at > policy.farthest:
        return Refusal("invalid", f"deadline: at most {policy.farthest.days} days ahead")
    try:
        if asked.plan is not None:
            return by_plan(policy, asked, asked.plan)
        if asked.architecture is not None and asked.architecture != "hybrid":
            return by_architecture(policy, asked, asked.architecture)
        if asked.type is not None:
            return by_type(policy, asked, asked.type)
        return by_words(policy, asked, asked.text or "", at)
    except Unfit as unfit:
        return Refusal("invalid", f"{asked.type}: {unfit}")


def by_plan(policy: Policy, asked: SubmitRequest, wanted: str | Plan) -> Route:
    plan = policy.plans.get(wanted) if isinstance(wanted, str) else wanted
    if plan is None:
        return Refusal("unknown-plan", f"no plan is named {wanted!r}; there are {', '.join(sorted(policy.plans)) or 'none'}")
    reasoning = f"the caller chose the plan {wanted!r}" if isinstance(wanted, str) else "the caller sent a plan"
    return planned(policy, plan, goal_of(asked), plan.name, CERTAIN, reasoning, whole_goal(asked))


def by_architecture(policy: Policy, asked: SubmitRequest, wanted: Architecture) -> Route:
    if wanted not in policy.runs:
        possible = ", ".join(sorted(policy.runs))
        return Refusal("unsupported", f"no service here runs the architecture {wanted!r} yet; there are {possible}")
    goal = goal_of(asked)
    hits = agents_in(goal, policy.agents)
    chosen = best_of(hits) if wanted == "specialist" else tuple(hits) or (DEFAULT_AGENT,)
    plan = arrange(wanted, chosen, policy.agents)
    if not is_one(wanted, plan):
        plan = policy.plans.get(TYPICAL[wanted], plan)
    reasoning = f"the caller chose the architecture {wanted!r}; {because(hits)}"
    return planned(policy, plan, goal, plan.name, CERTAIN, reasoning, whole_goal(asked))


def by_type(policy: Policy, asked: SubmitRequest, type_: str) -> Route:
    if rule := policy.rules.get(type_):
        if asked.data_refs:
            raise Unfit(f"{min(asked.data_refs)}: a rule reads the data itself, so it must be given whole")
        data, text = rule.apply(asked.data)
        return ByRule(
            RequestRouted(
                path="deterministic",
                handler=type_,
                architecture="hybrid",
                confidence=CERTAIN,
                reasoning=f"a rule answers every {type_!r}: no model is needed",
                cost_estimate=Decimal(0),
                policy=policy.version,
            ),
            data,
            text,
        )
    kind = MODEL_KINDS.get(type_, MODEL_KINDS[GENERATE_RESPONSE])
    known = kind.name == type_
    step = kind.step(asked.data, asked.data_refs) if known else kind.step({}, {})
    plan = Plan(name=kind.name, architecture="specialist", steps=(step,))
    reasoning = (
        f"{type_!r} is about meaning, which no rule can tell" if known else f"nothing here is named {type_!r}: a model tries"
    )
    return planned(policy, plan, goal_of(asked), kind.name, LIKELY if known else GUESS, reasoning, whole_goal(asked))


def by_words(policy: Policy, asked: SubmitRequest, text: str, at: datetime) -> Route:
    near = asked.deadline is not None and asked.deadline - at < policy.hurry
    facts = ["urgent"] * near + ["thrifty"] * (asked.budget is not None)
    choice = choose(text, facts, policy.runs, policy.agents)
    plan = arrange(choice.architecture, choice.agents, policy.agents)
    certain = LIKELY if choice.certain else GUESS
    return planned(policy, plan, text, plan.name, certain, choice.reasoning, whole_goal(asked))


def planned(
    policy: Policy,
    plan: Plan,
    goal: str,
    handler: str,
    confidence: float,
    reasoning: str,
    goal_ref: ContentReference | None,
) -> ByPlan:
    routed = RequestRouted(
        path="llm",
        handler=handler,
        architecture=plan.architecture,
        agents=tuple(dict.fromkeys(step.worker for step in plan.steps)),
        confidence=confidence,
        reasoning=f"{reasoning}; {policy.prices.basis(handler)} cost",
        cost_estimate=policy.prices.of(handler, len(plan.steps), unknown=confidence == GUESS),
        policy=policy.version,
    )
    return ByPlan(routed, goal, plan, goal_ref)


def goal_of(asked: SubmitRequest) -> str:
    """What the caller asked for, in words. Raises Unfit."""
    if asked.type is None:
        return asked.text or ""
    if kind := MODEL_KINDS.get(asked.type):
        return kind.goal_of(asked.data, is_whole=kind.field not in asked.data_refs)
    return f"A request of the type {asked.type!r}:\n\n{json.dumps(asked.data, ensure_ascii=False, indent=1)}"


def whole_goal(asked: SubmitRequest) -> ContentReference | None:
    """Where the goal is an excerpt: the whole text."""
    if asked.type is None:
        return asked.text_ref
    kind = MODEL_KINDS.get(asked.type)
    return asked.data_refs.get(kind.field) if kind else None
