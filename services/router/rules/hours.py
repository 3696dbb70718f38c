"""Business hours. No clock is read: a rule knows only the times that its data has."""

from datetime import date, datetime, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from services.router.rules.exact import Hour
from services.router.rules.rule import Data, Input, Rule
from services.router.rules.written import read
from services.router.rules.zones import Zone


def _time(value: object) -> datetime:
    """Refuses a number: whether it counts seconds or milliseconds would be a guess."""
    found = read(value) if isinstance(value, str) and len(value) <= 100 else None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise ValueError("must be a time with an offset, such as 2026-03-04T10:00:00+01:00")
    return found


def _day(value: object) -> date:
    found = read(value) if isinstance(value, str) and len(value) <= 100 else None
    if found is None or isinstance(found, datetime):
        raise ValueError("must be a day, such as 2026-12-25")
    return found


class Moment(Input):
    """An hour of the day, or a time and the zone in which its hour counts (without a zone: by the time's own offset)."""

    hour: Annotated[Hour, Field(le=23)] | None = None
    time: Annotated[datetime, BeforeValidator(_time)] | None = None
    zone: Zone | None = None
    opens: Annotated[Hour, Field(le=23)] = 9
    closes: Hour = 17
    weekdays_only: bool = Field(default=False, description="no shift begins on Saturday or Sunday; needs `time`")
    holidays: list[Annotated[date, BeforeValidator(_day)]] = Field(
        default=[], max_length=1000, description="days on which no shift begins; needs `time`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.hour is None) == (self.time is None):
            raise ValueError("give either `hour` or `time`")
        if self.time is None and (self.zone or self.weekdays_only or self.holidays):
            raise ValueError("`zone`, `weekdays_only` and `holidays` go with `time`")
        if self.opens == self.closes:
            raise ValueError("`closes` is `opens`, which could mean always or never; all day is from 0 to 24")
        return self


def check_business_hours(given: Moment) -> Data:
    """Open from `opens` up to, and not including, `closes`; over midnight where `closes` comes before `opens`.

    A shift over midnight belongs to the day on which it began.
    """
    local = given.time.astimezone(ZoneInfo(given.zone)) if given.time and given.zone else given.time
    hour = local.hour if local else given.hour
    assert hour is not None
    overnight = given.closes < given.opens
    inside = not given.closes <= hour < given.opens if overnight else given.opens <= hour < given.closes
    answer: Data = {"is_business_hours": inside, "hour": hour, "method": "range_check"}
    if local is None:
        return answer
    began = local.date() - timedelta(days=overnight and hour < given.closes)
    works = not (given.weekdays_only and began.weekday() > 4) and began not in given.holidays
    return answer | {"is_business_hours": inside and works, "local_time": local.isoformat()}


def _sentence(local_time: str | None, hour: int, within: bool) -> str:
    return f"{local_time or f'{hour}:00'} is {'within' if within else 'outside'} business hours."


CHECK_BUSINESS_HOURS = Rule(
    "check_business_hours",
    Moment,
    check_business_hours,
    lambda d: _sentence(d.get("local_time"), d["hour"], d["is_business_hours"]),
    version="2",
)
