"""The checks that code can make. Each gives the reason why a claim does not hold, or None.

They look for what is plainly so and let the rest pass: a good answer that is turned away costs a model call and helps
nobody. Phrases are English.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from contracts.verifier import CheckClaim
from services.verifier.facts import contradiction
from shared.citations import citations

Check = Callable[[CheckClaim], str | None]

_SMEARED = re.compile(r"([^\W_])\1{29,}")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_REFUSAL = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:sorry|afraid)\b.{0,40}\b(?:can(?:no|')t|cannot|unable|not able)\b"
    r"|\b(?:i|we) (?:can(?:no|')t|cannot|won't|will not|am unable to|'m unable to|am not able to) "
    r"(?:help|assist|answer|comply|fulfil|fulfill|provide|complete|do that|do this|create|write|generate)\b"
    r"|\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b.{0,60}\b(?:can(?:no|')t|cannot|unable|don't)\b",
    re.IGNORECASE,
)
_FAILURES = {  # families of words: a question that holds one of a family asks about it
    "error": r"errors?|exceptions?|traceback|fatal",
    "fail": r"fail(?:s|ed|ing|ure|ures)?",
    "timeout": r"timeouts?|times out|timed[ -]out",
    "mismatch": r"mismatch(?:es|ed)?",
}
_ANY_FAILURE = "|".join(_FAILURES.values())
_SPEAKS_OF_FAILURE = re.compile(rf"\b(?:{_ANY_FAILURE})\b", re.IGNORECASE)
_VERDICT = re.compile(
    rf"\W*(?:(?:the )?(?:status|result|outcome|verdict)\W{{1,4}})?({_ANY_FAILURE})\b\s*(?:[:!.—-]|\(most recent|$)", re.IGNORECASE
)
_REPORT = re.compile(
    r"\b(failed|timed[ -]out)\b"
    r"|\b(?:an?|the|this|with|of|found)\s+(?:\w+\s+){0,2}?(error|failure|timeout|mismatch)\b"
    r"|^(?:\w+\s+){0,3}(error|failure|timeout|mismatch)(?:\s+(?:found|occurred|detected))?\W*$",
    re.IGNORECASE,
)
_DENIED = re.compile(
    rf"\b(?:no|zero|0|without|not?|never|free of|\w+n't)\s+(?:\w+\s+){{0,2}}?(?:{_ANY_FAILURE})\b", re.IGNORECASE
)
_WHETHER = re.compile(
    r"(?:^|[.\n:]\s*)(?:did|do|does|is|are|was|were|has|have|had|can|could|will|why|what happened)\b[^.\n]*\?", re.IGNORECASE
)
REPORT = 12  # words: what is as short as that and speaks of failure is a report of failure


def empty(asked: CheckClaim) -> str | None:
    if _WORD.search(asked.claim):
        return None
    return "The answer is empty. Answer the question in words."


def echo(asked: CheckClaim) -> str | None:
    message = _words(asked.claim)
    if len(message) < 3 or message not in [_words(part) for part in (asked.question, *asked.question.split("\n\n"))]:
        return None
    return "The answer only repeats the question. Answer it."


def refusal(asked: CheckClaim) -> str | None:
    found = _REFUSAL.search(_plain(asked.claim[:400]))
    if found is None:
        return None
    return f"The answer is a refusal (“{found.group().strip()}”). Answer as far as is possible, and say what is not known."


def failure(asked: CheckClaim) -> str | None:
    """Whether the claim *is* a report of failure. One that speaks of failures because it was asked about them is none."""
    if not _SPEAKS_OF_FAILURE.search(asked.claim):
        return None
    claim = _DENIED.sub(" ", _plain(asked.claim.strip()))
    found = _VERDICT.match(claim.partition("\n")[0])
    if found is None and len(_WORD.findall(claim)) <= REPORT and not _WHETHER.search(asked.question):
        found = _REPORT.search(claim)
    word = next(filter(None, found.groups()), "") if found else ""
    if not word or _is_asked_about(word, asked.question):
        return None
    return f"The answer reports a failure (“{word}”) instead of a result. Mend what failed, then give the result."


def repetition(asked: CheckClaim) -> str | None:
    """Small models loop: the same few words, or the same line, again and again."""
    text = _CODE.sub(" ", asked.claim)
    words = _words(text)
    triples = list(zip(words, words[1:], words[2:], strict=False))
    looping = len(words) >= 50 and len(set(triples)) < 0.4 * len(triples)
    smeared = max(map(len, words), default=0) >= 30 and _SMEARED.search(text)
    lines = [line for line in map(str.strip, text.splitlines()) if len(line) > 20]
    stuck = len(lines) >= 4 and len(set(lines)) * 2 < len(lines)
    if not (looping or smeared or stuck):
        return None
    return "The answer repeats itself. Say each thing once, and stop when it is said."


def citation(asked: CheckClaim) -> str | None:
    """What rests on passages cites them, and nothing that was not given."""
    if not asked.passages:
        return None
    there = {passage.source.casefold() for passage in asked.passages}
    cited = citations(asked.claim, asked.passages)
    strange = [source for source in asked.sources if source.casefold() not in there] + list(cited.strange)
    names = ", ".join(f"[{source}]" for source in dict.fromkeys(passage.source for passage in asked.passages[:20]))
    if strange:
        return f"The answer cites what was not given: {', '.join(strange[:5])}. Cite only these: {names}."
    if not cited.given and not asked.sources:
        return f"The answer cites no source. Name the passages that it rests on, in square brackets: {names}."
    return None


CHECKS: Mapping[str, Check] = {
    "empty": empty,
    "echo": echo,
    "refusal": refusal,
    "failure": failure,
    "repetition": repetition,
    "contradiction": contradiction,
    "citation": citation,
}
WITHOUT_MODEL: Mapping[str, Check] = {"empty": empty}  # for what the gateway's rules say


def applying(asked: CheckClaim) -> Mapping[str, Check]:
    """The checks that this claim has to stand: without those for which there is nothing to check against."""
    if asked.tier == "rules":
        return WITHOUT_MODEL
    there = {"contradiction": bool(asked.facts), "citation": bool(asked.passages)}
    return {name: check for name, check in CHECKS.items() if there.get(name, True)}


def _plain(text: str) -> str:
    return text.replace("’", "'").replace("‘", "'")


@lru_cache(4)  # several checks look at the words of one claim
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _is_asked_about(word: str, question: str) -> bool:
    family = next(pattern for pattern in _FAILURES.values() if re.fullmatch(pattern, word, re.IGNORECASE))
    return re.search(rf"\b(?:{family})\b", question, re.IGNORECASE) is not None
