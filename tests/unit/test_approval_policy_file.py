"""A user's own file changes the shipped policy; what is wrong in it is told in words."""

from decimal import Decimal
from pathlib import Path

import pytest

from contracts.approval import Requester
from services.approval.personal_data import LIBRARIES
from services.approval.policy import BadPolicy, Policy, load
from tests.unit.approval_policy_kit import SHIPPED, action, assessed


def own(tmp_path: Path, text: str) -> Policy:
    file = tmp_path / "approvals.yaml"
    file.write_text(text)
    return load(file)


def test_a_file_says_only_what_it_changes(tmp_path: Path) -> None:
    policy = own(tmp_path, "cost: {EUR: 400}")
    assert policy.cost == {"USD": Decimal(500), "EUR": Decimal(400)}
    assert policy.rules == SHIPPED.rules


def test_a_list_takes_the_place_of_ours_and_null_takes_a_key_away(tmp_path: Path) -> None:
    policy = own(tmp_path, "risk: {critical: [wipe]}\ndomains: {legal: null}")
    assert (policy.risk["critical"], policy.risk["high"]) == (("wipe",), SHIPPED.risk["high"])
    assert sorted(policy.domains) == ["financial", "medical"]


@pytest.mark.parametrize(("cost", "status"), [("1000", "auto_approved"), ("1000.01", "pending_review")])
def test_the_references_other_figure_is_a_setting(tmp_path: Path, cost: str, status: str) -> None:
    assert assessed(action(), own(tmp_path, "cost: {USD: 1000}"), cost=cost).status == status


def test_medium_risk_may_run_unseen_as_in_the_references_code(tmp_path: Path) -> None:
    policy = own(tmp_path, "rules: {medium-risk: nobody}")
    update = action("Update the price list")
    assert assessed(update).status == "pending_review"
    assert assessed(update, policy, confidence=0.85).status == "auto_approved"
    assert assessed(update, policy, confidence=0.84).status == "pending_review"
    assert assessed(update, policy, personal_data=True).status == "pending_review"


UNPROVEN = Requester(name="bob", why="bob is not registered")


def test_a_deployment_may_trust_its_own_submitters(tmp_path: Path) -> None:
    trusting = own(tmp_path, "rules: {unproven-requester: nobody}")
    assert assessed(action(), requester=UNPROVEN).rule == "unproven-requester"
    assert assessed(action(), trusting, requester=UNPROVEN).status == "auto_approved"
    assert assessed(action("Refund it"), trusting, requester=UNPROVEN).rule == "high-risk"


def test_where_identities_need_no_proof_no_requester_needs_one_whatever_a_file_says(tmp_path: Path) -> None:
    (tmp_path / "approvals.yaml").write_text("rules: {unproven-requester: seniors}")
    for development in (load(unproven=True), load(tmp_path / "approvals.yaml", unproven=True)):
        assert assessed(action(), development, requester=UNPROVEN).status == "auto_approved"
        on_record = Policy.of(development.version, development.data)
        assert assessed(action(), on_record, requester=UNPROVEN).status == "auto_approved"


def test_who_is_not_proven_may_be_for_the_seniors(tmp_path: Path) -> None:
    unproven, proven = UNPROVEN, Requester(name="bob", proof="signature")
    policy = own(tmp_path, "rules: {unproven-requester: seniors}")
    assert assessed(action(), policy, requester=proven).status == "auto_approved"
    found = assessed(action(), policy, requester=unproven)
    assert (found.status, found.rule) == ("escalated", "unproven-requester")
    assert found.reasons == ("who asked for it is not proven: bob is not registered",)


def test_a_tool_has_a_least_risk_whatever_its_words_are(tmp_path: Path) -> None:
    policy = own(tmp_path, "tools: {ledger: high, shell: critical}")
    assert assessed(action("Tidy up"), policy).reasons == ("high risk: the tool ledger",)
    assert assessed(action("Tidy up", tool="Shell"), policy).status == "escalated"
    assert assessed(action("Delete it"), policy).reasons == ("critical risk: delete",)
    assert assessed(action("Tidy up", tool="mailer"), policy).status == "auto_approved"


