"""The best-supported sentences of the given passages, word for word, each with its source. No model."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from contracts.verifier import Passage

MOST = 3  # sentences
LONGEST = 1_000  # characters of one
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])|\n\s*\n|\n(?=\s*[-*•\d])")
_WORD = re.compile(r"[^\W_]+")
_EMPTY = frozenset(
    re.findall(
        r"\S+",
        """a about am an and any are as at be by can could did do does explain for from get give has have how i if in into
        is it its me my no not of on or our please shall should so tell that the their them there these they this to us was
        we were what when where which who why will with would you your""",
    )
)


def extract(question: str, passages: Sequence[Passage], support: float) -> tuple[str, tuple[str, ...]] | None:
    """Text and sources, or None if no sentence holds enough of the question.

    The rarer a word is in the passages, the more it weighs; a word that occurs nowhere weighs most. `support` is the share of
    the question's weight, from 0 to 1, that a sentence must hold.
    """
    asked = _stems(question) - _EMPTY or _stems(question)
    sentences = [
        (passage.source, sentence, _stems(sentence))
        for passage in passages
        for piece in _SENTENCE.split(passage.text)
        if (sentence := " ".join(piece.split())) and len(sentence) <= LONGEST
    ]
    if not asked or not sentences:
        return None
    seen = Counter(word for _, _, words in sentences for word in words & asked)
    weight = {word: math.log(1 + len(sentences) / (0.5 + seen[word])) for word in asked}
    whole = math.fsum(weight[word] for word in sorted(asked))
    scored = [
        (math.fsum(weight[word] for word in sorted(words & asked)) / whole, -place)
        for place, (_, _, words) in enumerate(sentences)
    ]
    best = sorted((score for score in scored if score[0] >= support), reverse=True)[:MOST]
    chosen = [sentences[-place] for place in sorted((place for _, place in best), reverse=True)]
    if not chosen:
        return None
    text = " ".join(f"“{sentence}” [{source}]" for source, sentence, _ in chosen)
    return f"From the passages given, word for word: {text}", tuple(dict.fromkeys(source for source, _, _ in chosen))


def _stems(text: str) -> frozenset[str]:
    """Words in lower case, without a plural's ending."""
    return frozenset(_stem(word) for word in _WORD.findall(text.casefold()))


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
