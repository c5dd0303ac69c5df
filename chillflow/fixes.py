"""Fixes: what rules 12, 13 and 17 put in place of a value that they do not believe, and the record of it."""

import datetime as dt
from collections.abc import Mapping
from functools import cache

import polars as pl

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


@cache
def fixes(may_fall_back: bool = True) -> dict[str, pl.Expr]:
    """What the rules read beside raw columns; see curation.prepare."""
    seconds = (col("dropoff_at") - col("pickup_at")).dt.total_microseconds() / 1e6
    set_back = (
        (seconds < 0) & (seconds > -HOUR) & (col("pickup_at").dt.hour() < 2) & _fall_back_day
        if may_fall_back
        else pl.lit(False)
    )
    return {
        "miles": pl.when(col("trip_distance").is_between(0, 100)).then(col("trip_distance")),
        "passengers": pl.when(col("passenger_count").is_between(1, 6)).then(col("passenger_count")),
        "ends_at": pl.when(set_back).then(col("dropoff_at") + dt.timedelta(hours=1)).otherwise("dropoff_at"),
        "seconds": pl.when(set_back).then(seconds + HOUR).otherwise(seconds),
    }


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
