"""Business hours, against a list of all shifts around the time."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.router.rules import RULES, Unfit

NIGHT = {"opens": 22, "closes": 6, "weekdays_only": True}
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns", "UTC"]


def within(**data: Any) -> bool:
    found = RULES["check_business_hours"].apply(data)[0]["is_business_hours"]
    assert isinstance(found, bool)
    return found


def unfit(**data: Any) -> str:
    with pytest.raises(Unfit) as problem:
        RULES["check_business_hours"].apply(data)
    return str(problem.value)


@pytest.mark.parametrize(
    ("time", "open_"),
    [
        ("2026-03-27T22:00:00+01:00", True),  # a Friday
        ("2026-03-28T01:00:00+01:00", True),
        ("2026-03-28T05:59:59+01:00", True),
        ("2026-03-28T06:00:00+01:00", False),
        ("2026-03-28T22:00:00+01:00", False),
        ("2026-03-29T01:00:00+01:00", False),
        ("2026-03-29T23:00:00+02:00", False),
        ("2026-03-30T01:00:00+02:00", False),  # no shift began on the Sunday
        ("2026-03-30T22:00:00+02:00", True),
        ("2026-03-31T01:00:00+02:00", True),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_began(time: str, open_: bool) -> None:
    assert within(time=time, **NIGHT) is open_


def test_the_day_is_the_one_of_the_zone() -> None:
    friday_night = "2026-03-27T22:30:00Z"
    assert within(time=friday_night, zone="Europe/Berlin", **NIGHT)
    assert not within(time="2026-03-29T22:30:00Z", zone="Europe/Berlin", **NIGHT), "Monday 00:30, after a Sunday"
    assert within(time="2026-03-29T20:30:00Z", zone="Asia/Tokyo", weekdays_only=True, opens=5, closes=6)
    assert within(time="2026-03-29T06:30:00Z", zone="Europe/Berlin", opens=8), "the clocks went forward"
    assert not within(time="2026-03-28T06:30:00Z", zone="Europe/Berlin", opens=8)


def test_no_shift_begins_on_a_holiday() -> None:
    assert not within(time="2026-12-25T10:00Z", holidays=["2026-12-25"])
    assert within(time="2026-12-24T10:00Z", holidays=["2026-12-25"])
    night = {"opens": 22, "closes": 6, "holidays": ["2026-12-25"]}
    assert within(time="2026-12-25T01:00Z", **night)
    assert not within(time="2026-12-26T01:00Z", **night)


def test_midnight_is_written_as_0_or_24() -> None:
    assert within(hour=23, opens=22, closes=0)
    assert within(hour=23, opens=22, closes=24)
    assert not within(hour=0, opens=22, closes=24)
    assert all(within(hour=hour, opens=0, closes=24) for hour in range(24))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"hour": 9, "opens": 9, "closes": 9}, "data: `closes`"),
        ({"hour": 3, "opens": 24, "closes": 6}, "opens"),
        ({"time": 1774656000}, "time"),  # seconds or milliseconds
        ({"time": "1774656000"}, "time"),
        ({"time": "2026-03-28T10:00:00"}, "time"),
        ({"time": "2026-03-28"}, "time"),
        ({"time": "03/04/2026 10:00Z"}, "time"),
        ({"time": "Mon, 27 Mar 2026 10:00:00 GMT"}, "time"),
        ({"time": "2026-12-25T10:00Z", "holidays": ["03/04/2026"]}, "holidays.0"),
        ({"time": "2026-12-25T10:00Z", "holidays": [20261225]}, "holidays.0"),
        ({"hour": 9, "holidays": ["2026-12-25"]}, "data"),
    ],
)
def test_hours_that_leave_something_to_guess_are_refused(data: dict[str, Any], field: str) -> None:
    assert unfit(**data).startswith(field)


@given(
    st.datetimes(datetime(2024, 1, 3), datetime(2027, 12, 28), timezones=st.sampled_from(ZONES).map(ZoneInfo)),  # noqa: DTZ001
    st.sampled_from(ZONES),
    st.integers(0, 23),
    st.integers(0, 24),
    st.booleans(),
    st.lists(st.dates(date(2024, 1, 1), date(2027, 12, 31)), max_size=3),
)
def test_a_time_is_within_where_one_of_the_shifts_around_it_has_it(
    time: datetime, zone: str, opens: int, closes: int, weekdays_only: bool, holidays: list[date]
) -> None:
    assume(opens != closes)
    local = time.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    days = [local.date() + timedelta(days=n) for n in (-2, -1, 0, 1)]
    holidays = [*holidays, days[2]] if len(holidays) == 2 else holidays
    worked = [day for day in days if day not in holidays and not (weekdays_only and day.strftime("%a") in ("Sat", "Sun"))]
    length = timedelta(hours=closes - opens if closes > opens else closes - opens + 24)
    begins = [datetime(day.year, day.month, day.day, opens) for day in worked]  # noqa: DTZ001
    assert within(
        time=time.isoformat(),
        zone=zone,
        opens=opens,
        closes=closes,
        weekdays_only=weekdays_only,
        holidays=[day.isoformat() for day in holidays],
    ) is any(begin <= local < begin + length for begin in begins)
