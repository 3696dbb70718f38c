"""Which past cases are like one: measured by pairs that a person calls like or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.approval.similarity import Past, most_similar, similarity, words_of
from tests.unit.approval_policy_kit import SHIPPED, action

LIKE = [
    ("Process $50 refund for delayed shipment", "Process $75 refund for a delayed shipment of order 1234"),
    ("Process $50 refund for delayed shipment", "Process $2,500 refund for service outage"),
    ("Update customer address in database", "Update customer's address in the CRM database"),
    ("Send order confirmation email", "Send confirmation email for order 8812"),
    ("Respond to general FAQ question", "Respond to FAQ question about opening hours"),
    ("Create support ticket for follow-up", "Create a support ticket for follow up call"),
    ("Delete user account and all associated data", "Delete the account of user 4412 and its associated data"),
    ("Pay invoice R-17 to Acme", "Pay invoice R-23 to Globex Corporation"),
    ("Restart web server eu-1", "Restart the web server us-3"),
    ("Kundenadresse in der Datenbank ändern", "Adresse des Kunden in der Datenbank ändern"),
    ("Rembourser 50 € pour un retard de livraison", "Rembourser 120 € pour retard de livraison"),
    ("退款50元给客户", "退款120元给客户"),
    ("Grant read access to repository billing", "Grant read access to repository payments"),
    ("Schedule a maintenance window for database", "Schedule maintenance window for the database on Sunday"),
    ("Issue a store credit of 20 dollars", "Issue store credit of $35 to the customer"),
]
UNLIKE = [
    ("Process $50 refund for delayed shipment", "Delete user account and all associated data"),
    ("Send order confirmation email", "Delete user account and all associated data"),
    ("Process refund for delayed shipment", "Send newsletter to subscribers"),
    ("Respond to general FAQ question", "Wire transfer to supplier in Singapore"),
    ("Create support ticket for follow-up", "Create production database backup"),
    ("Update customer address in database", "Update firewall rules in production"),
    ("Send order confirmation email", "Send payment to supplier"),
    ("Restart web server eu-1", "Recommend treatment plan to patient"),
    ("Recommend treatment plan to patient", "Recommend product to customer"),
    ("Kundenadresse in der Datenbank ändern", "Rechnung an den Kunden senden"),
    ("退款50元给客户", "删除客户的账户数据"),
    ("Grant read access to repository billing", "Revoke all access of the contractor"),
    ("Grant read access to repository billing", "Publish repository to the public"),
    ("Issue a store credit of 20 dollars", "Close the store on Friday"),
    ("Delete user account and all associated data", "Create user account and assign a licence"),
    ("Delete user account", "Delete temporary files"),
    ("Schedule a maintenance window for database", "Order new windows for the office"),
    ("Email", "Email a list of all passwords to an unknown address"),
]
MISTAKEN = [  # shared words are not meaning: what this measure calls wrong, by the shipped threshold
    ("Update customer address in database", "Change the customer address", False),
    ("Update customer address in database", "Drop customer table in database", True),
    ("Pay invoice R-17 to Acme", "Sue Acme over invoice R-17", True),
]


def likeness(a: str, b: str) -> float:
    return similarity(words_of(action(a)), words_of(action(b)))


@pytest.mark.parametrize(("a", "b"), LIKE)
def test_like_cases_are_similar(a: str, b: str) -> None:
    assert likeness(a, b) >= SHIPPED.novel.similarity


@pytest.mark.parametrize(("a", "b"), UNLIKE)
def test_unlike_cases_are_not(a: str, b: str) -> None:
    assert likeness(a, b) < SHIPPED.novel.similarity


@pytest.mark.parametrize(("a", "b", "similar"), MISTAKEN)
def test_what_is_known_to_be_mistaken(a: str, b: str, similar: bool) -> None:
    assert (likeness(a, b) >= SHIPPED.novel.similarity) is similar


def test_what_another_tool_did_is_never_a_like_case() -> None:
    about = "Pay invoice R-17 to Acme"
    assert similarity(words_of(action(about)), words_of(action(about, tool="shell"))) == 0
    assert similarity(words_of(action("")), words_of(action(""))) == 1
    assert similarity(words_of(action("")), words_of(action(about))) == 0


texts = st.text(max_size=60)


@given(texts, texts)
def test_similarity_is_a_share_and_the_same_both_ways(a: str, b: str) -> None:
    assert 0 <= likeness(a, b) == likeness(b, a) <= 1
    assert likeness(a, a) == 1


@given(st.lists(texts, max_size=8), texts, st.integers(0, 5))
def test_the_most_similar_come_first_and_none_is_missed(past: list[str], wanted: str, n: int) -> None:
    cases = [Past(words_of(action(words)), str(place)) for place, words in enumerate(past)]
    found = most_similar(words_of(action(wanted)), cases, n)
    alike = [value for _, value in found]
    assert alike == sorted(alike, reverse=True)
    everyone = sorted((likeness(wanted, words) for words in past), reverse=True)
    assert alike == [value for value in everyone if value > 0][:n]


def test_of_equally_similar_cases_the_earlier_given_comes_first() -> None:
    cases = [Past(words_of(action("pay rent")), name) for name in ("newest", "older", "oldest")]
    assert [case.case for case, _ in most_similar(words_of(action("pay rent")), cases, 2)] == ["newest", "older"]
