"""A phone number is the whole text, in every country's way of writing it."""

from typing import Any

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat as Form

from services.router.rules import RULES, Unfit

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def answer(phone: str, region: str | None = None) -> dict[str, Any]:
    given, sentence = RULES["validate_phone"].apply({"phone": phone, "region": region})
    assert "(0)" not in sentence
    return given


@pytest.mark.parametrize("region", REGIONS)
def test_every_countrys_example_is_valid_however_it_is_written(region: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    e164 = phonenumbers.format_number(number, Form.E164)
    for form in (Form.E164, Form.INTERNATIONAL, Form.RFC3966):
        assert answer(phonenumbers.format_number(number, form))["e164"] == e164
    national = phonenumbers.format_number(number, Form.NATIONAL)
    found = answer(national, region)
    assert (found["valid"], found["e164"]) == (True, e164)
    with pytest.raises(Unfit, match=r"^region: "):
        answer(national)


words = st.text(st.characters(categories=["L", "So", "Sc"]), min_size=1, max_size=12)


@given(st.sampled_from(REGIONS), words, st.booleans(), st.sampled_from([" ", "", ", ", ": ", "\n"]))
def test_a_number_with_words_around_it_is_no_phone_number(region: str, word: str, before: bool, gap: str) -> None:
    assume(word.casefold() not in ("x", "ext", "extn", "extension", "tel"))
    example = phonenumbers.example_number(region)
    assert example is not None
    number = phonenumbers.format_number(example, Form.INTERNATIONAL)
    text = f"{word}{gap}{number}" if before else f"{number}{gap}{word}"
    assert answer(text, region)["valid"] is False


@pytest.mark.parametrize(
    ("phone", "region", "e164", "extension"),
    [
        ("+1 415 555 2671", None, "+14155552671", None),
        ("(415) 555-2671", "US", "+14155552671", None),
        ("415.555.2671", "US", "+14155552671", None),
        ("415–555–2671", "US", "+14155552671", None),
        ("+1 415\u00a0555\u20112671", None, "+14155552671", None),
        ("４１５ ５５５ ２６７１", "US", "+14155552671", None),
        ("tel:+1-415-555-2671", None, "+14155552671", None),
        ("tel:+1-415-555-2671;ext=12", None, "+14155552671", "12"),
        ("415 555 2671 ext. 12", "US", "+14155552671", "12"),
        ("+1 415 555 2671, ext 5", None, "+14155552671", "5"),
        ("415-555-2671 x12", "US", "+14155552671", "12"),
        ("1-800-FLOWERS", "US", "+18003569377", None),
        ("030 901820", "DE", "+4930901820", None),
        ("030/901820", "DE", "+4930901820", None),
        ("020 7946 0958", "GB", "+442079460958", None),
        ("+44 (0)20 7946 0958", None, "+442079460958", None),
        ("(+44) 20 7946 0958", None, "+442079460958", None),
        ("0044 20 7946 0958", "DE", "+442079460958", None),
        ("011 44 20 7946 0958", "US", "+442079460958", None),
    ],
)
def test_a_phone_number_is_valid_by_its_numbering_plan(phone: str, region: str | None, e164: str, extension: str | None) -> None:
    found = answer(phone, region)
    assert (found["valid"], found["e164"], found.get("extension")) == (True, e164, extension)


@pytest.mark.parametrize(
    ("phone", "region"),
    [
        ("please call 415 555 2671", "US"),
        ("415 555 2671 thanks", "US"),
        ("1 800 call now", "US"),
        ("+247 40123 A", None),
        ("+49 30 9018 CALL", None),
        ("415 555 2671 CALL", "US"),
        ("Tel: 415 555 2671", "US"),
        ("+1 415 555 2671 (office)", None),
        ("+1 415 555 2671 or 2672", None),
        ("$415 555 2671", "US"),
        ("4155552671 4155552672", "US"),
        ("030 901820 / 901821", "DE"),
        ("030 901820/21", "DE"),
        ("+49 30 901820 oder +49 30 901821", None),
        ("2026-03-04", "US"),
        ("911", "US"),
        ("+1 000", None),
        ("+1", None),
        ("++14155552671", None),
        ("+999 12345678", None),
        ("hello", None),
        ("", None),
    ],
)
def test_what_is_not_just_a_valid_number_has_a_reason(phone: str, region: str | None) -> None:
    found = answer(phone, region)
    assert (found["valid"], bool(found["reason"])) == (False, True)


def test_the_reason_names_a_short_number() -> None:
    assert "short number of US" in answer("911", "US")["reason"]
    assert "short" not in answer("123", "US")["reason"]


@pytest.mark.parametrize(
    ("phone", "region"),
    [("020 7946 0958", None), ("112", None), ("020 7946 0958", "UK"), ("+44 20 7946 0958", "XX"), ("030 901820", "de")],
)
def test_without_a_region_that_exists_a_national_number_is_not_judged(phone: str, region: str | None) -> None:
    with pytest.raises(Unfit, match=r"^region: "):
        answer(phone, region)


def test_without_its_area_code_a_number_is_not_judged() -> None:
    with pytest.raises(Unfit, match=r"^phone: the number has no area code"):
        answer("555-2671", "US")
