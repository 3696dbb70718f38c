"""Dates and times as people and machines write them.

A text is read only where it is written in one of the forms below and leaves nothing to guess: ISO 8601 (days, weeks, ordinal
days), RFC 5322, what JavaScript, C and `date` print, a year in front, English names of months. A day of the week must be right.
"""

import calendar
import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

from services.router.rules.zones import zone


class Unclear(ValueError):
    """Why the text is not a date that can be read without a guess."""


class TwoWays(Unclear):
    """The text is 3 April or 4 March, depending on the country."""


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII | re.IGNORECASE)


_YEAR = r"(?P<year>\d{4})"
_DAY = r"(?P<day>\d{1,2})(?P<nth>st|nd|rd|th)?"
_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
FORMS = tuple(
    map(
        _pattern,
        (
            rf"{_YEAR}(?P<dash>-?)W(?P<week>\d\d)(?P=dash)(?P<weekday>[1-7])",  # ISO 8601: 2026-W10-3
            rf"{_YEAR}-?(?P<yearday>\d{{3}})",  # ISO 8601: 2026-063
            rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d)",  # ISO 8601: 20260304
            rf"{_YEAR}(?P<gap>[-/.] ?| )(?P<month>\d{{1,2}})(?P=gap)(?P<day>\d{{1,2}})\.?",
            rf"{_YEAR}年 ?(?P<month>\d{{1,2}})月 ?(?P<day>\d{{1,2}})日",
            rf"{_YEAR},?[-/. ]*{_NAME}[-/ ]*{_DAY}",
            rf"{_DAY}\.?(?: of)?[-/ ]*{_NAME}(?:,|[-/ ])*{_YEAR}",
            rf"{_NAME}[-/ ]*{_DAY}(?:, ?|[-/ ]+){_YEAR}",
            rf"(?P<first>\d{{1,2}})(?P<gap>[-/.] ?)(?P<second>\d{{1,2}})(?P=gap){_YEAR}",
        ),
    )
)
_WEEKDAY = _pattern(
    r"\(?\b(?P<weekday>mon(?:day)?|tue(?:s(?:day)?)?|wed(?:s|nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
    r"(?![\w/])\.?\)?"
)
_OFFSET = r"[+-](?:\d{1,2}:\d\d|\d{4}|\d{1,2})"
_PLACE = r"[A-Z]+(?:/[A-Z0-9_+-]+){1,2}"
_ZONE = (
    rf"(?: ?(?P<zone>Z|(?:UTC|GMT|UT)(?: ?{_OFFSET})?|{_OFFSET}|{_PLACE})"
    rf"(?:\[(?P<place>{_PLACE})\])?(?: ?\((?P<comment>[A-Z][A-Z -]*)\))?)?(?=$|[ ,])"
)
_FRACTION = r"(?:[.,](?P<fraction>\d+))?"
_HALF = r"(?P<half>[ap])\.?m\b\.?"
CLOCKS = tuple(
    map(
        _pattern,
        (
            rf"(?<=\d)T(?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d){_FRACTION})?)?{_ZONE}",
            rf"(?:^|(?<=[ ,:]))(?:at )?(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?::(?P<second>\d\d){_FRACTION})?"
            rf"(?: ?{_HALF})?{_ZONE}",
            rf"(?:^|(?<=[ ,]))(?:at )?(?P<hour>\d{{1,2}}) ?{_HALF}{_ZONE}",
        ),
    )
)
_UNREADABLE = "is not a date that can be read; a zone is written as an offset such as +01:00 or as Europe/Berlin"


def read(text: str, day_first: bool | None = None) -> date | datetime:
    """A `datetime` where the text has a time, aware where it has a zone. Raises Unclear.

    `day_first`: how to read a date of three numbers that ends with the year. It says nothing of any other form.
    """
    rest = " ".join(unicodedata.normalize("NFKC", text).replace("\u2212", "-").split())
    clock = next((found for pattern in CLOCKS if (found := pattern.search(rest))), None)
    if clock:
        rest = f"{rest[: clock.start()]} {rest[clock.end() :]}"
    weekday = _WEEKDAY.search(rest)
    if weekday:
        rest = f"{rest[: weekday.start()]} {rest[weekday.end() :]}"
    day = _day(" ".join(rest.split()).strip(" ,:"), day_first)
    if weekday and calendar.day_abbr[day.weekday()].lower() != weekday["weekday"][:3].lower():
        raise Unclear(f"{day.isoformat()} is a {calendar.day_name[day.weekday()]}, and the text says another day of the week")
    return _at(day, clock) if clock else day


