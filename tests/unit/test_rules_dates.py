"""Dates are read as they are written, and nothing is shown that they do not have."""

import random
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime as rfc5322
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from babel import dates as cldr
from babel.localedata import locale_identifiers
from dateutil import parser
from hypothesis import given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit
from services.router.rules.written import TwoWays, Unclear, read

DAY = date(2026, 3, 4)
TEN = datetime(2026, 3, 4, 10)  # noqa: DTZ001
days = st.dates(date(1000, 1, 1))
moments = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001
offsets = st.integers(-12 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


def answer(**data: Any) -> dict[str, Any]:
    return RULES["format_date"].apply(data)[0]


def unfit(**data: Any) -> str:
    with pytest.raises(Unfit) as problem:
        answer(**data)
    return str(problem.value)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-03-04", "20260304", "2026-W10-3", "2026W103", "2026-063", "2026063", "２０２６-０３-０４"),
        *("2026/03/04", "2026.03.04", "2026 03 04", "2026-3-4", "2026. 3. 4.", "2026 March 4", "2026-Mar-04", "2026年3月4日"),
        *("4 March 2026", "4th of March, 2026", "March 4th, 2026", "March 4 2026", "Mar. 4, 2026", "4-Mar-2026", "04Mar2026"),
        *("Wednesday, 4 March 2026", "Wed 4 March 2026", "2026-03-04 (Wed)", "March 4, 2026 (Wednesday)"),
    ],
)
@pytest.mark.parametrize("day_first", [None, True, False])
def test_a_year_in_front_or_the_name_of_a_month_leaves_nothing_to_guess(text: str, day_first: bool | None) -> None:
    assert answer(date=text, day_first=day_first)["iso"] == "2026-03-04"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("Wed Mar 04 2026 10:00:00 GMT+0300", "+03:00"),
        ("Wed Mar 04 2026 10:00:00 GMT+0300 (Moscow Standard Time)", "+03:00"),
        ("Wed Mar 04 2026 10:00:00 GMT-0330 (Newfoundland Standard Time)", "-03:30"),
        ("March 4, 2026 10:00 UTC-5", "-05:00"),
        ("March 4, 2026 10:00 UTC−5", "-05:00"),
        ("March 4, 2026 10:00 UTC -05:00", "-05:00"),
        ("4 March 2026 10:00 UTC+5:30", "+05:30"),
        ("4 March 2026 10:00 UTC+05:30", "+05:30"),
        ("4 March 2026 10:00 GMT+3", "+03:00"),
        ("4 March 2026 10:00 GMT", "+00:00"),
        ("2026-03-04 10:00 Etc/GMT+3", "-03:00"),
        ("2026-03-04 10:00 Etc/GMT-14", "+14:00"),
        ("2026-03-04 10:00 Europe/Berlin", "+01:00"),
        ("2026-03-04 10:00 America/Argentina/Buenos_Aires", "-03:00"),
        ("2026-03-04T10:00:00+01:00[Europe/Berlin]", "+01:00"),
        ("2026-03-04T10:00Z", "+00:00"),
        ("2026-03-04t10:00z", "+00:00"),
        ("20260304T100000Z", "+00:00"),
        ("2026-W10-3T10:00+01", "+01:00"),
        ("2026-063T1000Z", "+00:00"),
        ("2026-03-04 10:00:00 -0500", "-05:00"),
        ("2026-03-04T10:00:00-00:00", "+00:00"),
        ("2026-03-04T10:00:00.000+0000", "+00:00"),
        ("Wed, 04 Mar 2026 10:00:00 +0100 (CET)", "+01:00"),
        ("Wed Mar  4 10:00:00 UTC 2026", "+00:00"),
        ("4/Mar/2026:10:00:00 +0100", "+01:00"),
    ],
)
def test_an_offset_is_read_with_its_sign(text: str, offset: str) -> None:
    assert answer(date=text)["iso"] == f"2026-03-04T10:00:00{offset}"


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("2026-03-04 10:00 AM", "10:00:00"),
        ("2026-03-04 10:00 pm", "22:00:00"),
        ("2026-03-04 12:00 AM", "00:00:00"),
        ("March 4, 2026 at 12:30 p.m.", "12:30:00"),
        ("March 4, 2026, 10am", "10:00:00"),
        ("20260304T000000", "00:00:00"),
        ("2026-03-04T10:00:00,5", "10:00:00.500000"),
        ("2026-03-04T10:00:00.1230000000", "10:00:00.123000"),
        ("Wed Mar  4 10:00:00 2026", "10:00:00"),
        ("10:00 4 March 2026", "10:00:00"),
    ],
)
def test_a_time_is_read(text: str, clock: str) -> None:
    assert answer(date=text)["iso"] == f"2026-03-04T{clock}"


