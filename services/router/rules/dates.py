"""Hours and dates. No clock is read: a rule knows only the times that its data has."""

import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from babel import dates
from dateutil import parser
from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from services.router.rules.exact import Hour
from services.router.rules.locales import LocaleCode
from services.router.rules.rule import Data, Input, Rule, Unfit

_EARLY, _LATE = datetime(2000, 1, 1), datetime(2004, 12, 31)  # noqa: DTZ001 (defaults: where they lead to two dates, the text is incomplete)
_ISO = re.compile(r"\d{4}-\d\d-\d\d|\d{8}(T|$)", re.ASCII)
_MACHINE_ZONES = ("localtime", "posixrules", "Factory")


def _zone(key: str) -> str:
    try:
        if key in _MACHINE_ZONES:
            raise ValueError(key)
        ZoneInfo(key)
    except (LookupError, ValueError, OSError):
        raise ValueError("is not a time zone such as Europe/Berlin") from None
    return key


Zone = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$"), AfterValidator(_zone)]


class Moment(Input):
    """An hour of the day, or a time and the zone in which its hour counts (without a zone: by the time's own offset)."""

    hour: Annotated[Hour, Field(le=23)] | None = None
    time: AwareDatetime | None = None
    zone: Zone | None = None
    opens: Hour = 9
    closes: Hour = 17
    weekdays_only: bool = Field(default=False, description="closed on Saturday and Sunday; needs `time`")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.hour is None) == (self.time is None):
            raise ValueError("give either `hour` or `time`")
        if self.time is None and (self.zone or self.weekdays_only):
            raise ValueError("`zone` and `weekdays_only` go with `time`")
        return self


def check_business_hours(given: Moment) -> Data:
    """Open from `opens` up to, and not including, `closes`; over midnight where `closes` comes before `opens`."""
    local = given.time.astimezone(ZoneInfo(given.zone)) if given.time and given.zone else given.time
    hour = local.hour if local else given.hour
    assert hour is not None
    inside = given.opens <= hour < given.closes if given.opens <= given.closes else not given.closes <= hour < given.opens
    workday = local is None or not given.weekdays_only or local.weekday() < 5
    answer: Data = {"is_business_hours": inside and workday, "hour": hour, "method": "range_check"}
    return answer | {"local_time": local.isoformat()} if local else answer


Style = Literal["iso", "short", "medium", "long", "full"]


class Date(Input):
    date: str = Field(min_length=4, max_length=64)
    style: Style = "iso"
    pattern: str | None = Field(default=None, min_length=1, max_length=64, description="CLDR, such as `d MMM yyyy`")
    locale: LocaleCode = "en_US"
    zone: Zone | None = Field(default=None, description="express the time in this zone")
    day_first: bool | None = Field(default=None, description="03/04/2026 is in April (true) or in March (false)")


class _WholeYears(parser.parserinfo):
    """Refuses a year of two digits: dateutil would guess its century from today's date."""

    def convertyear(self, year: int, century_specified: bool = False) -> int:
        if year < 100 and not century_specified:
            raise Unfit("date: write the year with four digits")
        return year


def _offset(name: str | None, offset: int | None) -> tzinfo | None:
    """The zone of an offset. Refuses an abbreviation: dateutil would look it up on this machine."""
    if offset is not None:
        return timezone(timedelta(seconds=offset))
    if name is not None:
        raise Unfit("date: the zone's abbreviation is ambiguous, write an offset such as +01:00")
    return None


def read(text: str, day_first: bool | None) -> datetime:
    """A date in ISO 8601 or in words. Raises Unfit where the text leaves anything to guess."""
    if _ISO.match(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise Unfit("date: begins as ISO 8601 does, and is not such a date") from None

    def parsed(default: datetime, first: bool) -> datetime:
        try:
            return parser.parse(text, parserinfo=_WholeYears(), default=default, dayfirst=first, tzinfos=_offset)
        except Unfit:
            raise
        except (ValueError, OverflowError, ArithmeticError, TypeError, AttributeError, LookupError):
            raise Unfit("date: is not a date that can be read") from None

    found = parsed(_EARLY, bool(day_first))
    if found != parsed(_LATE, bool(day_first)):
        raise Unfit("date: year, month and day are all needed")
    if day_first is None and found != parsed(_EARLY, True):
        raise Unfit("day_first: the date can be read in two ways, say which number is the day")
    return found


def format_date(given: Date) -> Data:
    found = read(given.date, given.day_first)
    if given.zone:
        if found.tzinfo is None:
            raise Unfit("zone: the date has no offset of its own, so it cannot be expressed in another zone")
        found = found.astimezone(ZoneInfo(given.zone))
    timed = found.tzinfo is not None or ":" in given.date or (found.hour, found.minute, found.second) != (0, 0, 0)
    iso = found.isoformat() if timed else found.date().isoformat()
    if given.pattern is not None:
        text = dates.format_datetime(found, given.pattern, tzinfo=found.tzinfo, locale=given.locale)
    elif given.style == "iso":
        text = iso
    elif timed:
        text = dates.format_datetime(found, given.style, tzinfo=found.tzinfo, locale=given.locale)
    else:
        text = dates.format_date(found, given.style, locale=given.locale)
    return {"formatted": text, "iso": iso, "method": "locale_format"}


CHECK_BUSINESS_HOURS = Rule(
    "check_business_hours",
    Moment,
    check_business_hours,
    lambda d: f"{d['hour']}:00 is {'within' if d['is_business_hours'] else 'outside'} business hours.",
)
FORMAT_DATE = Rule("format_date", Date, format_date, lambda d: d["formatted"])
