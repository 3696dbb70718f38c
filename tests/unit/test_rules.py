"""What each rule answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit


def answer(rule: str, /, **data: Any) -> dict[str, Any]:
    given, sentence = RULES[rule].apply(data)
    assert given["method"]
    assert sentence
    return given


def unfit(rule: str, /, **data: Any) -> str:
    with pytest.raises(Unfit) as problem:
        RULES[rule].apply(data)
    return str(problem.value)


@pytest.mark.parametrize("hour", range(24))
def test_business_hours_are_from_nine_to_before_seventeen(hour: int) -> None:
    assert answer("check_business_hours", hour=hour)["is_business_hours"] is (9 <= hour < 17)


def test_a_time_is_compared_in_the_zone_of_the_business() -> None:
    late = "2026-01-05T20:30:00Z"
    assert answer("check_business_hours", time=late)["is_business_hours"] is False
    there = answer("check_business_hours", time=late, zone="America/New_York")
    assert (there["is_business_hours"], there["hour"]) == (True, 15)


def test_a_weekend_is_closed_only_where_the_caller_asks_for_it() -> None:
    saturday = "2026-01-03T10:00:00Z"
    assert answer("check_business_hours", time=saturday)["is_business_hours"] is True
    assert answer("check_business_hours", time=saturday, weekdays_only=True)["is_business_hours"] is False


def test_a_night_shift_is_open_over_midnight() -> None:
    open_at = [hour for hour in range(24) if answer("check_business_hours", hour=hour, opens=22, closes=3)["is_business_hours"]]
    assert open_at == [0, 1, 2, 22, 23]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"hour": 24},
        {"hour": -1},
        {"hour": 9.5},
        {"hour": True},
        {"hour": 9, "time": "2026-01-05T20:30:00Z"},
        {"time": "2026-01-05T20:30:00"},
        {"hour": 9, "zone": "Europe/Berlin"},
        {"time": "2026-01-05T20:30:00Z", "zone": "Nowhere/Land"},
        {"time": "2026-01-05T20:30:00Z", "zone": "America"},
        {"time": "2026-01-05T20:30:00Z", "zone": "localtime"},
        {"time": "2026-01-05T20:30:00Z", "zone": "../../etc/passwd"},
        {"time": "0001-01-01T00:00:00+14:00", "zone": "America/New_York"},
    ],
)
def test_an_impossible_hour_or_zone_is_refused(data: dict[str, Any]) -> None:
    assert unfit("check_business_hours", **data)


@pytest.mark.parametrize(
    ("text", "route", "keyword"),
    [
        ("my BILLING statement", "billing_team", "billing"),
        ("a technical question", "engineering", "technical"),
        ("Cancellation, please", "retention", "cancel"),
        ("cancel my billing", "billing_team", "billing"),
        ("hello", "general", None),
        ("", "general", None),
    ],
)
def test_keywords_name_the_team(text: str, route: str, keyword: str | None) -> None:
    found = answer("route_by_keyword", text=text)
    assert (found["route"], found["matched_keyword"]) == (route, keyword)


def test_a_caller_may_send_a_table_of_teams() -> None:
    found = answer("route_by_keyword", text="The (dis)like [x] button", routes={"[x]": "design"}, default="nobody")
    assert found["route"] == "design"
    assert answer("route_by_keyword", text="hm", routes={"[x]": "design"}, default="nobody")["route"] == "nobody"


@pytest.mark.parametrize(
    ("choice", "found"),
    [("Billing", "Billing"), (" billing ", "Billing"), ("2", "Other"), (1, "Billing"), ("3", None), ("0", None)],
)
def test_an_option_is_chosen_by_its_label_or_number(choice: str | int, found: str | None) -> None:
    given = answer("menu_choice", choice=choice, options={"Billing": "billing_team", "Other": "general"})
    assert (given["valid"], given["choice"]) == (found is not None, found)
    assert given["route"] == {"Billing": "billing_team", "Other": "general", None: None}[found]


@pytest.mark.parametrize(
    ("email", "valid"),
    [
        ("user@example.com", True),
        ("first.last+tag@sub.example.co.uk", True),
        ("ü@bücher.de", True),
        ("invalid-email", False),
        ("a@b", False),
        ("two@@example.com", False),
        (".dot@example.com", False),
        ("a b@example.com", False),
        ("user@example.com\n", False),
        ("", False),
        ("x" * 70 + "@example.com", False),
    ],
)
def test_an_address_is_valid_by_its_form(email: str, valid: bool) -> None:
    found = answer("validate_email", email=email)
    assert found["valid"] is valid
    assert ("normalized" if valid else "reason") in found


def test_a_field_is_missing_where_it_is_absent_or_blank_but_not_where_it_is_zero() -> None:
    record = {"name": " ", "age": 0, "ok": False, "address": {"city": "Rome"}, "tags": [], "a.b": "dotted"}
    found = answer(
        "required_fields", record=record, required=["name", "age", "ok", "address.city", "address.zip", "tags", "gone", "a.b"]
    )
    assert found["missing"] == ["name", "address.zip", "tags", "gone"]
    assert answer("required_fields", record=record, required=["age"])["complete"] is True


@pytest.mark.parametrize(
    ("data", "formatted"),
    [
        ({"date": "2026-03-04"}, "2026-03-04"),
        ({"date": "4 March 2026"}, "2026-03-04"),
        ({"date": "03/04/2026", "day_first": True}, "2026-04-03"),
        ({"date": "03/04/2026", "day_first": False}, "2026-03-04"),
        ({"date": "2026-03-04", "style": "long"}, "March 4, 2026"),
        ({"date": "2026-03-04", "style": "full", "locale": "de-DE"}, "Mittwoch, 4. März 2026"),
        ({"date": "2026-03-04", "pattern": "d.M.yy"}, "4.3.26"),
        ({"date": "2026-03-04T23:30:00Z", "zone": "Europe/Berlin"}, "2026-03-05T00:30:00+01:00"),
    ],
)
def test_dates_are_read_and_written(data: dict[str, Any], formatted: str) -> None:
    assert answer("format_date", **data)["formatted"] == formatted


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"date": "03/04/2026"}, "day_first"),
        ({"date": "March 2026"}, "date"),
        ({"date": "10:30"}, "date"),
        ({"date": "4 March 26"}, "date"),
        ({"date": "2026-03-04 10:00 CET"}, "date"),
        ({"date": "4 March 2026 10:00 CET"}, "date"),
        ({"date": "2026-02-30"}, "date"),
        ({"date": "tomorrow"}, "date"),
        ({"date": "9" * 60}, "date"),
        ({"date": "2026-03-04", "zone": "Europe/Berlin"}, "zone"),
        ({"date": "2026-03-04", "locale": "xx_YY"}, "locale"),
        ({"date": "2026-03-04", "locale": "../../x"}, "locale"),
    ],
)
def test_an_ambiguous_or_impossible_date_is_refused(data: dict[str, Any], field: str) -> None:
    assert unfit("format_date", **data).startswith(field)


@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        ({"scope": "docs:write"}, False),
        ({"scope": "docs:write", "scopes": ["docs:read"]}, False),
        ({"scope": "docs:write", "scopes": ["docs:write"]}, True),
        ({"scope": "docs:write", "scopes": ["docs:*"]}, True),
        ({"scope": "docsx:write", "scopes": ["docs:*"]}, False),
        ({"scope": "docs", "scopes": ["docs:*"]}, False),
        ({"scope": "docs:", "scopes": ["docs:*"]}, False),
        ({"scope": "*", "scopes": ["docs:*"]}, False),
        ({"scope": "Docs:write", "scopes": ["docs:*"]}, False),
        ({"scope": "docs:write", "role": "editor", "grants": {"editor": ["docs:*"]}}, True),
        ({"scope": "docs:write", "role": "reader", "grants": {"editor": ["docs:*"]}}, False),
        ({"scope": "docs:write", "grants": {"editor": ["docs:*"]}}, False),
        ({"scope": "anything", "role": "root", "grants": {"root": ["*"]}}, True),
    ],
)
def test_access_is_denied_unless_it_is_granted(data: dict[str, Any], allowed: bool) -> None:
    assert answer("check_access", **data)["allowed"] is allowed


def test_a_field_is_there_however_its_name_is_composed() -> None:
    record = {"pre\u0301nom": "Ada", "a": {"e\u0301": 1}, "b": "\u200b", "c.d": "", "c": {"d": 1}, "é": None, "e\u0301": 2}
    required = ["prénom", "a.é", "b", "c.d", "é"]
    assert answer("required_fields", record=record, required=required)["missing"] == ["b"]


@pytest.mark.parametrize("item", [1e16, [2.0**53], {"a": -1e300}, float("inf")])
def test_a_number_that_may_stand_for_another_is_not_compared(item: Any) -> None:
    assert unfit("detect_duplicate", item=item, earlier=[10**16])
    assert answer("detect_duplicate", item=10**16, earlier=[10**16 + 1])["duplicate"] is False
    assert answer("detect_duplicate", item=-0.0, earlier=[0])["duplicate"] is True


def test_two_ways_to_write_the_same_json_are_duplicates() -> None:
    found = answer("detect_duplicate", item={"a": 1, "b": [1.0, "ü"]}, earlier=[{"a": 2}, {"b": [1, "ü"], "a": 1.0}])
    assert (found["duplicate"], found["position"]) == (True, 1)
    again = answer("detect_duplicate", item={"b": [1, "ü"], "a": 1}, hashes=[found["hash"]])
    assert again["duplicate"] is True
    assert answer("detect_duplicate", item={"a": "1"}, earlier=[{"a": 1}])["duplicate"] is False


def test_rows_of_json_become_csv() -> None:
    rows = [{"a": 1, "b": 'say "hi", ok'}, {"b": None, "c": [1, True]}, {"a": False}]
    assert answer("json_to_csv", rows=rows)["csv"] == 'a,b,c\r\n1,"say ""hi"", ok",\r\n,,"[1, true]"\r\nfalse,,\r\n'
    assert answer("json_to_csv", rows=rows, columns=["b", "a"], delimiter=";")["csv"].startswith('b;a\r\n"say')


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"on_hand": 120, "reserved": 30}, {"available": 90, "reorder": None}),
        ({"on_hand": 120, "reserved": 30, "reorder_point": 90}, {"available": 90, "reorder": True}),
        ({"on_hand": 120, "reserved": 30, "reorder_point": 89}, {"available": 90, "reorder": False}),
        ({"on_hand": 5, "reserved": 3, "on_order": 10, "reorder_point": 4}, {"available": 2, "reorder": False}),
        ({"on_hand": 5, "reserved": 5, "reorder_point": 0}, {"available": 0, "reorder": True}),
        ({"on_hand": "12", "reserved": 12.0}, {"on_hand": 12, "reserved": 12, "available": 0}),
    ],
)
def test_stock_is_counted_in_whole_units(data: dict[str, Any], expected: dict[str, Any]) -> None:
    assert answer("count_inventory", **data).items() >= expected.items()


@given(*[st.integers(0, 10**14)] * 4)
def test_what_is_available_and_reserved_is_what_is_on_hand(on_hand: int, reserved: int, on_order: int, point: int) -> None:
    data = {"on_hand": on_hand, "reserved": reserved, "on_order": on_order, "reorder_point": point}
    if reserved > on_hand:
        assert "reserved" in unfit("count_inventory", **data)
        return
    found = answer("count_inventory", **data)
    assert found["available"] + found["reserved"] == on_hand
    assert found["available"] >= 0
    assert found["reorder"] is (on_hand + on_order <= point + reserved)


@pytest.mark.parametrize("number", [-1, "-1", 1.5, "0.1", True, None, 10**15, "many", [], "١"])
@pytest.mark.parametrize("field", ["on_hand", "reserved", "on_order", "reorder_point"])
def test_a_count_that_is_negative_or_not_whole_is_refused(number: Any, field: str) -> None:
    data = {"on_hand": 10**14} | {field: number}
    if number is None and field == "reorder_point":
        assert answer("count_inventory", **data)["reorder"] is None
    else:
        assert unfit("count_inventory", **data).startswith(field)


def test_a_misspelt_field_is_refused_and_named() -> None:
    assert unfit("calculate_tax", amount=5, taxrate=0.2).startswith("taxrate")


def test_a_refusal_names_the_field_but_not_its_value() -> None:
    problem = unfit("calculate_tax", amount="secret-4711")
    assert problem.startswith("amount")
    assert "4711" not in problem