def test_the_end_of_a_day_is_the_beginning_of_the_next() -> None:
    assert answer(date="2026-03-04T24:00")["iso"] == "2026-03-05T00:00:00"


@pytest.mark.parametrize(
    "text",
    [
        *("Monday, 4 March 2026", "Thu, 04 Mar 2026 10:00:00 GMT", "2026-03-04 (Fri)", "Sun Mar  4 10:00:00 2026"),
        *("4 March 26", "04/03/26", "26-03-04", "'26-03-04", "2026-03", "March 2026", "2026", "2026-W10", "10:30", "1772618400"),
        *(
            "2026-02-29",
            "2026-02-30",
            "2026-13-04",
            "2026/13/04",
            "2026-366",
            "2026-000",
            "2026-W54-1",
            "2026-W103",
            "0000-01-01",
        ),
        *("12026-03-04", "4st March 2026", "9999-12-31T24:00", "2026-03-04Z", "2026-03-04 noon", "2026-03-04 10.30"),
        *("2026-03-04T24:01", "2026-03-04T10:60", "2026-03-04T23:59:60Z", "2026-03-04T10:00:00.123456789Z"),
        *("2026-03-04 13:00 pm", "2026-03-04 0:30 am", "2026-03-04 10:00 CET", "Wed Mar  4 10:00:00 PST 2026"),
        *("2026-03-04T10:00+25:00", "2026-03-04T10:00-18:00", "2026-03-04T10:00+01:75", "2026-03-04T10:00 UTC+300"),
        *("2026-03-04T10:00:00+02:00[Europe/Berlin]", "2026-03-04 10:00 GMT+0300 (UTC)", "2026-03-04 10:00 Europe/Nowhere"),
        *("2026-03-29T02:30 Europe/Berlin", "2026-10-25T02:30 Europe/Berlin", "2026-03-04 10:00 right/Europe/Berlin"),
        *("10:00 - 11:00 4 March 2026", "4 March 2026 or 5 March 2026", "4-5 March 2026", "before 4 March 2026", "tomorrow"),
        *("4. März 2026", "4 mars 2026", "II/3/2026", "4 Mar 2026 AD", "Sat, Mar 4 2026 Wed", "9" * 60),
    ],
)
def test_what_contradicts_itself_or_leaves_something_open_is_refused(text: str) -> None:
    assert unfit(date=text).startswith("date: ")


@given(st.integers(1, 31), st.integers(1, 31), st.sampled_from("/.-"))
def test_three_numbers_are_read_only_where_one_reading_is_left(first: int, second: int, gap: str) -> None:
    """Against strptime, once with the day in front and once with the month."""

    def strptime(form: str) -> date | None:
        try:
            return datetime.strptime(f"{first}/{second}/2026", form).date()  # noqa: DTZ007
        except ValueError:
            return None

    text = f"{first}{gap}{second}{gap}2026"
    by_day, by_month = strptime("%d/%m/%Y"), strptime("%m/%d/%Y")
    for day_first, only in ((True, by_day), (False, by_month)):
        if only is None:
            with pytest.raises(Unclear):
                read(text, day_first)
        else:
            assert read(text, day_first) == only
    possible = {by_day, by_month} - {None}
    if len(possible) == 1:
        assert read(text) == possible.pop()
    else:
        with pytest.raises(TwoWays if possible else Unclear):
            read(text)