def _day(text: str, day_first: bool | None) -> date:
    found = next((found for form in FORMS if (found := form.fullmatch(text))), None)
    if found is None:
        raise Unclear(_UNREADABLE)
    given = found.groupdict()
    try:
        year = int(given["year"])
        if given.get("week"):
            return date.fromisocalendar(year, int(given["week"]), int(given["weekday"]))
        if given.get("yearday"):
            return _day_of_year(year, int(given["yearday"]))
        if given.get("first"):
            return _numbers(year, int(given["first"]), int(given["second"]), day_first)
        return date(year, _month(given), _day_of_month(given))
    except Unclear:
        raise
    except ValueError:
        raise Unclear("is not a day of the calendar") from None


def _day_of_year(year: int, number: int) -> date:
    found = date(year, 1, 1) + timedelta(days=number - 1)
    if found.year != year:
        raise Unclear("is not a day of the calendar")
    return found


def _numbers(year: int, first: int, second: int, day_first: bool | None) -> date:
    """Of two numbers that both could be the month only the caller knows which it is."""
    if day_first is None and max(first, second) <= 12 and first != second:
        raise TwoWays("the date can be read in two ways, say which number is the day")
    if day_first or (day_first is None and first > 12):
        return date(year, second, first)
    return date(year, first, second)


def _month(given: dict[str, str | None]) -> int:
    name = given.get("name")
    return [month.lower() for month in calendar.month_abbr].index(name[:3].lower()) if name else int(given["month"] or "")


def _day_of_month(given: dict[str, str | None]) -> int:
    day, nth = int(given["day"] or ""), given.get("nth")
    right = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    if nth and nth.lower() != right:
        raise Unclear(_UNREADABLE)
    return day


def _at(day: date, clock: re.Match[str]) -> datetime:
    given = clock.groupdict()
    hour, minute, second = (int(given.get(part) or 0) for part in ("hour", "minute", "second"))
    fraction = (given.get("fraction") or "").rstrip("0")
    if len(fraction) > 6:
        raise Unclear("has parts of a second beyond the sixth digit")
    if half := given.get("half"):
        if not 1 <= hour <= 12:
            raise Unclear("has an hour that does not go with am or pm")
        hour = hour % 12 + 12 * (half.lower() == "p")
    whole_day = timedelta(days=(hour, minute, second, fraction) == (24, 0, 0, ""))  # ISO 8601: 24:00 is the end of the day
    try:
        clock_time = time(hour % 24 if whole_day else hour, minute, second, int(fraction.ljust(6, "0")))
        found = datetime.combine(day, clock_time)
        return _in_zone(found + whole_day, given)
    except OverflowError:
        raise Unclear("is beyond the calendar") from None
    except Unclear:
        raise
    except ValueError:
        raise Unclear("is not a time of the day") from None


def _in_zone(found: datetime, given: dict[str, str | None]) -> datetime:
    written, place = given["zone"], given["place"]
    if written is None:
        return found
    if "/" in written:
        return _local(found, _zone(written))
    offset = _offset(written)
    if (given["comment"] or "").upper() in ("UTC", "GMT", "UT", "Z") and offset != UTC:
        raise Unclear("names two zones that contradict each other")
    aware = found.replace(tzinfo=offset)
    if place is None:
        return aware
    there = aware.astimezone(_zone(place))  # RFC 9557: 2026-03-04T10:00+01:00[Europe/Berlin]; Z says nothing of the local time
    if written.upper() != "Z" and there.utcoffset() != aware.utcoffset():
        raise Unclear("names two zones that contradict each other")
    return there


def _zone(place: str) -> tzinfo:
    try:
        return zone(place)
    except ValueError:
        raise Unclear(_UNREADABLE) from None


def _local(found: datetime, tz: tzinfo) -> datetime:
    aware = found.replace(tzinfo=tz)
    if aware.utcoffset() != aware.replace(fold=1).utcoffset():
        raise Unclear("is skipped or comes twice when the clocks of that zone change: write an offset such as +01:00")
    return aware


def _offset(written: str) -> timezone:
    """`UTC-5` and `-05:00` are behind UTC, `GMT+0300` is ahead of it."""
    sign = re.search(r"[+-]", written)
    if sign is None:
        return UTC
    digits = written[sign.end() :]
    hours, _, minutes = (
        digits.partition(":") if ":" in digits else (digits[:-2], "", digits[-2:]) if len(digits) == 4 else (digits, "", "0")
    )
    size = timedelta(hours=int(hours), minutes=int(minutes))
    offset = -size if sign[0] == "-" else size
    if int(minutes) > 59 or not timedelta(hours=-12) <= offset <= timedelta(hours=14):
        raise Unclear("has an offset that no zone has")
    return timezone(offset)
