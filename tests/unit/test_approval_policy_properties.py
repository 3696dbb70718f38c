"""What holds for every action and every policy that can be loaded."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from contracts.approval import Assessment, Requester, SimilarCase
from services.approval.policy import Policy, may_decide
from services.approval.policy_data import NEVER_OFF, ORDERED, QUEUES, RULES
from tests.unit.approval_policy_kit import BOB, OPTIONS, SHIPPED, action, assessed, similar

WORDS = ["order", "report", "server", "refund", "delete", "update", "patient", "legal", "send email", "house", "change plan"]
RISKY = {"refund", "delete", "update", "patient", "legal", "send email", "change plan"}
NOBODY = Requester(why="the request names nobody")
CURRENCIES = ["USD", "EUR", "JPY"]


class Known(NamedTuple):
    words: tuple[str, ...]
    action: Mapping[str, Any]
    proposal: Mapping[str, Any]
    cases: int
    past: tuple[SimilarCase, ...]

    def assessed(self, policy: Policy = SHIPPED) -> Assessment:
        of = action(" ".join(self.words), **self.action)
        return assessed(of, policy, self.cases, self.past, **self.proposal)


amounts = st.decimals(0, 3000, places=2).map(str)
currencies = st.sampled_from(CURRENCIES)
knowns = st.builds(
    Known,
    st.lists(st.sampled_from(WORDS), max_size=4).map(tuple),
    st.fixed_dictionaries({}, optional={"amount": amounts, "currency": currencies}),
    st.fixed_dictionaries(
        {},
        optional={
            "confidence": st.one_of(st.none(), st.floats(0, 1)),
            "cost": amounts,
            "currency": currencies,
            "personal_data": st.booleans(),
            "domain": st.sampled_from(["", "medical", "other"]),
            "options": st.sampled_from([(), OPTIONS]),
            "gate": st.sampled_from(["policy", "always"]),
            "requester": st.sampled_from([BOB, NOBODY]),
            "quorum": st.one_of(st.none(), st.integers(1, 10)),
        },
    ),
    st.integers(0, 40),
    st.lists(st.floats(0, 1), max_size=3).map(lambda found: tuple(one for likeness in found for one in similar(likeness))),
)


def _policy(queues: list[str], quorums: list[int], off: set[str]) -> Policy:
    """Every rule with a queue of its own, as far as a policy allows it."""
    rules: dict[str, Any] = {
        rule: "nobody" if rule in off and rule not in NEVER_OFF else queue for rule, queue in zip(RULES, queues, strict=True)
    }
    for chain in ORDERED:
        order = sorted((rules[rule] for rule in chain), key=("nobody", *QUEUES).index)
        rules.update(zip(chain, order, strict=True))
    for rule in NEVER_OFF:
        rules[rule] = "reviewers" if rules[rule] == "nobody" else rules[rule]
    data = SHIPPED.model_dump(mode="json") | {"rules": rules}
    for queue, quorum in zip(QUEUES, quorums, strict=True):
        data["queues"][queue]["quorum"] = quorum
    return Policy.model_validate(data)


policies = st.builds(
    _policy,
    st.lists(st.sampled_from(QUEUES), min_size=len(RULES), max_size=len(RULES)),
    st.lists(st.integers(1, 3), min_size=3, max_size=3),
    st.sets(st.sampled_from(RULES)),
)


def forbidden(known: Known) -> bool:
    """Whether a rule of the shipped policy stands against it, by the words of the issue."""
    confidence, requester = known.proposal.get("confidence", 0.95), known.proposal.get("requester", BOB)
    paid = [(known.action.get("amount", "0"), known.action.get("currency", "USD"))]
    paid.append((known.proposal.get("cost", "0"), known.proposal.get("currency", "USD")))
    return (
        confidence is None
        or confidence < 0.85
        or any(float(amount) > (500 if currency == "USD" else 0) for amount, currency in paid)
        or bool(known.proposal.get("personal_data") or known.proposal.get("domain") or known.proposal.get("options"))
        or known.proposal.get("gate") == "always"
        or requester.proof == "unproven"
        or bool(RISKY & set(known.words))
        or (known.cases >= 20 and not any(one.similarity >= 0.5 for one in known.past))
    )


@given(knowns)
def test_an_action_runs_unseen_exactly_where_no_rule_forbids_it(known: Known) -> None:
    assert (known.assessed().status == "auto_approved") is not forbidden(known)


@given(knowns)
def test_an_assessment_is_of_one_piece(known: Known) -> None:
    found = known.assessed()
    if found.status == "auto_approved":
        assert (found.queue, found.role, found.reasons) == ("", "", ())
    else:
        assert found.role == SHIPPED.queues[found.queue].role  # type: ignore[index]
        assert found.reasons
        assert (found.status == "escalated") is (found.queue == "seniors")


SIGNALS = {
    "words": lambda k: k._replace(words=(*k.words, "refund")),
    "worse words": lambda k: k._replace(words=("delete", *k.words)),
    "medium words": lambda k: k._replace(words=("update", *k.words)),
    "domain by words": lambda k: k._replace(words=("patient", *k.words)),
    "found data": lambda k: k._replace(action={**k.action, "recipient": "anna.berg@example.com"}),
    "amount": lambda k: k._replace(action={**k.action, "amount": "4000"}),
    "cost": lambda k: k._replace(proposal={**k.proposal, "cost": "4000"}),
    "declared data": lambda k: k._replace(proposal={**k.proposal, "personal_data": True}),
    "domain": lambda k: k._replace(proposal={**k.proposal, "domain": "legal"}),
    "contradiction": lambda k: k._replace(proposal={**k.proposal, "options": OPTIONS}),
    "gate": lambda k: k._replace(proposal={**k.proposal, "gate": "always"}),
    "no confidence": lambda k: k._replace(proposal={**k.proposal, "confidence": 0.0}),
    "no proof": lambda k: k._replace(proposal={**k.proposal, "requester": NOBODY}),
    "quorum": lambda k: k._replace(proposal={**k.proposal, "quorum": 10}),
    "a longer record": lambda k: k._replace(cases=k.cases + 20),
    "nothing like it": lambda k: k._replace(past=()),
}


def strictness(policy: Policy, found: Assessment) -> tuple[int, set[str], int]:
    place = ("", *QUEUES).index(found.queue)
    return place, {role for role in policy.roles if may_decide(policy, found, [role])}, found.quorum


@given(knowns, policies, st.sampled_from(sorted(SIGNALS)))
def test_a_further_signal_never_makes_it_laxer(known: Known, policy: Policy, signal: str) -> None:
    before, after = known.assessed(policy), SIGNALS[signal](known).assessed(policy)
    (place, roles, quorum), (place_after, roles_after, quorum_after) = strictness(policy, before), strictness(policy, after)
    assert (place_after, quorum_after) >= (place, quorum)  # a queue's quorum is its own: one senior may be worth two reviewers
    assert roles_after <= roles or not place  # where it ran unseen, nobody had to decide


@given(knowns, policies)
def test_what_must_have_somebody_who_decides_always_has(known: Known, policy: Policy) -> None:
    found = known.assessed(policy)
    if {"refund", "delete", "legal", "change plan"} & set(known.words) or known.proposal.get("gate") == "always":
        assert found.status != "auto_approved"


@given(st.randoms(use_true_random=False), knowns)
def test_the_order_of_words_in_the_file_makes_no_difference(random: Any, known: Known) -> None:
    data = SHIPPED.model_dump(mode="json")
    for words in (*data["risk"].values(), *data["domains"].values(), data["personal_data"], data["searched"]):
        words.extend(words[:1])  # twice
        random.shuffle(words)
    names = list(data["rules"].items())
    random.shuffle(names)
    shuffled = Policy.model_validate(data | {"rules": dict(names)})
    assert shuffled.version == SHIPPED.version
    assert known.assessed(shuffled) == known.assessed()


@given(knowns)
def test_the_policy_that_is_on_record_decides_the_same(known: Known) -> None:
    then = Policy.of(SHIPPED.version, SHIPPED.data)
    assert known.assessed(then) == known.assessed()
