"""Zone-hour measures: one table of sums and counts, with the Polars and the SQL expression of each.

A measure counts trips, or sums a value of them, by the zone and hour of one of their ends. Only sums and counts:
partials merge in any order and every roll-up stays exact. Inside, all are integers: cents, hundredths of a mile,
seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from chillflow.curation import FLAGS
from chillflow.trips import SERVICE, SERVICES

KEY = ("service", "zone_id", "hour")
AIRPORTS = (1, 132, 138)
"""Newark, JFK, LaGuardia."""

Unit = Literal["trips", "passengers", "miles", "seconds", "US dollars"]
At = Literal["pickup", "dropoff", "reversal"]

HUNDREDTHS: tuple[Unit, ...] = ("miles", "US dollars")
"""Units with two decimal places in tables, which Polars counts in hundredths."""

_HOUR = 3_600_000_000
_ZONES = 1_000


@dataclass(frozen=True, eq=False)
class Value:
    """What is summed of each trip: int64 in Polars, where a unit with decimals is counted in hundredths.

    `whole` makes what the unit's column takes out of the sum in SQL.
    """

    unit: Unit
    polars: pl.Expr
    sql: str
    whole: str = "{}"


@dataclass(frozen=True, eq=False)
class Which:
    """Which of the trips are counted or summed."""

    polars: pl.Expr
    sql: str


@dataclass(frozen=True)
class Measure:
    """A count of trips, or the sum of a value of them; of all, or of those that `which` tells.

    It belongs to the zone and hour of their pickups or dropoffs; `reversal` is the pickup of a row of `adjustments`.
    """

    name: str
    at: At
    meaning: str
    value: Value | None = None
    which: Which | None = None

    @property
    def unit(self) -> Unit:
        return self.value.unit if self.value else "trips"

    @property
    def kind(self) -> pa.DataType:
        return pa.decimal128(18, 2) if self.unit in HUNDREDTHS else pa.int64()

    @property
    def sql(self) -> str:
        """The measure of rows of `trips` or `adjustments`; null where there is nothing to sum."""
        of = "" if self.which is None else f" filter (where {self.which.sql})"
        return f"count(*){of}" if self.value is None else self.value.whole.format(f"sum({self.value.sql}){of}")


def _dollars(column: str) -> Value:
    return Value("US dollars", pl.col(column).cast(pl.Int64), column)


_is_short = (pl.col("flags") & FLAGS["long_duration"]) == 0
_has_distance = pl.col("trip_distance").is_not_null()

_passengers = Value("passengers", pl.col("passenger_count").cast(pl.Int64), "passenger_count")
_miles = Value(
    "miles",
    (pl.col("trip_distance") * 100).round(mode="half_to_even").cast(pl.Int64),
    "round(trip_distance * 100)",
    "cast({} as numeric) / 100",
)
_seconds = Value(
    "seconds",
    (pl.col("dropoff_at") - pl.col("pickup_at")).to_physical() // 1_000_000,
    "floor(date_part('epoch', dropoff_at - pickup_at))",
    "cast({} as bigint)",
)
_fare, _tip, _tolls, _total, _cbd = map(
    _dollars, ("fare_amount", "tip_amount", "tolls_amount", "total_amount", "cbd_congestion_fee")
)

_passengers_known = Which(pl.col("passenger_count").is_not_null(), "passenger_count is not null")
_distance_known = Which(_has_distance, "trip_distance is not null")
_short = Which(_is_short, f"flags & {FLAGS['long_duration']} = 0")
_both = Which(_is_short & _has_distance, f"{_short.sql} and trip_distance is not null")
_card = Which(pl.col("payment_type") == 1, "payment_type = 1")
_cash = Which(pl.col("payment_type") == 2, "payment_type = 2")
_flex = Which((pl.col("flags") & FLAGS["flex_fare"]) != 0, f"flags & {FLAGS['flex_fare']} <> 0")
_flagged = Which(pl.col("flags") != 0, "flags <> 0")
_at_airport = Which(
    pl.col("pickup_zone_id").is_in(AIRPORTS) | pl.col("dropoff_zone_id").is_in(AIRPORTS),
    f"pickup_zone_id in {AIRPORTS} or dropoff_zone_id in {AIRPORTS}",
)
_charged = Which(pl.col("cbd_congestion_fee") > 0, "cbd_congestion_fee > 0")

MEASURES = (
    Measure("pickups", "pickup", "trips that began here"),
    Measure("dropoffs", "dropoff", "trips that ended here"),
    Measure("passengers_sum", "pickup", "passengers, where their number is known", _passengers),
    Measure("passengers_n", "pickup", "trips whose number of passengers is known", which=_passengers_known),
    Measure("distance_sum", "pickup", "distances by the meter, where they are believable", _miles),
    Measure("distance_n", "pickup", "trips with a believable distance", which=_distance_known),
    Measure("duration_sum", "pickup", "durations, without those of more than four hours", _seconds, _short),
    Measure("duration_n", "pickup", "trips of at most four hours", which=_short),
    Measure("speed_distance_sum", "pickup", "distances of trips that have both, for the speed", _miles, _both),
    Measure("speed_duration_sum", "pickup", "durations of trips that have both, for the speed", _seconds, _both),
    Measure("fare_sum", "pickup", "fares by the meter", _fare),
    Measure("tip_sum", "pickup", "tips, those paid in cash are not known", _tip),
    Measure("tolls_sum", "pickup", "tolls", _tolls),
    Measure("total_sum", "pickup", "all that was charged, cash tips excluded", _total),
    Measure("card_trips", "pickup", "trips paid by card", which=_card),
    Measure("card_tip_sum", "pickup", "tips of trips paid by card", _tip, _card),
    Measure("card_fare_sum", "pickup", "fares of trips paid by card", _fare, _card),
    Measure("card_total_sum", "pickup", "totals of trips paid by card", _total, _card),
    Measure("cash_trips", "pickup", "trips paid in cash", which=_cash),
    Measure("flex_trips", "pickup", "trips dispatched by an app at a price agreed before", which=_flex),
    Measure("airport_trips", "pickup", "trips that began or ended at Newark, JFK or LaGuardia", which=_at_airport),
    Measure("cbd_trips", "pickup", "trips that paid the congestion pricing fee", which=_charged),
    Measure("cbd_sum", "pickup", "congestion pricing fees", _cbd),
    Measure("reversed_trips", "reversal", "reversals of trips that began here"),
    Measure("reversed_sum", "reversal", "totals of the reversals, negative", _total),
    Measure("flagged_trips", "pickup", "trips with a flag of curation, rules 12 to 20", which=_flagged),
)
NAMES = tuple(measure.name for measure in MEASURES)

SCHEMA = pa.schema(
    {
        "service": pa.string(),
        "zone_id": pa.int32(),
        "hour": pa.timestamp("us"),
        **{measure.name: measure.kind for measure in MEASURES},
    }
)
"""Measures as a table: dollars and miles exact."""


def partial(trips: pl.DataFrame, adjustments: pl.DataFrame) -> pl.DataFrame:
    """The measures of some rows (kernel form) by service, zone and hour; to be merged with those of the others."""
    sides = [_side(trips, "pickup"), _side(trips, "dropoff"), _side(adjustments, "reversal")]
    sums = pl.concat(sides, how="diagonal").group_by("place").agg(pl.col(NAMES).sum())
    zones = pl.col("place") // len(SERVICES)
    return sums.select(
        service=pl.Series(SERVICES, dtype=SERVICE).gather(sums["place"] % len(SERVICES)),
        zone_id=(zones % _ZONES).cast(pl.Int32),
        hour=(zones // _ZONES * _HOUR).cast(pl.Datetime("us")),
        **{name: name for name in NAMES},
    )


def merge(partials: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The sum of partials: associative and commutative; sorted by key."""
    whole = pl.concat(list(partials), how="diagonal")
    return whole.group_by(*KEY).agg(pl.col(NAMES).sum()).sort(*KEY).select(*KEY, *NAMES)


