"""What the shipped policy makes of an action: the reference's scenarios and table, and each rule by itself."""

from datetime import timedelta
from typing import Any

import pytest

from contracts.approval import Assessment
from services.approval.policy import may_decide, takes_place, times
from tests.unit.approval_policy_kit import OPTIONS, SHIPPED, action, assessed, similar

SCENARIOS = [  # what, confidence, cost, personal data, the reference's risk and status
    ("Send order confirmation email", 0.95, "0.01", False, "low", "auto_approved"),
    ("Process $50 refund for delayed shipment", 0.88, "50", False, "high", "pending_review"),
    ("Update customer address in database", 0.82, "0", True, "medium", "pending_review"),
    ("Process $2,500 refund for service outage", 0.75, "2500", False, "high", "pending_review"),
    ("Delete user account and all associated data", 0.90, "0", True, "critical", "escalated"),
    ("Respond to general FAQ question", 0.92, "0", False, "low", "auto_approved"),
    ("Recommend treatment plan to patient", 0.45, "0", True, "low", "escalated"),
    ("Create support ticket for follow-up", 0.89, "0", False, "low", "auto_approved"),
]


@pytest.mark.parametrize(("about", "confidence", "cost", "personal", "risk", "status"), SCENARIOS)
def test_the_references_scenarios(about: str, confidence: float, cost: str, personal: bool, risk: str, status: str) -> None:
    found = assessed(action(about), confidence=confidence, cost=cost, personal_data=personal)
    assert (found.risk, found.status) == (risk, status)


@pytest.mark.parametrize(("about", "confidence", "cost", "personal", "risk", "status"), SCENARIOS)
def test_they_come_out_the_same_where_the_action_itself_has_the_amount(
    about: str, confidence: float, cost: str, personal: bool, risk: str, status: str
) -> None:
    found = assessed(action(about, amount=cost), confidence=confidence, personal_data=personal)
    assert (found.risk, found.status) == (risk, status)


def test_of_the_scenarios_three_run_unseen_three_wait_for_reviewers_and_two_for_seniors() -> None:
    found = [assessed(action(about), confidence=c, cost=cost, personal_data=p) for about, c, cost, p, _, _ in SCENARIOS]
    queues = [one.queue for one in found]
    assert (queues.count(""), queues.count("reviewers"), queues.count("seniors")) == (3, 3, 2)
    assert 100 * queues.count("") / len(queues) == 37.5


TABLE = [  # the reference's escalation table: signal, what makes it, whose queue, the rule
    ("low confidence", {"confidence": 0.69}, {}, "reviewers", "confidence"),
    ("high cost", {"cost": "1000.01"}, {}, "reviewers", "cost"),
    ("sensitive domain: medical", {"domain": "medical"}, {}, "reviewers", "domain"),
    ("sensitive domain: personal data", {"personal_data": True}, {}, "reviewers", "personal-data"),
    ("novel scenario", {}, {"cases": 20}, "specialists", "novel"),
    ("contradictory signals", {"options": OPTIONS}, {}, "reviewers", "contradiction"),
]


@pytest.mark.parametrize(("signal", "fields", "known", "queue", "rule"), TABLE, ids=[row[0] for row in TABLE])
def test_each_row_of_the_references_table(
    signal: str, fields: dict[str, Any], known: dict[str, Any], queue: str, rule: str
) -> None:
    found = assessed(action(), **known, **fields)
    assert (found.status, found.queue, found.rule, len(found.reasons)) == ("pending_review", queue, rule, 1)
    assert assessed(action()).status == "auto_approved"


RULES = [  # what is known, the rule that decides ("routine": it runs unseen), words of the reason
    ({"confidence": 0.85}, "routine", ""),
    ({"confidence": 0.8499}, "confidence", "0.8499 is below 0.85"),
    ({"confidence": 0.5}, "confidence", "0.5 is below 0.85"),
    ({"confidence": 0.4999}, "low-confidence", "0.4999 is below 0.5"),
    ({"confidence": None}, "confidence", "not known"),
    ({"cost": "500"}, "routine", ""),
    ({"cost": "500.01"}, "cost", "500.01 USD is more than 500"),
    ({"cost": "1E+3"}, "cost", "1000 USD is more than 500"),
    ({"cost": "0.01", "currency": "JPY"}, "cost", "0.01 JPY: there is no limit"),
    ({"cost": "0", "currency": "JPY"}, "routine", ""),
    ({"domain": "medcial"}, "domain", "medcial, as declared"),
    ({"personal_data": True}, "personal-data", "declared"),
    ({"options": OPTIONS[:1]}, "contradiction", "analyst"),
    ({"options": OPTIONS}, "contradiction", "analyst, writer"),
    ({"gate": "always"}, "gate", "whoever proposed it"),
    ({"cases": 19}, "routine", ""),
    ({"cases": 20}, "novel", "of 20 cases"),
    ({"cases": 20, "past": similar(0.5)}, "routine", ""),
    ({"cases": 20, "past": similar(0.49)}, "novel", "0.49"),
]


@pytest.mark.parametrize(("known", "rule", "words"), RULES)
def test_each_rule_by_itself(known: dict[str, Any], rule: str, words: str) -> None:
    found = assessed(action(), **known)
    assert (found.rule, words in " ".join(found.reasons)) == (rule, True)
    assert (found.status == "auto_approved") == (rule == "routine") == (not found.reasons)


