"""A claim must not contradict a given fact."""

import pytest
from pydantic import JsonValue

from contracts.verifier import ClaimRejected
from services.verifier.decider import verifier
from services.verifier.facts import contradicted
from tests.decisions import decided
from tests.spec.verifier_kit import claim, failing


@pytest.mark.parametrize(
    ("text", "name", "fact"),
    [
        ("The total is 1,300.", "total", 1200),
        ("The total is $1,300.00 for three items.", "total", "1200.00"),
        ("Total: 1300", "total", 1200),
        ("Tax rate is 9%.", "tax_rate", "8%"),
        ("The tax rate is at 9%.", "tax_rate", "8%"),
        ("Tax rate is 9%.", "taxRate", 0.08),
        ("The due date is 2026-02-01.", "due date", "2026-01-31"),
        ("It is due on 1 February 2026.", "due", "2026-01-31"),
        ("The currency is USD.", "currency", "EUR"),
        ("The invoice id is INV-2042.", "invoice id", "INV-2041"),
        ("The invoice is not approved.", "approved", True),
        ("approved: yes", "approved", False),
        ("First things first. The total was 7.\nThe end.", "total", 8),
    ],
)
def test_a_claim_that_contradicts_a_given_fact_is_rejected(text: str, name: str, fact: JsonValue) -> None:
    assert contradicted(text, name, fact) is not None
    assert failing(claim(text, facts={name: fact})) == ("contradiction",)


@pytest.mark.parametrize(
    ("text", "name", "fact"),
    [
        ("The total is $1,200.", "total", 1200),
        ("The total is 1200.00 EUR.", "total", "1200"),
        ("The total of 3 items is 1200.", "total", 1200),
        ("The total covers 3 items.", "total", 1200),
        ("The total is about 1,300.", "total", 1287),
        ("The total is 1.2 million.", "total", 1200000),
        ("The total was 900 last year and is 1200 now.", "total", 1200),
        ("The total is due on 2026-01-31.", "total", 1200),
        ("The total on 31 January 2026 is open.", "total", 1200),
        ("Total: 31 January 2026", "total", 1200),
        ("The total at 3 stores fell.", "total", 1200),
        ("Tax rate is 8%.", "tax rate", 0.08),
        ("Tax rate is 0.08.", "tax rate", "8%"),
        ("Due on January 31, 2026.", "due", "2026-01-31"),
        ("The currency is euro.", "currency", "EUR"),
        ("Totally 5 rows.", "total", 8),
        ("It was approved.", "approved", True),
        ("Nothing of it is named here.", "total", 8),
        ("The name is Bob.", "name", "Alice Liddell"),
        ("The list is 5.", "list", [1, 2]),
        ("Nothing.", "", 5),
    ],
)
def test_a_claim_that_agrees_with_the_facts_or_cannot_be_judged_passes(text: str, name: str, fact: JsonValue) -> None:
    assert contradicted(text, name, fact) is None


def test_the_reason_names_the_fact_and_the_value_in_the_claim() -> None:
    (message,) = decided(verifier, [], claim("The total is 1,300.", facts={"total": 1200}))
    assert isinstance(message, ClaimRejected)
    assert message.reasons == ("The answer contradicts what was given: total is 1200, not 1,300. Keep to what was given.",)
