"""Sums by service, with all services as one more, and ratios that keep quiet about a handful of trips."""

from collections.abc import Callable

import polars as pl

from chillflow.reports.facts import MEASURES, Facts, days_of
from chillflow.zones import UNKNOWN, ZONES

ALL = "all"
CITY, MANHATTAN = "The whole city", "Manhattan"
LEAST_TRIPS = 10
"""Ratios of fewer trips are suppressed: they would tell of persons or of chance."""

col = pl.col
BOROUGHS = ["Manhattan", "Brooklyn", "Queens", "Bronx", "Staten Island", "Newark Airport", "Outside of NYC", "Unknown"]
_WORDS = {"EWR": "Newark Airport", "N/A": "Outside of NYC"}


def borough_name() -> pl.Expr:
    """The column `borough` in words: the city's zone table says EWR and N/A."""
    return col("borough").replace(_WORDS)


PLACES = (
    pl.DataFrame([(zone.id, zone.name, zone.borough) for zone in ZONES],
                 schema={"zone_id": pl.Int32, "zone": pl.String, "borough": pl.String}, orient="row")
    .with_columns(
        pl.when(col("zone_id") == UNKNOWN).then(pl.lit("Unknown"))
        .when(col("zone").is_duplicated()).then(pl.format("{} ({})", "zone", "zone_id"))
        .otherwise("zone").alias("zone"),
        borough_name(),
    )
)  # fmt: skip
"""Zones by id; names that occur twice bear their id."""


def services(facts: Facts) -> tuple[str, ...]:
    """What a figure has rows of: ALL first, where there are several services."""
    return (ALL, *facts.services) if len(facts.services) > 1 else facts.services


def days(facts: Facts) -> pl.DataFrame:
    """How many days the months of each service have: service, days."""
    rows = [(service, days_of(facts.months_of(service))) for service in services(facts)]
    return pl.DataFrame(rows, schema={"service": pl.String, "days": pl.Float64}, orient="row")


def sums(frame: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The measures summed by service and `by`, sorted; with rows of ALL where there are several services."""
    names = [name for name in frame.columns if name in MEASURES]
    summed = frame.group_by("service", *by).agg(col(names).sum())
    if frame["service"].n_unique() > 1:
        whole = frame.group_by(*by).agg(col(names).sum()) if by else frame.select(col(names).sum())
        summed = pl.concat([summed, whole.with_columns(service=pl.lit(ALL)).select(summed.columns)])
    return summed.sort("service", *by)


def told(table: pl.DataFrame, tell: Callable[[pl.DataFrame], str]) -> dict[str, str]:
    """What `tell` finds in each service's rows."""
    return {str(service): tell(rows) for (service,), rows in table.group_by("service", maintain_order=True)}


def by_area(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of zones twice: for the whole city, and those of Manhattan for Manhattan, in a column `area`."""
    placed = frame.join(PLACES, on="zone_id")
    manhattan = placed.filter(borough=MANHATTAN)
    return pl.concat([placed.with_columns(area=pl.lit(CITY)), manhattan.with_columns(area=pl.lit(MANHATTAN))])


def ratio(over: str | pl.Expr, under: str | pl.Expr, trips: str | pl.Expr) -> pl.Expr:
    """`over` / `under`, null where it rests on fewer than LEAST_TRIPS `trips`."""
    over, under, trips = (col(part) if isinstance(part, str) else part for part in (over, under, trips))
    enough = (trips >= LEAST_TRIPS) & (under.cast(pl.Float64) > 0)
    return pl.when(enough).then(over.cast(pl.Float64) / under.cast(pl.Float64))


_timed_and_measured = pl.min_horizontal("distance_n", "duration_n")
MPH = ratio("speed_distance_sum", col("speed_duration_sum") / 3600, _timed_and_measured).alias("mph")
TIP_SHARE = ratio("card_tip_sum", col("card_total_sum") - col("card_tip_sum"), "card_trips").alias("tip_share")
REVENUE_PER_TRIP = ratio("total_sum", "pickups", "pickups").alias("revenue_per_trip")
FARE_PER_MILE = ratio("fare_sum", "distance_sum", "distance_n").alias("fare_per_mile")
FARE_PER_MINUTE = ratio("fare_sum", col("duration_sum") / 60, "duration_n").alias("fare_per_minute")
AIRPORT_SHARE = ratio("airport_trips", "pickups", "pickups").alias("airport_share")
FLEX_SHARE = ratio("flex_trips", "pickups", "pickups").alias("flex_share")
CBD_SHARE = ratio("cbd_trips", "pickups", "pickups").alias("cbd_share")
NET_FLOW = (col("dropoffs") - col("pickups")).alias("net_flow")
REVENUE = col("total_sum").alias("revenue")


def month_text(name: str = "month") -> pl.Expr:
    return col(name).dt.strftime("%Y-%m")
