"""Zone-hour measures: one table of sums and counts, with the Polars and the SQL expression of each.

A measure belongs to the zone and hour of the pickup or of the dropoff. Only sums and counts: partials merge in any
order and every roll-up stays exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

KEY = ("service", "zone_id", "hour")


@dataclass(frozen=True)
class Measure:
    """`polars` and `sql` say the same of the same trips; money is in cents in Polars, in dollars in PostgreSQL."""

    name: str
    unit: Literal["trips", "dollars"]
    at: Literal["pickup", "dropoff"]
    meaning: str
    polars: pl.Expr
    sql: str


def _dollars(name: str, column: str, meaning: str) -> Measure:
    return Measure(name, "dollars", "pickup", meaning, pl.col(column).cast(pl.Int64).sum(), f"sum({column})")


MEASURES = (
    Measure("pickups", "trips", "pickup", "trips that began here", pl.len().cast(pl.Int64), "count(*)"),
    Measure("dropoffs", "trips", "dropoff", "trips that ended here", pl.len().cast(pl.Int64), "count(*)"),
    _dollars("fare_sum", "fare_amount", "fares by the meter"),
    _dollars("tip_sum", "tip_amount", "tips paid by card"),
    _dollars("tolls_sum", "tolls_amount", "tolls"),
    _dollars("total_sum", "total_amount", "all that was charged, cash tips excluded"),
)


def partial(trips: pl.DataFrame) -> pl.DataFrame:
    """The measures of some trips (kernel form) by service, zone and hour; to be merged with those of the others."""
    sides = [_side(trips, "pickup"), _side(trips, "dropoff")]
    return merge(sides)


def merge(partials: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The sum of partials: associative and commutative; sorted by key."""
    names = [measure.name for measure in MEASURES]
    whole = pl.concat(list(partials), how="diagonal")
    return whole.group_by(*KEY).agg(pl.col(names).sum()).sort(*KEY).select(*KEY, *names)


def _side(trips: pl.DataFrame, at: str) -> pl.DataFrame:
    hour = pl.col(f"{at}_at").dt.truncate("1h").alias("hour")
    zone = pl.col(f"{at}_zone_id").alias("zone_id")
    measures = [measure.polars.alias(measure.name) for measure in MEASURES if measure.at == at]
    return trips.group_by("service", zone, hour).agg(measures)
