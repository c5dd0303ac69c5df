"""What an id's text tells: it begins with the pickup, so ids sort by pickup."""

import datetime as dt
from functools import lru_cache

from chillflow.months import Month

EPOCH = dt.datetime(1970, 1, 1)
TIME = 13
"""The characters of an id's text that hold its pickup."""


def prefix_of(pickup: dt.datetime | None) -> str:
    """The beginning of the ids of trips with this pickup; empty for none."""
    if pickup is None:
        return ""
    text = format((pickup - EPOCH) // dt.timedelta(milliseconds=1), "012x")
    return f"{text[:8]}-{text[8:]}"


def pickup_at(trip_id: str) -> dt.datetime | None:
    """The pickup, to the millisecond, that an id or its beginning tells."""
    return EPOCH + dt.timedelta(milliseconds=int(trip_id[:8] + trip_id[9:TIME], 16)) if trip_id else None


def month_of(trip_id: str) -> Month:
    """The month of the pickup that an id begins with."""
    return _month_of_minute(trip_id[:8]) or Month.of(pickup_at(trip_id) or EPOCH)


@lru_cache(1 << 16)
def _month_of_minute(digits: str) -> Month | None:
    """The month of the 65 seconds whose ids begin with these digits; None where a month ends among them."""
    months = {Month.of(pickup_at(f"{digits}-{rest}") or EPOCH) for rest in ("0000", "ffff")}
    return months.pop() if len(months) == 1 else None
