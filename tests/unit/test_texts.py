"""Long texts are shortened to fit, and citations are found in a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.verifier import Passage
from shared.citations import citations
from shared.shortening import fitted, shortened

PASSAGES = (Passage(source="Rain.md", text=""), Passage(source="a, b.md", text=""))


def test_a_text_that_fits_stays_as_it_is() -> None:
    assert shortened("rain", 4) == "rain"
    assert fitted(["rain", "sun"], 7) == ("rain", "sun")


def test_a_shortened_text_says_how_much_is_left_out() -> None:
    assert shortened("x" * 100, 50) == "x" * 17 + " … [83 more characters left out]"


def test_short_texts_stay_whole_and_long_ones_share_the_rest() -> None:
    first, short, second = fitted(["x" * 1_000, "short", "y" * 900], 405)
    assert short == "short"
    assert len(first) <= 200 and len(second) <= 200


@given(st.lists(st.text(max_size=300)), st.integers(0, 500))
def test_texts_without_their_marks_are_within_the_total(texts: list[str], total: int) -> None:
    made = fitted(texts, total)
    assert len(made) == len(texts)
    assert sum(len(text.partition(" … [")[0]) for text in made) <= max(total, 0) or sum(map(len, texts)) <= total
    assert all(text == whole or text.endswith("more characters left out]") for text, whole in zip(made, texts, strict=True))


@pytest.mark.parametrize(
    ("text", "sources", "unknown"),
    [
        ("It falls [Rain.md].", ("Rain.md",), ()),
        ("It falls [rain.md] and [RAIN.MD].", ("Rain.md",), ()),
        ("It falls [2, 1].", ("a, b.md", "Rain.md"), ()),
        ("It falls [a, b.md].", ("a, b.md",), ()),
        ("It falls [3].", (), ("3",)),
        ("In [2026] it fell; rows[1]; [1](http://x); [sic].", (), ()),
        ("Nothing.", (), ()),
    ],
)
def test_citations_are_found_by_source_or_number(text: str, sources: tuple[str, ...], unknown: tuple[str, ...]) -> None:
    assert citations(text, PASSAGES) == (sources, unknown)
