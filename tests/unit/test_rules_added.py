"""A rule of a user's own, from an entry point of their package."""

from importlib.metadata import EntryPoint

import pytest

from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted
from services.router.app import BadRule, rules
from services.router.decider import router
from services.router.policy import Policy
from services.router.rules import RULES, Rule
from services.router.rules.rule import Data, Input
from tests.decisions import decided


class Points(Input):
    visits: int


def loyalty_points(given: Points) -> Data:
    return {"points": given.visits * 10, "method": "ten_a_visit"}


LOYALTY_POINTS = Rule("loyalty_points", Points, loyalty_points, lambda d: f"{d['points']} points.")
TAX = Rule("calculate_tax", Points, loyalty_points, lambda d: "mine")
SUMMARY = Rule("summarize_text", Points, loyalty_points, lambda d: "mine")


def point(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", "hansard.rules")


def test_an_added_rule_answers_beside_the_shipped_ones() -> None:
    policy = Policy(rules=rules([point("LOYALTY_POINTS")]))
    answer = decided(router(policy), [], SubmitRequest(type="loyalty_points", data={"visits": 4}))[-1]
    assert isinstance(answer, WorkflowCompleted)
    assert (answer.text, answer.data) == ("40 points.", {"points": 40, "method": "ten_a_visit"})
    assert set(policy.rules) == {*RULES, "loyalty_points"}
    assert policy.version != Policy().version


@pytest.mark.parametrize("name", ["TAX", "SUMMARY"])
def test_an_added_rule_cannot_have_a_name_that_is_taken(name: str) -> None:
    with pytest.raises(BadRule, match="taken"):
        rules([point(name)])


def test_an_entry_point_that_is_not_a_rule_is_refused_at_the_start() -> None:
    with pytest.raises(BadRule, match="not a Rule"):
        rules([point("loyalty_points")])
