"""Whatever the data is, a rule answers or refuses it, and takes a short time."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.requests import SubmitRequest
from contracts.results import WorkflowCompleted, WorkflowRefused
from services.router.decider import router
from services.router.policy import Policy
from services.router.rules import RULES, Rule, Unfit
from services.router.rules.rule import MAX_ANSWER, Data, Input
from tests.decisions import decided

decider = router(Policy())
LARGE = 250_000  # characters, about what a request may have

deep: Any = "x"
for _ in range(120):
    deep = [deep]

HOSTILE: list[Any] = [
    None,
    True,
    float("nan"),
    float("inf"),
    1e308,
    5e-324,
    -1,
    10**18,
    10**4000,
    "NaN",
    "sNaN",
    "Infinity",
    "1e999",
    "1e999999999",
    "-1e-999999999",
    "1_000",
    "٣",
    " 1 ",
    "0x10",
    "9" * LARGE,
    "a" * LARGE,
    "@" * LARGE,
    "a@" + "a." * (LARGE // 2),
    "(" * LARGE,
    "\x00",
    "\u202e\ufeff",
    "",
    [],
    {},
    deep,
    [[1]] * 1000,
    {"a": {"b": None}},
    list(range(10_000)),
    [{f"k{n}": n} for n in range(20_000)],
    {str(n): "v" for n in range(10_000)},
    {"": ""},
]
FIELDS = {name: [field.alias or key for key, field in rule.input.model_fields.items()] for name, rule in RULES.items()}
GOOD: dict[str, dict[str, Any]] = {
    "validate_email": {"email": "a@b.example"},
    "calculate_tax": {"amount": 1},
    "format_currency": {"amount": 1},
    "check_business_hours": {"hour": 9},
    "route_by_keyword": {"text": "billing"},
    "validate_phone": {"phone": "+14155552671"},
    "required_fields": {"record": {"a": 1}, "required": ["a"]},
    "menu_choice": {"choice": "a", "options": ["a"]},
    "convert_units": {"value": 1, "from": "km", "to": "m"},
    "format_date": {"date": "2026-03-04"},
    "convert_currency": {"amount": 1, "rate": 2, "from": "USD", "to": "EUR"},
    "check_access": {"scope": "a"},
    "detect_duplicate": {"item": 1},
    "json_to_csv": {"rows": [{"a": 1}]},
    "count_inventory": {"on_hand": 1},
}


def ends(rule: str, data: dict[str, Any]) -> bool:
    """Whether it was answered; otherwise it was refused as invalid, with a short reason."""
    request = SubmitRequest.model_construct(
        type=rule, data=data, text=None, plan=None, architecture=None, deadline=None, budget=None
    )
    result = decided(decider, [], request)[-1]
    if isinstance(result, WorkflowCompleted):
        json.dumps(result.model_dump(mode="json"), allow_nan=False)
        return True
    assert isinstance(result, WorkflowRefused)
    assert result.reason == "invalid"
    assert result.detail.startswith(f"{rule}: ")
    assert len(result.detail) < 1500
    return False


def test_every_rule_has_an_example_that_it_answers() -> None:
    assert set(GOOD) == set(RULES)
    for rule, data in GOOD.items():
        assert ends(rule, data), rule


@pytest.mark.parametrize("rule", RULES)
def test_no_value_in_any_field_breaks_or_delays_a_rule(rule: str) -> None:
    ends(rule, GOOD[rule])  # what loads late is loaded
    for field in FIELDS[rule]:
        for value in HOSTILE:
            began = time.process_time()
            ends(rule, GOOD[rule] | {field: value})
            spent = time.process_time() - began
            assert spent < 2, f"{field}={str(value)[:40]}… took {spent:.1f} s of CPU"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_data_is_answered_or_refused(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(sorted(RULES)))
    changed = data.draw(st.dictionaries(st.sampled_from(FIELDS[rule]), values, max_size=3))
    ends(rule, GOOD[rule] | changed)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=64), st.sampled_from(["date", "pattern"]))
def test_any_text_as_a_date_is_answered_or_refused(text: str, field: str) -> None:
    ends("format_date", {"date": "2026-03-04T10:00:00Z", field: text})


@settings(max_examples=200, deadline=None)
@given(st.text("kmdegCF/*^23²µ_.-1e0 ", max_size=30))
def test_any_text_as_a_unit_is_answered_or_refused(text: str) -> None:
    ends("convert_units", {"value": 1, "from": text, "to": "m"})


def test_a_table_of_too_many_cells_is_refused() -> None:
    with pytest.raises(Unfit, match="cells"):
        RULES["json_to_csv"].apply({"rows": [{f"k{n}": n} for n in range(2000)]})


def test_an_answer_too_large_for_one_message_is_refused() -> None:
    class Nothing(Input): ...

    def much(_: Nothing) -> Data:
        return {"method": "much", "text": "x" * MAX_ANSWER}

    with pytest.raises(Unfit, match="travel"):
        Rule("much", Nothing, much, lambda d: d["text"]).apply({})
