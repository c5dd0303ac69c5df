"""Curation as docs/curation.md tells it, row by row in plain Python: slow, and independent of the kernel."""

import datetime as dt
import math
from collections import Counter
from typing import Any

Row = dict[str, Any]
COMPONENTS = (
    "fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge",
    "congestion_surcharge", "airport_fee", "cbd_congestion_fee",
)  # fmt: skip


def natural_key(row: Row) -> tuple[Any, ...]:
    distance = row["trip_distance"]
    if distance is not None and math.isfinite(distance):
        distance = round(distance * 100)
    total = row["total_amount"]
    return (
        row["service"], row["vendor_id"], row["pickup_at"], row["dropoff_at"], row["pickup_zone_id"],
        row["dropoff_zone_id"], str(distance), None if total is None else abs(total),
    )  # fmt: skip


def fold(rows: list[Row], first: dt.datetime, end: dt.datetime) -> list[tuple[str, frozenset[str]]]:
    """What becomes of each row of a month: the reason ('trip' for kept, 'reversal' for adjusted) and its flags."""
    seen: set[tuple[Any, ...]] = set()
    reasons: list[str | None] = []
    for row in rows:
        reason = _before_pairs(row, first, end, seen)
        reasons.append(reason)
    taken_back = {natural_key(row) for row, reason in zip(rows, reasons, strict=True) if reason == "reversal"}
    return [
        (reason, frozenset()) if reason else _after_pairs(row, natural_key(row) in taken_back)
        for row, reason in zip(rows, reasons, strict=True)
    ]


def totals(outcomes: list[tuple[str, frozenset[str]]]) -> Counter[str]:
    counts = Counter(reason for reason, _ in outcomes if reason != "trip")
    counts.update(flag for _, flags in outcomes for flag in flags)
    return counts


def _before_pairs(row: Row, first: dt.datetime, end: dt.datetime, seen: set[tuple[Any, ...]]) -> str | None:
    if row["pickup_at"] is None or row["dropoff_at"] is None:
        return "ts_missing"
    if not first <= row["pickup_at"] < end:
        return "pickup_outside_file_month"
    identity = (*natural_key(row), (row["total_amount"] or 0) < 0)
    if identity in seen:
        return "duplicate"
    seen.add(identity)
    distance = row["trip_distance"]
    if row["total_amount"] is None or row["unrepresentable"] or (distance is not None and not math.isfinite(distance)):
        return "value_invalid"
    if not all(zone is not None and 1 <= zone <= 265 for zone in (row["pickup_zone_id"], row["dropoff_zone_id"])):
        return "zone_invalid"
    return "reversal" if row["total_amount"] < 0 else None


def _after_pairs(row: Row, taken_back: bool) -> tuple[str, frozenset[str]]:
    seconds = (row["dropoff_at"] - row["pickup_at"]).total_seconds()
    flags = set()
    pickup = row["pickup_at"]
    fall_back = pickup.month == 11 and pickup.day <= 7 and pickup.weekday() == 6
    if fall_back and pickup.hour < 2 and -3600 < seconds < 0:
        seconds += 3600
        flags.add("dst_fallback")
    distance = row["trip_distance"]
    if distance is not None and not 0 <= distance <= 100:
        flags.add("bad_distance")
    credible = None if "bad_distance" in flags else distance
    zones = {row["pickup_zone_id"], row["dropoff_zone_id"]}
    rules = [
        ("reversed_original", taken_back),
        ("zero_total", row["total_amount"] == 0),
        ("nonpositive_duration", seconds <= 0),
        ("duration_over_24h", seconds > 86_400),
        ("no_movement", distance == 0 and seconds < 60),
        ("absurd_money", row["total_amount"] > 100_000 or (row["fare_amount"] or 0) > 50_000),
        ("impossible_speed", credible is not None and seconds > 0 and credible * 3600 > 100 * seconds),
    ]
    for reason, matches in rules:
        if matches:
            return reason, frozenset()
    passengers = row["passenger_count"]
    flex = row["payment_type"] in (None, 0) and passengers is None
    known_rates = (None, 1, 2, 3, 4, 5, 6, 99)
    unknown = (
        row["vendor_id"] not in (None, 1, 2, 6, 7)
        or row["rate_code"] not in known_rates
        or row["payment_type"] not in (None, 0, 1, 2, 3, 4, 5, 6)
    )
    optional = {
        "long_duration": seconds > 4 * 3600,
        "zero_distance": distance == 0 and seconds >= 60,
        "unknown_zone": bool(zones & {264, 265}),
        "passenger_unknown": passengers is not None and not 1 <= passengers <= 6,
        "flex_fare": flex,
        "total_mismatch": not _sums_up(row, flex),
        "unknown_code": unknown,
    }
    return "trip", frozenset(flags | {name for name, on in optional.items() if on})


def _sums_up(row: Row, flex: bool) -> bool:
    due = sum(row[name] or 0 for name in COMPONENTS)
    if row["vendor_id"] == 1:
        due -= row["congestion_surcharge"] or 0
        if row["service"] == "green":
            due -= row["improvement_surcharge"] or 0
    excess = row["total_amount"] - due
    hidden = 275 if row["service"] == "green" else 250
    return abs(excess) <= 1 or (flex and row["congestion_surcharge"] is None and abs(excess - hidden) <= 1)
