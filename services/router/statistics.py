"""How well the router routes: pure folds over requests, routes and results on the record.

workflows = routed_workflows(events)    # events: (workflow, message), in any order
statistics = summary(workflows)
for pattern in patterns(workflows): ...
"""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from typing import Any, Literal

from contracts.requests import SubmitRequest
from contracts.results import Result, WorkflowCompleted
from contracts.router import RequestRouted
from hansard.message import Message
from services.router.kinds import MODEL_KINDS
from services.router.rules import RULES, Rule, Unfit
from services.router.rules.exact import WIDE

ROUGH = Context(prec=2)
ENOUGH = 20  # a price is measured from so many requests at least
Verdict = Literal["rule", "justified", "wasteful", "unknown"]


@dataclass(frozen=True)
class RoutedWorkflow:
    """One workflow, as far as it is known. `asked` is None where the request is not at hand."""

    asked: SubmitRequest | None = None
    routed: RequestRouted | None = None
    result: Result | None = None

    @property
    def cost(self) -> Decimal:
        """US dollars: what it cost; before its result, what was expected."""
        if self.result is not None:
            return self.result.cost
        return self.routed.cost_estimate if self.routed else Decimal(0)


def routed_workflows(events: Iterable[tuple[Hashable, Message]]) -> list[RoutedWorkflow]:
    """The workflows that were routed. Each event comes with what identifies its workflow, such as (tenant, workflow)."""
    found: dict[Hashable, RoutedWorkflow] = defaultdict(RoutedWorkflow)
    for workflow, message in events:
        match message:
            case SubmitRequest():
                found[workflow] = replace(found[workflow], asked=message)
            case RequestRouted():
                found[workflow] = replace(found[workflow], routed=message)
            case Result():
                found[workflow] = replace(found[workflow], result=message)
    return [known for known in found.values() if known.routed is not None]


@dataclass(frozen=True)
class Statistics:
    total_requests: int = 0
    deterministic: int = 0
    llm_calls: int = 0
    total_cost: Decimal = Decimal(0)
    estimated_cost: Decimal = Decimal(0)
    verdicts: Mapping[Verdict, int] = field(default_factory=dict)
    wasted_cost: Decimal = Decimal(0)
    handlers: Mapping[str, int] = field(default_factory=dict)

    @property
    def deterministic_pct(self) -> Decimal:
        """0 to 100, with one digit."""
        return _ratio(Decimal(100 * self.deterministic), self.total_requests, "0.1")

    @property
    def avg_cost_per_request(self) -> Decimal:
        return _ratio(self.total_cost, self.total_requests, "0.00001")


def _ratio(part: Decimal, whole: int, digits: str) -> Decimal:
    return WIDE.divide(part, Decimal(max(whole, 1))).quantize(Decimal(digits))


def summary(workflows: Iterable[RoutedWorkflow], rules: Mapping[str, Rule[Any]] = RULES) -> Statistics:
    known = list(workflows)
    routes = [workflow.routed for workflow in known if workflow.routed]
    deterministic = sum(routed.path == "deterministic" for routed in routes)
    judged = [(verdict(workflow, rules), workflow.cost) for workflow in known]
    return Statistics(
        total_requests=len(routes),
        deterministic=deterministic,
        llm_calls=len(routes) - deterministic,
        total_cost=sum((workflow.cost for workflow in known), Decimal(0)),
        estimated_cost=sum((routed.cost_estimate for routed in routes), Decimal(0)),
        verdicts=dict(Counter(verdict for verdict, _ in judged)),
        wasted_cost=sum((cost for verdict, cost in judged if verdict == "wasteful"), Decimal(0)),
        handlers=dict(Counter(routed.handler for routed in routes).most_common()),
    )


def prices(workflows: Iterable[RoutedWorkflow], enough: int = ENOUGH) -> dict[str, Decimal]:
    """Measured US dollars for one request, by handler, where models completed at least `enough` requests."""
    costs: dict[str, list[Decimal]] = defaultdict(list)
    for known in workflows:
        if known.routed and known.routed.path == "llm" and isinstance(known.result, WorkflowCompleted):
            costs[known.routed.handler].append(known.result.cost)
    return {handler: _mean(paid) for handler, paid in costs.items() if len(paid) >= enough}


def _mean(paid: Sequence[Decimal]) -> Decimal:
    """To two significant digits, so that the estimate does not change with every request."""
    return ROUGH.plus(WIDE.divide(sum(paid, Decimal(0)), Decimal(len(paid))))


def verdict(known: RoutedWorkflow, rules: Mapping[str, Rule[Any]] = RULES) -> Verdict:
    """A model's answer is wasteful where a rule would have given one; unknown where the request is not at hand."""
    if known.routed and known.routed.path == "deterministic":
        return "rule"
    if known.asked is None:
        return "unknown"
    return "wasteful" if rule_for(known.asked, rules) else "justified"


_HINTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (rule, re.compile(pattern, re.IGNORECASE))
    for rule, pattern in (
        ("validate_email", r"\b(valid|correct|check)\b.{0,40}\S@\S"),
        ("validate_email", r"\S@\S{1,100} .{0,20}\b(valid|correct)\b"),
        ("validate_phone", r"\b(valid|correct|check)\b.{0,40}\+?\d[\d ()-]{6,}"),
        ("calculate_tax", r"\btax\b.{0,40}\$ ?\d|\d ?%.{0,20}\btax\b.{0,20}\d"),
        ("check_business_hours", r"\b(are (you|we)|is it) open\b.{0,20}\d"),
        ("convert_units", r"\b(convert|how many)\b.{0,30}\d.{0,20}\b(km|kilomet|miles?|kg|pounds?|celsius|fahrenheit)"),
        ("convert_currency", r"\bconvert\b.{0,20}\d.{0,20}\b[A-Z]{3}\b.{0,10}\b[A-Z]{3}\b.{0,20}\brate\b"),
        ("format_date", r"\bformat\b.{0,20}\b(date|\d{4}-\d\d-\d\d)"),
        ("json_to_csv", r"\bjson\b.{0,20}\bcsv\b"),
    )
)


def rule_for(asked: SubmitRequest, rules: Mapping[str, Rule[Any]] = RULES) -> str | None:
    """The rule that would have answered: one that a free text hints at; or one whose name shares a word with the request's type
    and whose input fits the data."""
    if asked.type is None:
        text = (asked.text or "")[:2000]
        return next((rule for rule, hint in _HINTS if rule in rules and hint.search(text)), None)
    if asked.type in MODEL_KINDS:
        return None
    wanted = _words(asked.type)
    near = sorted((name for name in rules if _words(name) & wanted), key=lambda name: -len(_words(name) & wanted))
    return next((name for name in near if _fits(rules[name], asked)), None)


def _words(name: str) -> set[str]:
    """The words of a type's name: the same for `checkEmail` and `check-email`."""
    return {word for word in re.findall(r"[a-z]+", re.sub(r"([A-Z])", r" \1", name).lower()) if len(word) > 2}


def _fits(rule: Rule[Any], asked: SubmitRequest) -> bool:
    try:
        rule.apply(asked.data)
    except Unfit:
        return False
    return True


@dataclass(frozen=True)
class Pattern:
    """Requests of one shape that models answered. `answers`: how many different ones were given; where 1, a rule could answer."""

    shape: str
    requests: int
    cost: Decimal
    completed: int
    answers: int
    rule: str | None  # the rule that would have answered all of them


def patterns(workflows: Iterable[RoutedWorkflow], least: int = 3, rules: Mapping[str, Rule[Any]] = RULES) -> list[Pattern]:
    """Shapes of at least `least` requests, the most expensive first: what could become a rule."""
    groups: dict[str, list[RoutedWorkflow]] = defaultdict(list)
    for known in workflows:
        if known.asked is not None and known.routed is not None and known.routed.path == "llm":
            groups[shape(known.asked)].append(known)
    found = [_pattern(name, group, rules) for name, group in groups.items() if len(group) >= least]
    return sorted(found, key=lambda pattern: (-pattern.cost, -pattern.requests, pattern.shape))


def _pattern(name: str, group: list[RoutedWorkflow], rules: Mapping[str, Rule[Any]]) -> Pattern:
    texts = [known.result.text for known in group if isinstance(known.result, WorkflowCompleted)]
    named = {rule_for(known.asked, rules) for known in group if known.asked}
    return Pattern(
        shape=name,
        requests=len(group),
        cost=sum((known.cost for known in group), Decimal(0)),
        completed=len(texts),
        answers=len(set(texts)),
        rule=named.pop() if len(named) == 1 else None,
    )


_PARTS = (
    (re.compile(r"\S{1,64}@\S{1,255}"), "<email>"),
    (re.compile(r"https?://\S+"), "<link>"),
    (re.compile(r"\"[^\"]*\"|“[^”]*”"), "<quoted>"),
    (re.compile(r"[-+$€£¥]*\d[\d.,:/-]*"), "<number>"),
)


def shape(asked: SubmitRequest) -> str:
    """The request without what differs between requests of the same shape: its data, addresses, quotations and numbers."""
    if asked.type is not None:
        return f"{asked.type}({', '.join(sorted(asked.data))})"
    text = (asked.text or "")[:500]
    for part, name in _PARTS:
        text = part.sub(name, text)
    return " ".join(text.casefold().split()).rstrip("?.! ")
