"""Facts of a small invented city for the report's tests: zone-hours and pairs from a seed, rolled up as SQL would."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from chillflow.curation import RULES
from chillflow.months import Month
from chillflow.reports import wall_time
from chillflow.reports.facts import BOROUGHS, HOURS, MEASURES, PAIRS, WEEK, WEEK_MEASURES, ZONES, Entry, Facts
from chillflow.reports.sums import PLACES

SOME_ZONES = (1, 4, 7, 43, 56, 74, 103, 132, 138, 161, 236, 237, 263, 264, 265)
_SPRING = [dt.date(2018, 3, 11), dt.date(2019, 3, 10), dt.date(2020, 3, 8)]
DEMAND = np.array([3, 2, 1, 1, 1, 2, 5, 9, 11, 10, 9, 9, 10, 10, 11, 11, 10, 12, 14, 14, 12, 11, 9, 6]) / 100


def zone_hours(months: Sequence[str], services: Sequence[str] = ("yellow",), zones: Sequence[int] = SOME_ZONES,
               seed: int = 7, busy: float = 30.0) -> pl.DataFrame:  # fmt: skip
    """Invented rows of kpi_zone_hourly, each measure consistent with the others."""
    dice = np.random.default_rng(seed)
    weight = {zone: dice.lognormal(0, 1.3) for zone in zones}
    frames = []
    for service in services:
        for text in months:
            days = wall_time.days_of([Month.parse(text)])
            index = pl.DataFrame({"day": days}).join(pl.DataFrame({"hour_of": list(range(24))}), how="cross").join(
                pl.DataFrame({"zone_id": list(zones)}, schema={"zone_id": pl.Int32}), how="cross")  # fmt: skip
            hour, zone = index["hour_of"].to_numpy(), index["zone_id"].to_numpy()
            rate = busy * DEMAND[hour] * np.array([weight[z] for z in zone]) * (1 if service == "yellow" else 0.1)
            frames.append(_filled(index, service, dice.poisson(rate), dice))
    return pl.concat(frames).filter(
        ((pl.col("pickups") > 0) | (pl.col("dropoffs") > 0))
        & ~((pl.col("hour").dt.hour() == 2) & pl.col("hour").dt.date().is_in(_SPRING))
    )


def _filled(index: pl.DataFrame, service: str, pickups: np.ndarray, dice: np.random.Generator) -> pl.DataFrame:
    hour = index["hour_of"].to_numpy()
    miles = np.round(pickups * dice.uniform(1.5, 3.5, len(hour)), 2)
    seconds = np.round(miles / (14 - 5 * np.sin((hour - 5) / 24 * 2 * np.pi)) * 3600).astype(int)
    card = dice.binomial(pickups, 0.7)
    flex = dice.binomial(pickups - card, 0.2)
    fares = 300 * pickups + np.round(250 * miles).astype(int)
    total = fares + 250 * pickups
    card_total = np.where(pickups > 0, total * card // np.maximum(pickups, 1), 0)
    tips = card_total * 18 // 118
    airport = np.isin(index["zone_id"].to_numpy(), [1, 132, 138])
    counts = {
        "pickups": pickups, "dropoffs": dice.poisson(np.maximum(pickups, 0.2)), "passengers_sum": pickups * 2,
        "passengers_n": pickups, "distance_n": pickups, "duration_sum": seconds, "duration_n": pickups,
        "speed_duration_sum": seconds, "card_trips": card, "cash_trips": pickups - card - flex, "flex_trips": flex,
        "airport_trips": np.where(airport, pickups, 0), "cbd_trips": pickups * 0, "reversed_trips": pickups * 0,
        "flagged_trips": dice.binomial(pickups, 0.05),
    }  # fmt: skip
    cents = {
        "fare_sum": fares, "tip_sum": tips, "tolls_sum": pickups * 0, "total_sum": total, "card_tip_sum": tips,
        "card_fare_sum": fares * card // np.maximum(pickups, 1), "card_total_sum": card_total, "cbd_sum": pickups * 0,
        "reversed_sum": pickups * 0,
    }  # fmt: skip
    money = [pl.Series(name, values).cast(pl.Decimal(38, 2)) / 100 for name, values in cents.items()]
    at = index["day"].cast(pl.Datetime("us")) + pl.Series(hour * 3_600_000_000).cast(pl.Duration("us"))
    return pl.DataFrame(
        {"service": [service] * len(hour), "zone_id": index["zone_id"], "hour": at, **counts}
        | {
            name: pl.Series(np.round(miles * 100).astype(int)).cast(pl.Decimal(38, 2)) / 100
            for name in ("distance_sum", "speed_distance_sum")
        }
        | {series.name: series for series in money}
    ).select("service", "zone_id", "hour", *(pl.col(name).cast(kind) for name, kind in MEASURES.items()))


def pairs(months: Sequence[str], services: Sequence[str] = ("yellow",), zones: Sequence[int] = SOME_ZONES,
          seed: int = 7, busy: float = 40.0) -> pl.DataFrame:  # fmt: skip
    dice = np.random.default_rng(seed)
    rows = []
    for service in services:
        for month in months:
            for start in zones:
                for end in zones:
                    trips = int(dice.poisson(busy * dice.lognormal(0, 1)))
                    if trips:
                        minutes, fare = dice.uniform(5, 40), dice.uniform(6, 60)
                        rows.append((service, Month.parse(month).date, start, end, trips, round(fare * trips, 2),
                                     int(minutes * 60 * trips), trips, round(fare * 0.95, 2)))  # fmt: skip
    return pl.DataFrame(rows, schema=PAIRS, orient="row")


def facts(hours: pl.DataFrame, pairs: pl.DataFrame, counts: dict[str, int] | None = None) -> Facts:
    """Roll-ups of zone-hours; the ledger says that every rule found what `counts` says, else the usual share."""
    col = pl.col
    placed = hours.join(PLACES, on="zone_id").with_columns(
        day=col("hour").dt.date(), month=col("hour").dt.date().dt.truncate("1mo")
    )
    summed = list(MEASURES)
    ledger = []
    for service, month, trips in (
        placed.group_by("service", "month").agg(col("pickups").sum()).sort("service", "month").iter_rows()
    ):
        usual = {rule.name: int(trips * rule.usual[0] / 100) for rule in RULES}
        found = usual | (counts or {})
        rejected = sum(found[rule.name] for rule in RULES if rule.action == "reject")
        adjusted = found["reversal"]
        ledger.append(
            Entry(
                service, Month.of(month), "batch", "done", trips + rejected + adjusted, trips, rejected, adjusted, found
            )
        )
    months = [entry.month for entry in ledger]
    wanted = [day + dt.timedelta(days=shift) for day in wall_time.changes(months) for shift in (-7, 0, 7)]
    return Facts(
        tuple(ledger),
        placed.group_by("service", "borough", "day").agg(col(summed).sum()).select(*BOROUGHS),
        placed.group_by("service", "zone_id", "month").agg(col(summed).sum()).select(*ZONES),
        placed.group_by("service", "zone_id", col("hour").dt.weekday().cast(pl.Int32).alias("weekday"),
                        col("hour").dt.hour().cast(pl.Int32).alias("of")).agg(col(WEEK_MEASURES).sum())
        .rename({"of": "hour"}).select(*WEEK),
        placed.filter(col("day").is_in(wanted)).group_by("service", at="hour").agg(col("pickups").sum()).select(*HOURS),
        pairs,
    )  # fmt: skip