ACTIONS = [
    ({"amount": "500.01"}, "cost"),
    ({"amount": "500"}, "routine"),
    ({"amount": "3", "currency": "EUR"}, "cost"),
    ({"about": "Updated the notes"}, "medium-risk"),
    ({"about": "Issue refunds"}, "high-risk"),
    ({"about": "Undelete it"}, "critical-risk"),
    ({"about": "Tidy up", "arguments": {"rows": [{"then": "DELETE FROM orders"}]}}, "critical-risk"),
    ({"about": "Tidy up", "arguments": {"delete_rows": True}}, "critical-risk"),
    ({"about": "Tidy up", "tool": "account.revoke"}, "critical-risk"),
    ({"about": "Tidy up", "tool": "sendEmail"}, "medium-risk"),
    ({"about": "Post it", "recipient": "anna.berg@example.com"}, "personal-data"),
    ({"about": "Post it", "arguments": {"to": {"ssn": 536904399}}}, "personal-data"),
    ({"about": "Charge it", "arguments": {"card": 4111111111111111}}, "personal-data"),
    ({"about": "Advise on the mortgage"}, "domain"),
]


@pytest.mark.parametrize(("fields", "rule"), ACTIONS)
def test_what_the_action_itself_shows(fields: dict[str, Any], rule: str) -> None:
    assert assessed(action(**fields)).rule == rule


def test_the_dearer_of_cost_and_amount_counts() -> None:
    assert assessed(action(amount="600"), cost="1").rule == "cost"
    assert assessed(action(amount="1"), cost="600").rule == "cost"
    assert len(assessed(action(amount="600"), cost="600").reasons) == 1
    assert len(assessed(action(amount="600"), cost="700").reasons) == 2


def test_the_strictest_queue_wins_and_all_reasons_are_named() -> None:
    found = assessed(action("Delete it", amount="900"), cases=40, confidence=0.3, personal_data=True, gate="always")
    assert (found.status, found.queue, found.rule, found.role) == ("escalated", "seniors", "critical-risk", "senior")
    assert found.reasons == (
        "critical risk: delete",
        "its confidence of 0.3 is below 0.5",
        "it is novel: of 40 cases on record the most similar is so by 0.00",
        "a person's approval is wanted always, by whoever proposed it",
        "900 USD is more than 500",
        "personal data: declared",
    )


def test_many_views_make_no_long_reason() -> None:
    options = tuple(OPTIONS[0].model_copy(update={"source": f"{n} " + "x" * 500}) for n in range(4_000))
    [reason] = assessed(action(), options=options).reasons
    assert reason.endswith(", and 3995 more")
    assert len(reason) < 400


def test_what_runs_unseen_has_no_queue_and_nobody_may_decide_it() -> None:
    found = assessed(action())
    assert (found.queue, found.role, found.reasons) == ("", "", ())
    assert not may_decide(SHIPPED, found, ["senior", ""])


def test_kinds_of_personal_data_are_named_and_never_the_data() -> None:
    found = assessed(action("Write to anna.berg@example.com or +44 20 7946 0958"), personal_data=True)
    assert found.personal_data == ("declared", "email", "phone")
    assert "anna" not in found.model_dump_json()


@pytest.mark.parametrize(
    ("of", "roles", "may"),
    [
        ("reviewers", ["reviewer"], True),
        ("reviewers", ["specialist"], True),
        ("reviewers", ["senior"], True),
        ("specialists", ["reviewer"], False),
        ("specialists", ["specialist"], True),
        ("specialists", ["senior"], True),
        ("seniors", ["reviewer", "specialist"], False),
        ("seniors", ["reviewer", "senior"], True),
        ("reviewers", [], False),
        ("reviewers", ["clerk"], False),
        ("reviewers", ["Reviewer"], False),
    ],
)
def test_who_may_decide(of: str, roles: list[str], may: bool) -> None:
    assessments: dict[str, Assessment] = {
        "reviewers": assessed(action(), personal_data=True),
        "specialists": assessed(action(), cases=20),
        "seniors": assessed(action(), confidence=0.1),
    }
    assert assessments[of].queue == of
    assert may_decide(SHIPPED, assessments[of], roles) is may


def test_a_role_that_the_policy_has_no_line_for_is_taken_by_itself_alone() -> None:
    assert takes_place(SHIPPED, "treasurer", ["treasurer"])
    assert not takes_place(SHIPPED, "treasurer", ["senior"])
    assert not takes_place(SHIPPED, "", [""])


@pytest.mark.parametrize(("asked", "quorum"), [(None, 1), (1, 1), (2, 2), (10, 10)])
def test_whoever_proposes_an_action_may_want_more_people(asked: int | None, quorum: int) -> None:
    assert assessed(action(), quorum=asked, gate="always").quorum == quorum


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("seconds", "escalate", "expire"),
    [
        (None, 8 * HOUR, 24 * HOUR),
        (86400, 8 * HOUR, 24 * HOUR),
        (43200, 4 * HOUR, 12 * HOUR),
        (3, timedelta(seconds=1), timedelta(seconds=3)),
        (7 * 86400, 8 * HOUR, 168 * HOUR),
    ],
)
def test_when_an_action_goes_to_the_seniors_and_when_it_is_refused(
    seconds: float | None, escalate: timedelta, expire: timedelta
) -> None:
    assert times(SHIPPED, "reviewers", seconds) == (escalate, expire)


def test_what_is_the_seniors_already_goes_to_nobody_else() -> None:
    assert times(SHIPPED, "seniors") == (None, 24 * HOUR)
