"""Dates in other forms."""

from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from babel import Locale, dates
from pydantic import Field

from services.router.rules.locales import LocaleCode
from services.router.rules.rule import Data, Input, Rule, Unfit
from services.router.rules.written import TwoWays, Unclear, read
from services.router.rules.zones import Zone, shown

_TIME, _ZONE = frozenset("abBhHkKmsSA"), frozenset("zZOvVXx")
Style = Literal["iso", "short", "medium", "long", "full"]


class Date(Input):
    date: str = Field(min_length=4, max_length=100)
    style: Style = "iso"
    pattern: str | None = Field(default=None, min_length=1, max_length=64, description="CLDR, such as `d MMM yyyy`")
    locale: LocaleCode = "en_US"
    zone: Zone | None = Field(default=None, description="express the time in this zone")
    day_first: bool | None = Field(default=None, description="03/04/2026 is in April (true) or in March (false)")


def format_date(given: Date) -> Data:
    """Nothing is shown that the date does not have: a date without a time gets none, a time without a zone no zone."""
    found = _read(given)
    if given.pattern is not None:
        text = _written(found, given.pattern, given.locale)
    elif given.style == "iso":
        text = found.isoformat()
    else:
        text = _styled(found, given.style, given.locale)
    return {"formatted": text, "iso": found.isoformat(), "method": "locale_format"}


def _read(given: Date) -> date | datetime:
    try:
        found = read(given.date, given.day_first)
    except TwoWays as unclear:
        raise Unfit(f"day_first: {unclear}") from None
    except Unclear as unclear:
        raise Unfit(f"date: {unclear}") from None
    if given.zone is None:
        return found
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise Unfit("zone: the date has no offset of its own, so it cannot be expressed in another zone")
    return found.astimezone(ZoneInfo(given.zone))


def _styled(found: date | datetime, style: Literal["short", "medium", "long", "full"], code: str) -> str:
    day = _written(found, dates.get_date_format(style, code).pattern, code)
    if not isinstance(found, datetime):
        return day
    clock = style if found.tzinfo or style == "short" else "medium"  # the longer ones show a zone
    time = _written(found, dates.get_time_format(clock, code).pattern, code)
    return str(dates.get_datetime_format(style, locale=code)).replace("'", "").replace("{0}", time).replace("{1}", day)


def _written(found: date | datetime, pattern: str, code: str) -> str:
    locale = Locale.parse(code)
    fields = dates.DateTimeFormat(found, locale)

    def field(letter: str, width: int) -> str:
        if letter in _TIME | _ZONE and not isinstance(found, datetime):
            raise Unfit("pattern: shows a time, and the date has none")
        if letter not in _ZONE or not isinstance(found, datetime):
            return str(fields[letter * width])
        if found.tzinfo is None:
            raise Unfit("pattern: shows a zone, and the date has none")
        text = shown(found, letter, width, locale)
        if text is None:
            raise Unfit(f"pattern: {letter * width} is not known of the date's zone")
        return text

    try:
        return "".join(part if isinstance(part, str) else field(*part) for _, part in dates.tokenize_pattern(pattern))
    except (LookupError, AttributeError, NotImplementedError):
        raise Unfit("pattern: is not a CLDR pattern such as `d MMM yyyy`") from None


FORMAT_DATE = Rule("format_date", Date, format_date, lambda d: d["formatted"], version="2")
