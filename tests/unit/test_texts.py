"""Long texts made to fit, and what a text cites."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.verifier import Passage
from shared.citations import citations
from shared.shortening import fitted, shortened

PASSAGES = (Passage(source="Rain.md", text=""), Passage(source="a, b.md", text=""))


def test_what_fits_is_left_as_it_is() -> None:
    assert shortened("rain", 4) == "rain"
    assert fitted(["rain", "sun"], 7) == ("rain", "sun")


def test_what_is_left_out_is_said() -> None:
    assert shortened("x" * 100, 50) == "x" * 17 + " … [83 more characters left out]"


def test_short_texts_stay_whole_and_long_ones_share_what_is_left() -> None:
    one, short, other = fitted(["x" * 1_000, "short", "y" * 900], 405)
    assert short == "short"
    assert len(one) <= 200 and len(other) <= 200


@given(st.lists(st.text(max_size=300)), st.integers(0, 500))
def test_texts_are_within_their_total_but_for_the_marks(texts: list[str], total: int) -> None:
    made = fitted(texts, total)
    assert len(made) == len(texts)
    assert sum(len(text.partition(" … [")[0]) for text in made) <= max(total, 0) or sum(map(len, texts)) <= total
    assert all(text == was or text.endswith("more characters left out]") for text, was in zip(made, texts, strict=True))


@pytest.mark.parametrize(
    ("text", "given", "strange"),
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
def test_citations_are_found_by_source_or_place(text: str, given: tuple[str, ...], strange: tuple[str, ...]) -> None:
    assert citations(text, PASSAGES) == (given, strange)
