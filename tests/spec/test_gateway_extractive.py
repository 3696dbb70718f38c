"""Sentences of the passages that support an answer, word for word."""

from hypothesis import given
from hypothesis import strategies as st

from contracts.verifier import Passage
from services.gateway.extractive import MOST, extract


def passage(text: str, source: str = "a") -> Passage:
    return Passage(source=source, text=text)


def test_nothing_is_quoted_from_passages_about_something_else() -> None:
    assert extract("How tall is the tower?", [passage("Cats purr. Dogs bark.")], 0.5) is None


def test_words_without_meaning_of_their_own_support_nothing() -> None:
    assert extract("What is the price of it?", [passage("It is what it is, of the kind.")], 0.5) is None


def test_without_a_question_or_passages_nothing_is_quoted() -> None:
    assert extract("", [passage("Cats purr.")], 0.5) is None
    assert extract("Do cats purr?", [], 0.5) is None


def test_a_plural_supports_a_singular() -> None:
    found = extract("Which policies apply?", [passage("One policy applies. Cats purr.")], 0.3)
    assert found is not None
    assert "One policy applies." in found[0]


def test_sentences_come_in_the_order_of_the_passages_and_each_has_its_source() -> None:
    passages = [passage("A tower has stairs.", "a"), passage("The tower is 50 m in height. Cats purr.", "b")]
    found = extract("tower height", passages, 0.3)
    assert found is not None
    text, sources = found
    assert text.index("[a]") < text.index("[b]")
    assert sources == ("a", "b")
    assert "Cats" not in text


@given(st.text(), st.lists(st.builds(Passage, source=st.just("s"), text=st.text())), st.floats(0, 1))
def test_every_quote_is_in_a_passage_word_for_word(question: str, passages: list[Passage], support: float) -> None:
    found = extract(question, passages, support)
    if found is None:
        return
    quotes = [part.rpartition("” [s]")[0] for part in found[0].split(": “", 1)[1].split("” [s] “")]
    assert 1 <= len(quotes) <= MOST or "“" in "".join(p.text for p in passages)
    squeezed = " ".join(" ".join(p.text for p in passages).split())
    assert all(quote.rstrip("” [s]") in squeezed for quote in quotes)
