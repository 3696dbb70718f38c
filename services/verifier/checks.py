"""The checks by code. Each returns the reason why a claim fails it, or None.

A check rejects only what is plainly wrong and lets the rest pass: to reject a good answer costs a model call and helps nobody.
The phrases are English.
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
_FAILURES = {  # by families of words: a question with a word of a family asks about such failures
    "error": r"errors?|exceptions?|traceback|fatal",
    "fail": r"fail(?:s|ed|ing|ure|ures)?",
    "timeout": r"timeouts?|times out|timed[ -]out",
    "mismatch": r"mismatch(?:es|ed)?",
}
_ANY_FAILURE = "|".join(_FAILURES.values())
_MENTIONS_FAILURE = re.compile(rf"\b(?:{_ANY_FAILURE})\b", re.IGNORECASE)
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
REPORT = 12  # words: a claim no longer than this that mentions a failure is a report of it


def empty(asked: CheckClaim) -> str | None:
    if _WORD.search(asked.claim):
        return None
    return "The answer is empty. Answer the question in words."


def echo(asked: CheckClaim) -> str | None:
    words = _words(asked.claim)
    if len(words) < 3 or words not in [_words(part) for part in (asked.question, *asked.question.split("\n\n"))]:
        return None
    return "The answer only repeats the question. Answer it."


def refusal(asked: CheckClaim) -> str | None:
    found = _REFUSAL.search(_plain(asked.claim[:400]))
    if found is None:
        return None
    return f"The answer is a refusal (“{found.group().strip()}”). Answer as far as is possible, and say what is not known."


def failure(asked: CheckClaim) -> str | None:
    """A claim that *is* a report of failure. One that mentions failures because the question asks about them passes."""
    if not _MENTIONS_FAILURE.search(asked.claim):
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
    """Small models loop: they write the same few words, or the same line, again and again."""
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
    """A claim that was given passages must cite one of them, and nothing else."""
    if not asked.passages:
        return None
    given = {passage.source.casefold() for passage in asked.passages}
    cited = citations(asked.claim, asked.passages)
    unknown = [source for source in asked.sources if source.casefold() not in given] + list(cited.unknown)
    names = ", ".join(f"[{source}]" for source in dict.fromkeys(passage.source for passage in asked.passages[:20]))
    if unknown:
        return f"The answer cites what was not given: {', '.join(unknown[:5])}. Cite only these: {names}."
    if not cited.sources and not asked.sources:
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
WITHOUT_MODEL: Mapping[str, Check] = {"empty": empty}  # for answers of the gateway's rules


def applying(asked: CheckClaim) -> Mapping[str, Check]:
    """The checks that this claim must pass: not those for which it brings nothing to check against."""
    if asked.tier == "rules":
        return WITHOUT_MODEL
    material = {"contradiction": bool(asked.facts), "citation": bool(asked.passages)}
    return {name: check for name, check in CHECKS.items() if material.get(name, True)}


def _plain(text: str) -> str:
    return text.replace("’", "'").replace("‘", "'")


@lru_cache(4)  # several checks need the words of one claim
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _is_asked_about(word: str, question: str) -> bool:
    family = next(pattern for pattern in _FAILURES.values() if re.fullmatch(pattern, word, re.IGNORECASE))
    return re.search(rf"\b(?:{family})\b", question, re.IGNORECASE) is not None
