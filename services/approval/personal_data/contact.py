"""E-mail addresses, phone numbers, IP addresses."""

import ipaddress
import re
from collections.abc import Iterator

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat

from services.approval.personal_data.finder import Finder, whole
from services.approval.personal_data.words import WORDS

_FUNCTIONS = frozenset(WORDS["mailboxes"])  # mailboxes of a function, not of a person
_AT = re.compile(r"@|\s?[\[({]\s?at\s?[\])}]\s?", re.IGNORECASE)
_DOT = re.compile(r"\s?[\[({]\s?dot\s?[\])}]\s?", re.IGNORECASE)
_LOCAL = re.compile(r"[^\s@<>()\[\]{},;:\"'|/=\\]{1,64}\Z")
_DOMAIN = re.compile(r"(?:[^\W_]|[.-]){1,253}")

REGIONS = ("US", "GB", "DE", "FR", "IT", "NL", "BE", "CH", "AT", "SE", "IE", "AU", "NZ", "IN", "JP", "KR", "CN", "BR", "ZA", "TR")
_GROUP = re.compile(r"\d+")
_VERSION = r"(?<!v)(?<!version )(?<!release )(?<!build )"


def _addresses(text: str) -> Iterator[str]:
    for at in _AT.finditer(text):
        local = _LOCAL.search(text, max(0, at.start() - 64), at.start())
        domain = _DOMAIN.match(_DOT.sub(".", text[at.end() : at.end() + 300]))
        if local and domain:
            yield f"{local[0].lstrip('.')}@{domain[0].rstrip('.-')}"


def _is_address(candidate: str) -> bool:
    if candidate.partition("@")[0].casefold() in _FUNCTIONS:
        return False
    try:
        validate_email(candidate, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def _international(candidate: str) -> bool:
    """Whether a number begins it that is one by its country's plan; it begins with `+` or `00`."""
    number = re.sub(r"\A00", "+", candidate)
    return any(True for _ in phonenumbers.PhoneNumberMatcher(number, None, max_tries=20))


def _national(candidate: str) -> bool:
    """Whether it is a number by a country's plan, parted as that country writes it: other numbers seldom are."""
    groups = _GROUP.findall(candidate)
    return any(groups in (written, ["1", *written]) for region in REGIONS for written in _written(candidate, region))


def _written(candidate: str, region: str) -> Iterator[list[str]]:
    try:
        number = phonenumbers.parse(candidate, region)
    except NumberParseException:
        return
    if phonenumbers.is_valid_number_for_region(number, region):
        yield _GROUP.findall(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))


def _is_public(candidate: str) -> bool:
    try:
        return ipaddress.ip_address(candidate).is_global
    except ValueError:
        return False


FINDERS = (
    Finder("email", _addresses, _is_address, limit=200),
    Finder("phone", whole(r"(?:\+|00)\(?[1-9][\d ()./-]{5,24}\d"), _international, limit=100),
    Finder("phone", whole(r"\(?0\d{1,4}\)?(?:[ ./-]{1,3}\d{2,8}){1,4}|\(\d{2,3}\) ?\d{3,5}[ .-]\d{4}"), _national, limit=40),
    Finder("phone", whole(r"(?:1[ .-])?[2-9]\d\d([ .-])[2-9]\d\d\1\d{4}|1[3-9]\d[ -]\d{4}[ -]\d{4}"), _national, limit=40),
    Finder("ip-address", whole(rf"{_VERSION}(?=[\d.]{{9}})\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?=[:/]\d|\b)"), _is_public),
    Finder("ip-address", whole(r"[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}"), _is_public),
)
