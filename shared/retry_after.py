"""When a server wants to be called again. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isfinite

LONGEST_WAIT = 86_400.0  # seconds


def retry_after(headers: Mapping[str, str], now: datetime, told: float = 0) -> datetime | None:
    """From `retry-after-ms` or `retry-after`: milliseconds, seconds or a date. A date is measured by the `date` header, which
    is the provider's own clock, or else by `now`. `told`: seconds that the body asks for, if no header does."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name)
        if not given:
            continue
        try:
            seconds = float(given) * unit
        except ValueError:
            seconds = _until(given, headers.get("date"), now)
        if isfinite(seconds) and seconds > 0:
            return now + timedelta(seconds=min(seconds, LONGEST_WAIT))
    return now + timedelta(seconds=min(told, LONGEST_WAIT)) if told > 0 else None


def _until(date: str, sent: str | None, now: datetime) -> float:
    """Seconds until an HTTP date; nan if it is not a date."""
    try:
        then = parsedate_to_datetime(date)
        here = parsedate_to_datetime(sent) if sent else now
        return (then.replace(tzinfo=then.tzinfo or UTC) - here.replace(tzinfo=here.tzinfo or UTC)).total_seconds()
    except (ValueError, OverflowError):
        return float("nan")
