"""Secrets are shown nowhere: `masked` takes them out of a text, by their values where these are known and by their form.

Whoever learns a secret says so by `mask`. Whatever shows a text to a person, a log, a metric or the record asks `masked`.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
SHORTEST = 6  # characters: a shorter value would hide half of every text; it is still hidden where its form tells

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE|CREDENTIALS?|_HEADERS)$")  # of variables of the environment
_PARAMETER = re.compile(r"pass(word|wd|phrase)?|secret|token|(api_?)?key", re.I)  # of an address

_FIELD = r"(?:password|passwd|passphrase|secret|api[-_]?key|access[-_]?token|auth[-_]?token)\b[\"']?\s*[:=]"
# A password that is such a word stays in the name of a field: with the name masked, the field's value would not be found.
_NAME_OF_FIELD = re.compile(_FIELD, re.I)

# What a secret looks like where nobody has said what it is. The last group of each is hidden.
_FORMS = tuple(
    re.compile(form, re.I)
    for form in (
        r"(\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]*:)([^\s/\"'<>]+)(?=@)",
        r"(\b(?:proxy-)?authorization(?:[\"']\s*,|[\"']?\s*[:=])\s*b?[\"']?(?:[a-z]+ )?)([^\s\"',;)}\]\\]+)",
        r"(\b(?:bearer|basic) )([a-z0-9._~+/=-]{8,})",
        rf"(\b[a-z0-9_-]*{_FIELD}\s*b?[\"']?)([^\s\"',;&)}}\]\\]+)",
        r"()(\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|github_pat|xox[abp])[-_][a-z0-9_-]{12,})",
        r"()(-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?)",
        r"()(\bhansard_[0-9a-f]{16}_[a-z0-9_-]{20,})",
        r"()(\bAIza[a-z0-9_-]{30,})",
        r"()(\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.[a-z0-9_-]+)",
    )
)

_known: set[str] = set()


def mask(*values: str) -> None:
    """From now on `masked` hides these values; of an address, what in it is secret."""
    found = {form for value in values for secret in _secrets_of(value) for form in _forms(secret)}
    if not found <= _known:
        _known.update(found)
        _pattern.cache_clear()


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(_NAMES.search(name))


def mask_environment(environment: Mapping[str, str] = os.environ) -> None:
    """The same for variables whose name tells that they hold a secret."""
    for name, value in environment.items():
        if name.endswith("_HEADERS"):  # OTEL_EXPORTER_OTLP_HEADERS: api-key=…,other=…
            mask(*(part.partition("=")[2] for part in value.split(",")))
        elif is_secret(name) and not value.startswith(("/", "./", "~")):  # the path of a key is none
            mask(value)


def masked(text: str) -> str:
    """The text without secrets. Masking it again changes nothing."""
    if (known := _pattern()) is not None and known.search(text):
        fields = [field.span() for field in _NAME_OF_FIELD.finditer(text)]
        text = known.sub(lambda found: found[0] if _is_within(found, fields) else HIDDEN, text)
    for form in _FORMS:
        text = form.sub(rf"\g<1>{HIDDEN}", text)
    return text


def _is_within(found: re.Match[str], spans: Iterable[tuple[int, int]]) -> bool:
    return any(begin <= found.start() and found.end() <= end for begin, end in spans)


def _secrets_of(value: str) -> Iterator[str]:
    """An address holds secrets, and is none itself."""
    if "://" not in value:
        yield value
        return
    authority = value.partition("://")[2].partition("/")[0]  # urlsplit refuses some
    yield authority.rpartition("@")[0].partition(":")[2]
    try:
        yield from (held for name, held in parse_qsl(urlsplit(value).query) if _PARAMETER.fullmatch(name))
    except ValueError:
        return


def _forms(secret: str) -> Iterator[str]:
    """How it may be written: as it is, in an address, in JSON, in Python."""
    for plain in {secret, unquote(secret)}:
        if len(plain) >= SHORTEST:
            yield from (plain, quote(plain, safe=""), quote(plain), quote_plus(plain))
            yield from (json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1])
            yield from (repr(plain)[1:-1], repr(plain.encode())[2:-1])


@lru_cache(1)
def _pattern() -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, sorted(_known, key=len, reverse=True)))) if _known else None


mask_environment()