@given(moments, offsets)
def test_what_the_standard_library_writes_is_read(at: datetime, offset: timezone) -> None:
    aware = at.replace(tzinfo=offset)
    for text in (
        aware.isoformat(),
        aware.strftime("%Y%m%dT%H%M%S%z"),
        rfc5322(aware),
        aware.strftime("%A, %d %B %Y %I:%M:%S %p %z"),
    ):
        found = read(text)
        assert isinstance(found, datetime)
        assert (found, found.utcoffset()) == (aware, aware.utcoffset()), text
    assert read(at.ctime()) == at
    for text in (at.strftime("%G-W%V-%uT%H:%M:%S"), at.strftime("%Y-%jT%H:%M:%S"), at.strftime("%b %d, %Y %H:%M:%S")):
        assert read(text) == at, text


@given(moments, offsets)
def test_what_dateutil_reads_without_a_guess_is_read_the_same(at: datetime, offset: timezone) -> None:
    zone = at.replace(tzinfo=offset).strftime("%z")
    for form in ("%d %B %Y %H:%M:%S", "%B %d, %Y, %I:%M:%S %p", "%Y/%m/%d %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%H:%M:%S %d-%b-%Y"):
        text = at.strftime(form)
        assert read(text) == parser.parse(text), text
    assert read(at.strftime(f"%d %B %Y %H:%M:%S {zone}")) == parser.parse(at.strftime(f"%d %B %Y %H:%M:%S {zone}"))


@given(moments, offsets)
def test_an_offset_behind_the_name_of_utc_is_no_other_than_one_alone(at: datetime, offset: timezone) -> None:
    alone = at.replace(tzinfo=offset).strftime("%z")
    expected = read(at.strftime(f"%Y-%m-%d %H:%M:%S {alone}"))
    for written in (f"GMT{alone}", f"UTC{alone[:3]}:{alone[3:]}", f"UT {alone}", f"GMT{alone} (Somewhere Standard Time)"):
        assert read(at.strftime(f"%a %b %d %Y %H:%M:%S {written}")) == expected


@given(days, st.integers(1, 6))
def test_another_day_of_the_week_is_a_contradiction(day: date, off: int) -> None:
    other = day + timedelta(days=off if day.year < 9999 else -off)
    assert read(f"{day:%A}, {day.day} {day:%B} {day.year}") == day
    with pytest.raises(Unclear, match="another day of the week"):
        read(f"{other:%A}, {day.day} {day:%B} {day.year}")


@given(st.text("0123456789-/.:, TZWUCGM+amp年月日", max_size=24))
def test_what_is_read_says_the_same_when_it_is_written_again(text: str) -> None:
    try:
        found = read(text)
    except Unclear:
        return
    assert read(found.isoformat()) == found


