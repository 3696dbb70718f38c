"""Time zones: their names, and how the zone of a time is shown."""

import re
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from babel import Locale, dates
from pydantic import AfterValidator

_KEY = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}")
_MACHINE_ZONES = re.compile(r"localtime|posixrules|Factory|(posix|right)/.*")  # another machine has others, or none
_PRESENT = (datetime(2025, 1, 1), datetime(2025, 7, 1))  # noqa: DTZ001 (put into the zone below)


def zone(key: str) -> ZoneInfo:
    """Raises ValueError for what is not a name of the IANA database. `Etc/GMT+3` is three hours behind UTC, as POSIX has it."""
    if not _KEY.fullmatch(key) or _MACHINE_ZONES.fullmatch(key):
        raise ValueError("is not a time zone such as Europe/Berlin")
    try:
        return ZoneInfo(key)
    except (LookupError, ValueError, OSError):
        raise ValueError("is not a time zone such as Europe/Berlin") from None


def _known(key: str) -> str:
    return zone(key).key


Zone = Annotated[str, AfterValidator(_known)]


def shown(time: datetime, letter: str, width: int, locale: Locale) -> str | None:
    """A zone field of a CLDR pattern; None where it would name more than is known of the zone.

    Babel writes a negative offset with minutes an hour too far (-05:30 as -06:30) and names places that it does not know.
    """
    seconds = int((time.utcoffset() or timedelta()).total_seconds())
    minutes, rest = divmod(abs(seconds), 60)
    full = f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}" + (f":{rest:02}" if rest else "")
    basic = full.replace(":", "")
    hours = basic.removesuffix("00") if not rest else basic
    short = full[0] + full[1:].removesuffix(":00").removeprefix("0")
    gmt = str(locale.zone_formats["gmt"])
    long_gmt, short_gmt = (gmt % (text if seconds else "") for text in (full, short))
    match letter, width:
        case "z", 1 | 2 | 3:
            return _name(time, "short", locale) or short_gmt
        case "z", 4:
            return _name(time, "long", locale) or long_gmt
        case ("O" | "Z", 4):
            return long_gmt
        case "O", 1:
            return short_gmt
        case ("X", 1 | 2 | 3) | ("Z", 5) if not seconds:
            return "Z"
        case ("X" | "x", 3) | ("Z", 5):
            return full
        case ("X" | "x", 2) | ("Z", 1 | 2 | 3):
            return basic
        case ("X" | "x", 1):
            return hours
        case "V", 2:
            return _key(time.tzinfo)
        case _:
            return None


def _key(tz: tzinfo | None) -> str | None:
    return tz.key if isinstance(tz, ZoneInfo) else None


def _name(time: datetime, width: Literal["short", "long"], locale: Locale) -> str | None:
    """The zone's name at that time, where the locale has one and it is the one of the time's offset.

    Babel knows the names of today: for a year in which the zone had another offset, the name would contradict it.
    """
    offset = time.utcoffset()
    today = [day.replace(tzinfo=time.tzinfo).utcoffset() or timedelta() for day in _PRESENT]
    if offset != (max(today) if time.dst() else min(today)):
        return None
    name = dates.get_timezone_name(time, width=width, locale=locale)
    return None if name == dates.get_timezone_gmt(time, width=width, locale=locale) else name
