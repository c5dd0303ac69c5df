"""What an id's text tells: it begins with the pickup, so ids sort by pickup."""

import datetime as dt
from collections.abc import Collection
from functools import lru_cache

from chillflow.months import Month

EPOCH = dt.datetime(1970, 1, 1)
TIME = 13
"""The characters of an id's text that hold its pickup."""
MINUTE = 8
"""Those that ids have in common whose pickups lie in the same 65 seconds."""


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
    return _month_of_minute(trip_id[:MINUTE]) or Month.of(pickup_at(trip_id) or EPOCH)


def months_among(ids: Collection[str]) -> set[Month]:
    """The months of the pickups that ids begin with."""
    if ids and (month := month_of(min(ids))) == month_of(max(ids)):
        return {month}
    months = {_month_of_minute(minute) for minute in {trip_id[:MINUTE] for trip_id in ids}}
    return {month for month in months if month} if None not in months else set(map(month_of, ids))


@lru_cache(1 << 16)
def _month_of_minute(digits: str) -> Month | None:
    """The month of the 65 seconds whose ids begin with these digits; None where a month ends among them."""
    months = {Month.of(pickup_at(f"{digits}-{rest}") or EPOCH) for rest in ("0000", "ffff")}
    return months.pop() if len(months) == 1 else None
