"""Personal data is found in the forms of many countries, and business sentences have none."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any

import phonenumbers
import pytest
import stdnum.no.fodselsnummer
from hypothesis import given
from hypothesis import strategies as st

from services.approval import personal_data
from services.approval.personal_data import FINDERS, KINDS, LIBRARIES, find_personal_data, personal_data_in
from services.approval.personal_data.finder import Finder
from tests.unit.approval_policy_kit import SHIPPED, action
from tests.unit.personal_data_kit import HARMLESS, HARMLESS_TOO, WITH_DATA, WITH_DATA_TOO


@pytest.mark.parametrize("text", HARMLESS + HARMLESS_TOO)
def test_a_harmless_sentence_has_none(text: str) -> None:
    assert find_personal_data(text) == ()


@pytest.mark.parametrize(("kind", "text"), WITH_DATA + WITH_DATA_TOO)
def test_personal_data_is_found(kind: str, text: str) -> None:
    assert kind in find_personal_data(text)


@pytest.mark.parametrize(("kind", "text"), WITH_DATA)
def test_it_is_found_among_other_words_and_with_other_blanks_and_dashes(kind: str, text: str) -> None:
    assert kind in find_personal_data(f"{HARMLESS[8]}.\n{text}\n{HARMLESS[9]}")
    assert kind in find_personal_data(text.replace(" ", "\u00a0"))
    assert kind in find_personal_data(text.replace("-", "\u2011"))
    assert kind in find_personal_data("\u200b".join(text))
    assert kind in find_personal_data("\x08".join(text))


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_countrys_example_number_is_found_in_its_international_forms(region: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164):
        assert find_personal_data(f"Answer {phonenumbers.format_number(number, form)} today.") == ("phone",)


@pytest.mark.parametrize(
    "text",
    [
        "The draw was 04 11 23 35 42",  # a French number is written so
        "Box 0121 234 5678 is empty",  # a British one
        "Number 415-555-2671 of the series",
        "Article 54362315K is sold out",  # the letter is that of a Spanish identity number
        "Serial 4111111111111111",
        "Host 62.141.38.9 is our own",
    ],
)
def test_what_is_known_to_be_found_in_vain(text: str) -> None:
    assert find_personal_data(text) != ()


@pytest.mark.parametrize(
    "text",
    [
        "Anna Berg wants a refund",
        "Ship it to 12 High Street, Leeds",
        "She is pregnant and allergic to penicillin",
        "Her number is 612 34 56 78",  # Spain; it begins as an amount does
        "415 5552671",
        "customer 44051401359",  # a Polish one, as any eleven digits
    ],
)
def test_what_has_no_form_of_its_own_is_not_found_and_must_be_declared(text: str) -> None:
    assert find_personal_data(text) == ()


def test_an_action_is_searched_in_its_words_arguments_and_recipient() -> None:
    assert personal_data_in(action("Write to anna.berg@example.com")) == ("email",)
    assert personal_data_in(action(arguments={"rows": [{"card": 4111111111111111}]})) == ("card",)
    assert personal_data_in(action(arguments={"date_of_birth": "1987-05-03"})) == ("birth-date",)
    assert personal_data_in(action(arguments={"anna.berg@example.com": True})) == ("email",)
    assert personal_data_in(action(recipient="+44 20 7946 0958")) == ("phone",)


def test_the_shipped_policy_counts_every_kind() -> None:
    assert {*KINDS, "declared"} == {*SHIPPED.personal_data}


FILL = 64 * 1024
HOSTILE: dict[str, Callable[[int], str]] = {
    "mail": lambda n: f"a{n}@b{n} ",
    "mailboxes": lambda n: "a@",
    "at": lambda n: " [at] [dot] ",
    "plus": lambda n: f"+{n} 456 789, ",
    "zeros": lambda n: f"0{n:05} 456789, ",
    "parted": lambda n: f"0{n % 10} ",
    "threes": lambda n: f"{200 + n % 700}-{200 + n // 700 % 700}-{n % 10000:04}, ",
    "cards": lambda n: f"4{n:014}, ",
    "fours": lambda n: "4 ",
    "digits": lambda n: "7",
    "IBANs": lambda n: f"GB{n % 100:02} {n:04} AAAA BBBB, ",
    "letters": lambda n: "A",
    "phones": lambda n: f"phone {n} ",
    "births": lambda n: f"born in {n % 100}. ",
    "passports": lambda n: f"passport AAAA{n} ",
    "dots": lambda n: "1.",
    "colons": lambda n: "a:",
    "brackets": lambda n: "(",
    "blanks": lambda n: " ",
    "insurance": lambda n: f"{n % 1000:03}-00-0000, ",
}


@pytest.mark.parametrize("hostile", sorted(HOSTILE))
def test_a_flood_of_candidates_hides_nothing_and_is_bounded(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flood = "".join(map(HOSTILE[hostile], range(FILL)))[:FILL]
    looked: list[str] = []

    def watched(finder: Finder) -> Finder:
        return replace(finder, is_one=lambda one: looked.append(one) or finder.is_one(one))  # type: ignore[func-returns-value]

    monkeypatch.setattr(personal_data, "FINDERS", tuple(map(watched, FINDERS)))
    found = find_personal_data(f"{flood}\n+44 20 7946 0958 anna.berg@example.com")
    assert {"phone", "unsearched"} & {*found}
    assert {"email", "unsearched"} & {*found}
    assert len(looked) <= sum(finder.limit for finder in FINDERS)


def test_one_candidate_that_is_repeated_does_not_use_up_the_limit() -> None:
    assert find_personal_data("+49 30, " * 5_000 + "+44 20 7946 0958") == ("phone",)


def test_characters_that_each_stand_for_many_are_cut_and_that_is_told() -> None:
    assert find_personal_data("\ufdfa" * FILL) == ("unsearched",)


class _NoClock(date):
    @classmethod
    def today(cls) -> date:  # type: ignore[override]
        raise AssertionError("an audit of tomorrow would find otherwise")


def test_the_clock_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name, module in list(sys.modules.items()):
        if name.startswith("stdnum.") and hasattr(module, "datetime"):
            monkeypatch.setattr(module, "datetime", SimpleNamespace(date=_NoClock, datetime=datetime))
    with pytest.raises(AssertionError):
        stdnum.no.fodselsnummer.is_valid("151086 95088")
    digits = random.Random(1)
    made = [f"{digits.randrange(10**11):011} {digits.randrange(10**6):06}-{digits.randrange(10**7):07}" for _ in range(2_000)]
    for text in [*made, *(text for _, text in WITH_DATA)]:
        find_personal_data(text)


any_text = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("0123456789 .-+@():/AP")), max_size=120)


@given(any_text)
def test_every_text_has_an_answer_and_always_the_same(text: str) -> None:
    found = find_personal_data(text)
    assert list(found) == sorted({*found} & {*KINDS})
    assert find_personal_data(text) == found


@given(st.sampled_from(WITH_DATA), any_text)
def test_a_further_line_hides_nothing(given: tuple[str, str], text: str) -> None:
    kind, sentence = given
    assert kind in find_personal_data(f"{text}\n{sentence}\n{text}")


def test_what_finds_is_named_in_the_policy() -> None:
    found: Any = SHIPPED.data["libraries"]
    assert found == LIBRARIES
    assert sorted(found) == ["email-validator", "phonenumbers", "python-stdnum", "unicode", "words"]
