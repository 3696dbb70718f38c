"""A keyword is found however it is written, and is not found in what only resembles it."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.approval.keywords import keywords_in, letters, texts_of
from tests.unit.approval_policy_kit import SHIPPED, action

KEYWORDS = tuple(word for words in SHIPPED.risk.values() for word in words)

DISGUISES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "full width": lambda word: word.translate({n: n + 0xFEE0 for n in range(0x21, 0x7F)}),
    "invisible characters": lambda word: "\u200b".join(word),
    "fillers": lambda word: "\u3164".join(word),
    "soft hyphens": lambda word: "\u00ad".join(word),
    "control characters": lambda word: "\x08".join(word),
    "tags": lambda word: "\U000e0041".join(word),
    "accents": lambda word: unicodedata.normalize("NFC", "".join(c + "\u0301" if c in "aeiou" else c for c in word)),
    "struck through": lambda word: "".join(c + "\u0336" for c in word),
    "Cyrillic": lambda word: word.translate(str.maketrans("aeopcyx", "аеорсух")),
    "Cyrillic with fillers": lambda word: "\u3164".join(word.translate(str.maketrans("aeopcyx", "аеорсух"))),
    "Greek": lambda word: word.translate(str.maketrans("oviu", "ονιυ")),
    "small capitals": lambda word: word.translate(str.maketrans("adelnrtu", "ᴀᴅᴇʟɴʀᴛᴜ")),
    "mathematical": lambda word: "".join(chr(0x1D41A + ord(c) - 97) if c.isalpha() else c for c in word),
    "circled": lambda word: "".join(chr(0x24D0 + ord(c) - 97) if c.isalpha() else c for c in word),
    "negative squares": lambda word: "".join(chr(0x1F170 + ord(c) - 97) if c.isalpha() else c for c in word),
    "flags": lambda word: "".join(chr(0x1F1E6 + ord(c) - 97) if c.isalpha() else c for c in word),
    "barred": lambda word: word.translate(str.maketrans("dltuio", "đłŧʉɨø")),
    "spelt": " ".join,
    "many blanks": lambda word: word.replace(" ", " \n\t\u3000 "),
    "underscores": lambda word: word.replace(" ", "_"),
    "hyphens": lambda word: word.replace(" ", "-"),
    "one word": lambda word: word.title().replace(" ", ""),
    "inside a word": lambda word: f"un{word}ed",
}


@pytest.mark.parametrize("disguise", sorted(DISGUISES))
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_is_found_in_every_disguise(keyword: str, disguise: str) -> None:
    hidden = DISGUISES[disguise](keyword)
    assert keyword in keywords_in([f"Please {hidden} it"], KEYWORDS)


@pytest.mark.parametrize(
    "text",
    [
        "delegate the task",
        "model eternal growth",
        "the backup date of the setup",
        "pick-up-date",
        "de lete",
        "send an email",
        "create support ticket",
        "modify the account",
        "",
        "    ",
        "\u200b",
    ],
)
def test_what_only_resembles_a_keyword_is_none(text: str) -> None:
    assert keywords_in([text], KEYWORDS) == ()


def test_a_keyword_is_not_put_together_from_two_texts() -> None:
    assert keywords_in(["send", "email"], ["send email"]) == ()


@pytest.mark.parametrize("keyword", ["supprimer", "löschen", "удалить", "διαγραφή", "删除", "حذف", "हटाएं", "삭제"])
def test_keywords_of_every_language(keyword: str) -> None:
    assert keywords_in([f"x {keyword.upper()} y"], [keyword]) == (keyword,)
    assert keywords_in(["x"], [keyword]) == ()


def test_the_texts_of_an_action_are_its_words_and_all_names_and_values() -> None:
    of = action("Pay", tool="bank.pay", arguments={"to": {"list": ["a", 1, 2.5, True, None, {"b": "c"}]}})
    assert texts_of(of) == {"about": ["Pay"], "tool": ["bank.pay"], "arguments": ["to", "list", "a", "1", "2.5", "b", "c"]}


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(any_text, st.sampled_from(KEYWORDS), any_text)
def test_no_text_around_a_keyword_hides_it(before: str, keyword: str, after: str) -> None:
    assert keyword in keywords_in([f"{before} {keyword} {after}"], KEYWORDS)


@given(any_text)
def test_the_letters_of_a_text_are_the_same_in_every_form_of_unicode(text: str) -> None:
    assert letters(unicodedata.normalize("NFC", text)) == letters(unicodedata.normalize("NFD", text))
