"""Fixes: what rules 12, 13 and 17 put in place of a value that they do not believe, and the record of it."""

import datetime as dt
from collections.abc import Mapping
from typing import TypeVar

import polars as pl

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

HOUR = 3_600

FIXED = {
    "bad_distance": ("trip_distance", "miles"),
    "dst_fallback": ("dropoff_at", "ends_at"),
    "passenger_unknown": ("passenger_count", "passengers"),
}
"""By rule: the raw column, and the one that has its value after the fix."""

col = pl.col
_fall_back_day = (
    (col("pickup_at").dt.month() == 11) & (col("pickup_at").dt.weekday() == 7) & (col("pickup_at").dt.day() <= 7)
)
_gap = (col("dropoff_at") - col("pickup_at")).dt.total_microseconds() / 1e6
_set_back = (col("gap") < 0) & (col("gap") > -HOUR) & (col("pickup_at").dt.hour() < 2) & _fall_back_day
_believed = (
    pl.when(col("trip_distance").is_between(0, 100)).then(col("trip_distance")).alias("miles"),
    pl.when(col("passenger_count").is_between(1, 6)).then(col("passenger_count")).alias("passengers"),
    pl.when("set_back").then(col("dropoff_at") + dt.timedelta(hours=1)).otherwise("dropoff_at").alias("ends_at"),
    pl.when("set_back").then(col("gap") + HOUR).otherwise("gap").alias("seconds"),
)


def fix(frame: Frame, may_fall_back: bool = True) -> Frame:
    """Adds the columns `miles`, `passengers`, `ends_at`, `seconds` and what they come from; see curation.prepare."""
    # One after the other: a query that says the same twice is computed, or at least compared, twice.
    set_back = _set_back if may_fall_back else pl.lit(False)
    return frame.with_columns(gap=_gap).with_columns(set_back=set_back).with_columns(_believed)


def before_fixes(flags: Mapping[str, int]) -> pl.Expr:
    """JSON of the raw values of the columns that a fix changed, by the bits of `flags`."""
    texts = {
        "trip_distance": col("trip_distance").cast(pl.String),
        "dropoff_at": col("dropoff_at").dt.strftime('"%Y-%m-%dT%H:%M:%S%.f"'),
        "passenger_count": col("passenger_count").cast(pl.String),
    }
    members = [
        pl.when(col("flags") & flags[rule] != 0).then(pl.lit(f'"{column}": ') + texts[column])
        for rule, (column, _) in FIXED.items()
    ]
    return pl.lit("{") + pl.concat_str(members, separator=", ", ignore_nulls=True) + pl.lit("}")
