"""All measures by a fold in plain Python, one trip after the other: what KPIs have to be."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from chillflow.kpis import KEY, MEASURES, NAMES
from tests.warehouse_samples import ask

Row = Mapping[str, Any]
AIRPORTS = {1, 132, 138}
ZERO = {measure.name: Decimal("0.00") if measure.unit in ("miles", "US dollars") else 0 for measure in MEASURES}


def fold(dsn: str) -> list[dict[str, Any]]:
    """The measures of all trips and adjustments of a warehouse, by key."""
    hours: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(lambda: dict(ZERO))

    def add(trip: Row, end: str, measures: dict[str, Any]) -> None:
        hour = trip[f"{end}_at"].replace(minute=0, second=0, microsecond=0)
        sums = hours[trip["service"], trip[f"{end}_zone_id"], hour]
        for name, value in measures.items():
            sums[name] += value

    for trip in ask(dsn, "select * from chillflow.trips"):
        add(trip, "pickup", of_trip(trip))
        add(trip, "dropoff", {"dropoffs": 1})
    for row in ask(dsn, "select * from chillflow.adjustments"):
        add(row, "pickup", {"reversed_trips": 1, "reversed_sum": row["total_amount"]})
    return [dict(zip(KEY, key, strict=True)) | {name: hours[key][name] for name in NAMES} for key in sorted(hours)]


def of_trip(trip: Row) -> dict[str, Any]:
    """What one trip adds to the hour of its pickup."""
    passengers, miles, flags = trip["passenger_count"], trip["trip_distance"], trip["flags"]
    distance = None if miles is None else (Decimal(miles) * 100).quantize(Decimal(1), ROUND_HALF_EVEN) / 100
    seconds = (trip["dropoff_at"] - trip["pickup_at"]) // dt.timedelta(seconds=1)
    short, card, cbd = not flags & 4, trip["payment_type"] == 1, trip["cbd_congestion_fee"] or 0
    measures = {
        "pickups": 1,
        "passengers_sum": passengers or 0,
        "passengers_n": passengers is not None,
        "distance_sum": distance or 0,
        "distance_n": distance is not None,
        "duration_sum": seconds if short else 0,
        "duration_n": short,
        "cash_trips": trip["payment_type"] == 2,
        "flex_trips": flags & 64 != 0,
        "flagged_trips": flags != 0,
        "airport_trips": bool({trip["pickup_zone_id"], trip["dropoff_zone_id"]} & AIRPORTS),
        "cbd_trips": cbd > 0,
        "cbd_sum": cbd,
        "fare_sum": trip["fare_amount"] or 0,
        "tip_sum": trip["tip_amount"] or 0,
        "tolls_sum": trip["tolls_amount"] or 0,
        "total_sum": trip["total_amount"],
    }
    if short and distance is not None:
        measures |= {"speed_distance_sum": distance, "speed_duration_sum": seconds}
    if card:
        of_card = {f"card_{name}": measures[name] for name in ("tip_sum", "fare_sum", "total_sum")}
        measures |= {"card_trips": 1} | of_card
    return measures