def test_a_kind_of_personal_data_may_be_left_out_and_stays_on_record(tmp_path: Path) -> None:
    kinds = [kind for kind in SHIPPED.personal_data if kind != "email"]
    found = assessed(action(recipient="anna.berg@example.com"), own(tmp_path, f"personal_data: [{', '.join(kinds)}]"))
    assert (found.status, found.personal_data) == ("auto_approved", ("email",))


def test_keywords_may_be_looked_for_in_fewer_places(tmp_path: Path) -> None:
    mail = action("Send the note", arguments={"body": "We will update you."})
    assert assessed(mail).status == "pending_review"
    assert assessed(mail, own(tmp_path, "searched: [about, tool]")).status == "auto_approved"


def test_a_quorum_of_two_for_seniors(tmp_path: Path) -> None:
    policy = own(tmp_path, "queues: {seniors: {quorum: 2}}")
    assert assessed(action("Delete it"), policy).quorum == 2
    assert assessed(action("Refund it"), policy).quorum == 1


BAD = [
    ("cost: {USD: -1}", "`cost.USD`: Input should be greater than or equal to 0"),
    ("cost: {USD: much}", "`cost.USD`: "),
    ("cost: {usd: 1}", "`cost.usd"),
    ("cots: {USD: 1}", "`cots`: Extra inputs are not permitted"),
    ("risk: {critical: delete}", "`risk.critical`: "),
    ("risk: {low: [read]}", "`risk.low"),
    ("risk: {high: ['  ']}", "`risk.high.0`: "),
    ("tools: {ledger: severe}", "`tools.ledger`: "),
    ("confidence: {approve: 0.4}", "`escalate` (0.5) is above `approve` (0.4)"),
    ("confidence: {approve: 1.5}", "`confidence.approve`: "),
    ("rules: {high-risk: nobody}", "these always have somebody who decides: high-risk"),
    ("rules: {critical-risk: nobody}", "these always have somebody who decides: critical-risk"),
    ("rules: {cost: cashiers}", "`rules.cost"),
    ("rules: {cost: null}", "`rules` has no line for cost"),
    ("rules: {high-risk: seniors, critical-risk: reviewers}", "must not have a laxer queue"),
    ("rules: {low-confidence: reviewers, confidence: seniors}", "must not have a laxer queue"),
    ("queues: {seniors: null}", "`queues` has no line for seniors"),
    ("queues: {reviewers: {role: clerk}}", "`roles` has no line for the role of a queue: clerk"),
    ("queues: {reviewers: {escalate_after: 86400}}", "`escalate_after` is not before `expire_after`"),
    ("queues: {reviewers: {quorum: 0}}", "`queues.reviewers.quorum`: "),
    ("roles: {senior: []}", "must take the place of a laxer one's"),
    ("roles: {senior: [boss, specialist]}", "`roles` has no line for boss"),
    ("personal_data: [dna]", "kinds that nothing finds: dna"),
    ("searched: [everywhere]", "`searched.0`: "),
    ("cost: [", "line 1"),
    ("- cost", "a policy is a mapping"),
    ("", "a policy is a mapping"),
    ("cost: {USD: 1}\ncost: {USD: 2}", "twice"),
    ("libraries: {phonenumbers: 1}", "`libraries`: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadPolicy) as bad:
        own(tmp_path, text)
    assert str(bad.value).startswith(f"{tmp_path / 'approvals.yaml'}: ")
    assert words in str(bad.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        load(tmp_path / "approvals.yaml")


def test_roles_that_take_each_others_place_do_not_hang(tmp_path: Path) -> None:
    policy = own(tmp_path, "roles: {senior: [specialist, boss], boss: [senior]}")
    assert policy.covered("boss") == {"boss", "senior", "specialist", "reviewer"}


def test_a_version_follows_from_the_data(tmp_path: Path) -> None:
    assert own(tmp_path, "cost: {USD: 500}").version == SHIPPED.version
    assert own(tmp_path, "cost: {USD: 501}").version != SHIPPED.version


def test_a_recorded_policy_keeps_its_version_and_its_data() -> None:
    then = SHIPPED.data | {"libraries": LIBRARIES | {"phonenumbers": "8.0.0"}}
    policy = Policy.of("1-0123456789ab", then)
    assert (policy.version, policy.data) == ("1-0123456789ab", then)


def test_data_that_todays_code_cannot_decide_by_are_refused() -> None:
    with pytest.raises((ValueError, LookupError)):
        Policy.of("0-0123456789ab", {"risk": {}})
