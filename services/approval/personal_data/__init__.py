"""Which kinds of personal data a text has, never the data. No model, no network, no clock: the same text gives the same kinds.

What has a form is found: addresses and numbers that can be checked, and what a word beside it names. Names, postal addresses and
what somebody has or did have no form: whoever proposes an action declares them.
"""

import unicodedata
from collections.abc import Iterable, Iterator

import email_validator
import phonenumbers
import stdnum

from hansard.actions import LARGEST, Action
from hansard.policy import version_of
from services.approval.keywords import texts_of
from services.approval.personal_data import beside_words, contact, national, payment
from services.approval.personal_data.finder import Finder
from services.approval.personal_data.words import WORDS
from shared.words import visible

FINDERS: tuple[Finder, ...] = (*contact.FINDERS, *payment.FINDERS, *national.FINDERS, *beside_words.FINDERS)
UNSEARCHED = "unsearched"
KINDS = (*sorted({finder.kind for finder in FINDERS}), UNSEARCHED)
LIBRARIES = {  # by which numbers and addresses are found: versions, and a hash of our own words
    "email-validator": email_validator.__version__,
    "phonenumbers": phonenumbers.__version__,
    "python-stdnum": stdnum.__version__,
    "unicode": unicodedata.unidata_version,
    "words": version_of("words", {kind: [*words] for kind, words in WORDS.items()}),
}
_MAX = 2 * LARGEST  # characters: more than an action has, unless they are such that each stands for many
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if not chr(code).isspace()}


def personal_data_in(action: Action) -> tuple[str, ...]:
    """The kinds in what an action says, in its arguments and in its recipient."""
    texts = texts_of(action)
    return find_personal_data("\n".join([*texts["about"], *texts["arguments"], action.recipient]))


def find_personal_data(text: str) -> tuple[str, ...]:
    """The kinds that are in it, in alphabetical order. `unsearched`: it has more candidates than are looked at."""
    plain = _plain(text)
    kinds = {UNSEARCHED} if len(plain) > _MAX else set()
    for finder in FINDERS:
        if finder.kind not in kinds:
            kinds.update(_found(finder, plain[:_MAX]))
    return tuple(sorted(kinds))


def _found(finder: Finder, text: str) -> Iterator[str]:
    seen: set[str] = set()
    for candidate in finder.candidates(text):
        if candidate in seen:
            continue
        if len(seen) == finder.limit:
            yield UNSEARCHED
            return
        seen.add(candidate)
        if finder.is_one(candidate):
            yield finder.kind
            return


def _plain(text: str) -> str:
    """What can be seen, with the digits, dashes and blanks of ASCII."""
    text = text.translate(_CONTROLS)
    if text.isascii():
        return text
    composed = visible(unicodedata.normalize("NFKC", visible(text))).translate(_DASHES)
    return "".join(_digits(composed))


def _digits(text: Iterable[str]) -> Iterator[str]:
    for char in text:
        yield str(unicodedata.decimal(char)) if char.isdecimal() else char