LOCALES = ["en_US", "de_DE", "fr_FR", "ja_JP", "ar_EG", *random.Random(4217).sample(sorted(locale_identifiers()), 40)]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_time_without_a_zone_is_shown_without_one(locale: str) -> None:
    try:
        found = {style: answer(date="2026-03-04T10:00:00", style=style, locale=locale) for style in ("long", "full")}
    except Unfit as bad:
        assert str(bad).startswith("locale: ")
        return
    names = [cldr.get_timezone_name(TEN.replace(tzinfo=UTC), width, locale=locale) for width in ("long", "short")]
    for given_ in found.values():
        assert not any(name in given_["formatted"] for name in (*names, "UTC", "GMT"))
    whole = cldr.format_datetime(TEN.replace(tzinfo=UTC), "full", locale=locale)
    assert answer(date="2026-03-04T10:00:00Z", style="full", locale=locale)["formatted"] == whole.replace("+00:00", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-03-04T10:00-05:30", "GMT-05:30"),  # Babel: GMT-06:30
        ("2026-03-04T10:00-03:30", "GMT-03:30"),
        ("2026-03-04T10:00+05:45", "GMT+05:45"),
        ("2026-03-04 10:00 Etc/GMT+3", "GMT-03:00"),
        ("2026-03-04 10:00 Europe/Berlin", "Central European Standard Time"),
        ("2026-07-04 10:00 Europe/Berlin", "Central European Summer Time"),
        ("2026-07-04 10:00 America/St_Johns", "Newfoundland Daylight Time"),
        ("1994-07-04 10:00 Europe/Lisbon", "GMT+02:00"),  # Babel: Western European Summer Time, an hour off
        ("1850-07-04 10:00 Europe/Berlin", "GMT+00:53:28"),
    ],
)
def test_the_zone_that_is_shown_is_the_one_of_the_offset(text: str, shown: str) -> None:
    assert answer(date=text, style="full")["formatted"].endswith(f"\u202fAM {shown}")


@given(moments, offsets)
def test_numeric_offsets_are_those_of_the_standard_library(at: datetime, offset: timezone) -> None:
    aware = at.replace(tzinfo=offset)
    basic = aware.strftime("%z")
    shown = {pattern: answer(date=aware.isoformat(), pattern=pattern)["formatted"] for pattern in ("xx", "Z", "xxx", "ZZZZ")}
    extended = f"{basic[:3]}:{basic[3:]}"
    assert shown == {"xx": basic, "Z": basic, "xxx": extended, "ZZZZ": f"GMT{extended}" if aware.utcoffset() else "GMT"}


@given(moments)
def test_a_pattern_shows_what_strftime_shows(at: datetime) -> None:
    text = answer(date=at.isoformat(), pattern="EEEE, dd MMMM yyyy HH:mm:ss, hh a, D")["formatted"]
    assert text == at.strftime("%A, %d %B %Y %H:%M:%S, %I %p, ") + str(at.timetuple().tm_yday)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("2026-03-04", "HH:mm"),
        ("2026-03-04", "d MMM, h a"),
        ("2026-03-04", "d MMM z"),
        ("2026-03-04T10:00:00", "HH:mm z"),
        ("2026-03-04T10:00:00", "HH:mmXXX"),
        ("2026-03-04T10:00:00", "OOOO"),
        ("2026-03-04T10:00:00+03:00", "VV"),
        ("2026-03-04T10:00:00+03:00", "VVVV"),  # Babel: Unknown Region
        ("2026-03-04", "long"),
    ],
)
def test_a_pattern_that_shows_more_than_the_date_has_is_refused(text: str, pattern: str) -> None:
    assert unfit(date=text, pattern=pattern).startswith("pattern: ")


@pytest.mark.parametrize(
    "zone", ["GMT+5", "CEST", "localtime", "right/Europe/Berlin", "posix/UTC", "../x", "Europe/Berlin\n", ""]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    assert unfit(date="2026-03-04T23:30:00Z", zone=zone).startswith("zone: ")


def test_a_date_is_expressed_in_another_zone() -> None:
    assert answer(date="2026-03-04T23:30:00Z", zone="Etc/GMT+5")["iso"] == "2026-03-04T18:30:00-05:00"
    assert answer(date="2026-03-04T23:30:00Z[Asia/Tokyo]")["iso"] == "2026-03-05T08:30:00+09:00"
    found = read("2026-03-04T10:00+01:00[Europe/Berlin]")
    assert isinstance(found, datetime)
    assert found.tzinfo == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("locale", ["und", "en_ZZ", "de_US", "xx"])
def test_a_locale_that_babel_would_replace_by_the_likeliest_is_refused(locale: str) -> None:
    assert unfit(date="2026-03-04", locale=locale).startswith("locale: ")
