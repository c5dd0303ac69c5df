"""Zone-hour measures: one table of sums and counts, with the Polars and the SQL expression of each.

A measure belongs to the zone and hour of the pickup or of the dropoff. Only sums and counts: partials merge in any
order and every roll-up stays exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from chillflow.trips import SERVICE, SERVICES

KEY = ("service", "zone_id", "hour")

_HOUR = 3_600_000_000
_ZONES = 1_000


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

SCHEMA = pa.schema(
    {
        "service": pa.string(),
        "zone_id": pa.int32(),
        "hour": pa.timestamp("us"),
        **{measure.name: pa.int64() if measure.unit == "trips" else pa.decimal128(18, 2) for measure in MEASURES},
    }
)
"""Measures as a table: money in dollars, exact."""


def partial(trips: pl.DataFrame) -> pl.DataFrame:
    """The measures of some trips (kernel form) by service, zone and hour; to be merged with those of the others."""
    sides = [_side(trips, "pickup"), _side(trips, "dropoff")]
    return merge(sides)


def merge(partials: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The sum of partials: associative and commutative; sorted by key."""
    names = [measure.name for measure in MEASURES]
    whole = pl.concat(list(partials), how="diagonal")
    return whole.group_by(*KEY).agg(pl.col(names).sum()).sort(*KEY).select(*KEY, *names)


def to_table(measures: pl.DataFrame) -> pa.Table:
    """Merged measures as an Arrow table (SCHEMA)."""
    return pa.table([_column(measures[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _column(series: pl.Series, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(kind):
        return series.to_arrow().cast(kind)
    cents = series.to_numpy()
    words = np.stack([cents, cents >> 63], axis=1)  # 128 bits, low word first
    return pa.Array.from_buffers(kind, len(cents), [None, pa.py_buffer(words)])


def _side(trips: pl.DataFrame, at: str) -> pl.DataFrame:
    hours = pl.col(f"{at}_at").to_physical() // _HOUR
    places = (hours * _ZONES + pl.col(f"{at}_zone_id")) * len(SERVICES) + pl.col("service").to_physical()
    measures = [measure.polars.alias(measure.name) for measure in MEASURES if measure.at == at]
    sums = trips.group_by(place=places).agg(measures)  # one integer groups fastest
    place = pl.col("place") // len(SERVICES)
    return sums.with_columns(
        service=pl.Series(SERVICES, dtype=SERVICE).gather(sums["place"] % len(SERVICES)),
        zone_id=(place % _ZONES).cast(pl.Int32),
        hour=(place // _ZONES * _HOUR).cast(pl.Datetime("us")),
    ).drop("place")
