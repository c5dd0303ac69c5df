"""New York's clock: how many hours a wall-time hour or day really had."""

import datetime as dt
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import polars as pl

from chillflow.months import Month

NEW_YORK = ZoneInfo("America/New_York")
_HOUR = dt.timedelta(hours=1)


def days_of(months: Iterable[Month]) -> list[dt.date]:
    """Every day of the months, in order."""
    return [
        month.date + dt.timedelta(days=number)
        for month in months
        for number in range((month.next.date - month.date).days)
    ]


def change_on(day: dt.date) -> int:
    """Hours by which the clock is changed on that day: 1 in spring, -1 in autumn, mostly 0."""
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=NEW_YORK)
    morrow = midnight + dt.timedelta(days=1)
    before, after = midnight.utcoffset(), morrow.utcoffset()
    assert before is not None
    assert after is not None
    return (after - before) // _HOUR


def changes(months: Iterable[Month]) -> dict[dt.date, int]:
    """The days of the months on which the clock is changed, and by how many hours."""
    return {day: change for day in days_of(months) if (change := change_on(day))}


def remark(day: dt.date) -> str:
    """What is unusual about a day's hours."""
    return {1: "23 hours: 02:00 does not exist", -1: "25 hours: 01:00 comes twice"}.get(change_on(day), "")


def hours_of_week(months: Iterable[Month]) -> pl.DataFrame:
    """How often each hour of the week came: weekday (1 is Monday), hour, hours.

    The hour that spring leaves out is not counted, the one that autumn repeats counts twice.
    """
    days = days_of(months)
    hours = {(weekday, hour): 0 for weekday in range(1, 8) for hour in range(24)}
    for day in days:
        for hour in range(24):
            hours[day.isoweekday(), hour] += 1
    for day, change in changes(months).items():
        hours[day.isoweekday(), 2 if change > 0 else 1] -= change
    rows = [(weekday, hour, count) for (weekday, hour), count in hours.items()]
    return pl.DataFrame(rows, schema={"weekday": pl.Int32, "hour": pl.Int32, "hours": pl.Int64}, orient="row")