def to_table(measures: pl.DataFrame) -> pa.Table:
    """Merged measures as an Arrow table (SCHEMA)."""
    return pa.table([_column(measures[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _column(series: pl.Series, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(kind):
        return series.to_arrow().cast(kind)
    hundredths = series.to_numpy()
    words = np.stack([hundredths, hundredths >> 63], axis=1)  # 128 bits, low word first
    return pa.Array.from_buffers(kind, len(hundredths), [None, pa.py_buffer(words)])


def _side(rows: pl.DataFrame, at: At) -> pl.DataFrame:
    """The measures of one end by `place`: hour, zone and service in one integer.

    NumPy's bincount sums many columns faster than group_by does, in float64: exact up to 2^53, which is nine million
    times the greatest amount.
    """
    end = "dropoff" if at == "dropoff" else "pickup"
    hours = pl.col(f"{end}_at").to_physical() // _HOUR
    places = (hours * _ZONES + pl.col(f"{end}_zone_id")) * len(SERVICES) + pl.col("service").to_physical()
    encoded = rows.select(place=places)["place"].to_arrow().dictionary_encode()
    where, groups = encoded.indices.to_numpy().astype(np.intp), len(encoded.dictionary)
    measures = [measure for measure in MEASURES if measure.at == at]
    values = _arrays(rows, {m.value: m.value.polars.cast(pl.Float64).fill_null(0) for m in measures if m.value})
    chosen = _arrays(rows, {m.which: m.which.polars.fill_null(False) for m in measures if m.which})
    totals = {value: np.bincount(where, amounts, groups) for value, amounts in values.items()}
    totals[None] = np.bincount(where, minlength=groups)
    sums = {}
    for measure in measures:
        found = totals[measure.value]
        if measure.which:
            found = _chosen(where, values.get(measure.value), chosen[measure.which], found)
        sums[measure.name] = found.astype(np.int64)
    return pl.DataFrame({"place": pl.Series(encoded.dictionary), **sums})


def _chosen(where: Any, amounts: Any, which: Any, total: Any) -> Any:
    """The sum over the chosen rows, by adding up the fewer: these, or the others, which the total loses."""
    rows = np.flatnonzero(which)
    most = len(rows) > len(which) / 2
    if most:
        rows = np.flatnonzero(~which)
    found = np.bincount(where[rows], None if amounts is None else amounts[rows], len(total))
    return total - found if most else found


def _arrays(rows: pl.DataFrame, expressions: Mapping[Any, pl.Expr]) -> dict[Any, Any]:
    """What the expressions make of the rows, each as a NumPy array under its key."""
    columns = rows.select(expression.alias(str(number)) for number, expression in enumerate(expressions.values()))
    return {key: columns[str(number)].to_numpy() for number, key in enumerate(expressions)}
