"""The rules: each says, in words, what stands against approving an action unseen. Who decides then is the policy's."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from contracts.approval import Proposal, Risk, SimilarCase
from hansard.actions import Action
from services.approval.keywords import keywords_in, letters, texts_of
from services.approval.policy_data import DECLARED, RISKS, PolicyData, RuleName


class Case(NamedTuple):
    """All that a decision rests on. `proposal`: with its requester as far as that is proven. `risky`: what makes the risk what it
    is. `texts`: where keywords are looked for."""

    proposal: Proposal
    amounts: tuple[tuple[Decimal, str], ...]
    personal_data: tuple[str, ...]
    similar: tuple[SimilarCase, ...]
    cases: int
    risk: Risk
    risky: tuple[str, ...]
    texts: tuple[str, ...]


def case_of(
    policy: PolicyData,
    action: Action,
    proposal: Proposal,
    personal_data: tuple[str, ...],
    similar: tuple[SimilarCase, ...],
    cases: int,
) -> Case:
    texts = texts_of(action)
    searched = tuple(text for name in policy.searched for text in texts[name])
    given = ((action.amount, action.currency), (proposal.cost, proposal.currency))
    return Case(
        proposal,
        tuple(dict.fromkeys((amount, currency) for amount, currency in given if amount)),  # nothing costs nothing in any currency
        tuple(dict.fromkeys([DECLARED] * proposal.personal_data + sorted(personal_data))),
        similar,
        cases,
        *_risk(policy, action.tool, searched),
        searched,
    )


def _risk(policy: PolicyData, tool: str, texts: tuple[str, ...]) -> tuple[Risk, tuple[str, ...]]:
    """The highest level of which a keyword is mentioned or which the tool has."""
    for risk in reversed(RISKS):
        words = keywords_in(texts, policy.risk[risk]) if risk in policy.risk else ()
        tools = tuple(f"the tool {name}" for name, least in sorted(policy.tools.items()) if least == risk and _same(name, tool))
        if words or tools:
            return risk, words + tools
    return "low", ()


def _same(name: str, tool: str) -> bool:
    return letters(name) == letters(tool)


Rule = Callable[[PolicyData, Case], Iterator[str]]


def _of_risk(risk: Risk) -> Rule:
    def rule(_: PolicyData, case: Case) -> Iterator[str]:
        if case.risk == risk:
            yield f"{risk} risk: {', '.join(case.risky)}"

    return rule


def _low_confidence(policy: PolicyData, case: Case) -> Iterator[str]:
    confidence, least = case.proposal.confidence, policy.confidence.escalate
    if confidence is not None and confidence < least:
        yield f"its confidence of {confidence} is below {least}"


def _confidence(policy: PolicyData, case: Case) -> Iterator[str]:
    confidence, least = case.proposal.confidence, policy.confidence.approve
    if confidence is None:
        yield "its confidence is not known"
    elif policy.confidence.escalate <= confidence < least:
        yield f"its confidence of {confidence} is below {least}"


def _cost(policy: PolicyData, case: Case) -> Iterator[str]:
    for amount, currency in case.amounts:
        limit = policy.cost.get(currency)
        if limit is None:
            yield f"{amount:f} {currency}: there is no limit in this currency below which it may run unseen"
        elif amount > limit:
            yield f"{amount:f} {currency} is more than {limit:f}"


def _personal_data(policy: PolicyData, case: Case) -> Iterator[str]:
    if seen := [kind for kind in case.personal_data if kind in policy.personal_data]:
        yield f"personal data: {', '.join(seen)}"


def _domain(policy: PolicyData, case: Case) -> Iterator[str]:
    if case.proposal.domain:
        yield f"the sensitive domain {case.proposal.domain}, as declared"
    for domain, keywords in sorted(policy.domains.items()):
        if found := keywords_in(case.texts, keywords):
            yield f"the sensitive domain {domain}: {', '.join(found)}"


def _contradiction(_: PolicyData, case: Case) -> Iterator[str]:
    if options := case.proposal.options:
        shown = [option.source[:60] for option in options[:5]]
        more = [f"and {len(options) - 5} more"] * (len(options) > 5)
        yield f"views that contradict each other: {', '.join(shown + more)}"


def _novel(policy: PolicyData, case: Case) -> Iterator[str]:
    nearest = max((one.similarity for one in case.similar), default=0.0)
    if case.cases >= policy.novel.cases and nearest < policy.novel.similarity:
        yield f"it is novel: of {case.cases} cases on record the most similar is so by {nearest:.2f}"


def _gate(_: PolicyData, case: Case) -> Iterator[str]:
    if case.proposal.gate == "always":
        yield "a person's approval is wanted always, by whoever proposed it"


def _unproven_requester(_: PolicyData, case: Case) -> Iterator[str]:
    requester = case.proposal.requester
    if requester.proof == "unproven":
        yield f"who asked for it is not proven: {requester.why}"


RULES: Mapping[RuleName, Rule] = {  # of those with the same queue, the first decides
    "critical-risk": _of_risk("critical"),
    "low-confidence": _low_confidence,
    "novel": _novel,
    "gate": _gate,
    "high-risk": _of_risk("high"),
    "unproven-requester": _unproven_requester,
    "cost": _cost,
    "personal-data": _personal_data,
    "domain": _domain,
    "contradiction": _contradiction,
    "medium-risk": _of_risk("medium"),
    "confidence": _confidence,
}
