"""Trips that are kept: fixed, flagged, or just inside an edge of a rule."""

import numpy as np

from chillflow.synth.city import DAY, HOUR
from chillflow.synth.dice import Ints
from chillflow.synth.faults import every, first
from chillflow.synth.field import Field
from chillflow.synth.rows import NAN, NULL
from chillflow.synth.truth import FLAGS


def plant_oddities(field: Field) -> None:
    """Plants all of them; flags of different rows may meet."""
    _flex_fares(field)
    _autumn_hour(field)
    _long(field)
    _edges(field)
    _bad_distances(field)
    _zero_distances(field)
    _unknown_zones(field)
    _unknown_passengers(field)
    _mismatches(field)
    _unknown_codes(field)


def _flex_fares(field: Field) -> None:
    at = np.arange(field.main, len(field.rows))
    field.truth.flag(at, "flex_fare")


def _autumn_hour(field: Field) -> None:
    at = field.take(field.quotas["dst"])
    rows, dice = field.rows, field.dice
    rows.put("pickup_at", at, field.fall_back + dice.between(5_400, 7_199, len(at)))
    rows.last(at, -dice.between(2_405, 2_930, len(at)))
    rows.put("trip_distance", at, np.minimum(rows.get("trip_distance", at), 1_000))
    too_fast, still = first(at, 3), first(at, 4)
    rows.last(np.concatenate([too_fast, still]), -3_590)
    rows.put("trip_distance", too_fast, 300)
    rows.put("trip_distance", still, 0)
    field.truth.flag(at, "dst_fallback")
    field.truth.reject(too_fast, "impossible_speed")
    field.truth.reject(still, "no_movement")


def _long(field: Field) -> None:
    at = field.take(field.quotas["long"])
    rows, dice = field.rows, field.dice
    rows.last(at, 23 * HOUR + dice.below(3_600, len(at)))
    halfway = every(at, 25, 0)
    rows.last(halfway, dice.between(4 * HOUR + 1, 12 * HOUR, len(halfway)))
    rows.last(first(at, 1), DAY)
    rows.last(first(at, 2), 4 * HOUR + 1)
    _second_vendor(field, at)
    field.truth.flag(at, "long_duration")


def _second_vendor(field: Field, at: Ints, vendor: int = 2) -> None:
    """Changes the vendor, and with it what the total must be."""
    rows = field.rows
    counted = np.zeros(len(at), np.int64)
    for name in ("congestion_surcharge", *(("improvement_surcharge",) if field.service == "green" else ())):
        cents = rows.get(name, at)
        counted += np.where((rows.get("vendor_id", at) == 1) & (cents != NULL), cents, 0)
    rows.put("total_amount", at, rows.get("total_amount", at) + counted)
    rows.put("vendor_id", at, vendor)


def _edges(field: Field) -> None:
    """Rows that no rule may touch; the last is like the one without a distance, but its distance is not a number."""
    at = field.take(field.quotas["edges"])
    rows = field.rows
    rows.move(first(at, 0), field.start)
    rows.move(first(at, 1), field.end - 1)
    rows.last(first(at, 2), 4 * HOUR)
    rows.put("trip_distance", first(at, 3), 100)
    rows.last(first(at, 3), 36)
    rows.put("trip_distance", first(at, 4), 10_000)
    rows.last(first(at, 4), 3_600)
    dear = first(at, 5)
    rows.pay(dear, "tolls_amount", rows.get("tolls_amount", dear) + 100_000 - rows.get("total_amount", dear))
    rows.pay(first(at, 6), "fare_amount", 50_000)
    rows.put("total_amount", first(at, 7), rows.get("total_amount", first(at, 7)) + 1)
    rows.pay(first(at, 8), "tolls_amount", 0)
    rows.put("tolls_amount", first(at, 8), NULL)
    rows.put("trip_distance", first(at, 9), NULL)
    rows.put("passenger_count", first(at, 10), NULL)
    rows.put("payment_type", first(at, 10), 1)
    rows.put("rate_code", first(at, 11), NULL)
    rows.put("payment_type", first(at, 12), 0 if field.service == "yellow" else NULL)
    rows.put("passenger_count", first(at, 12), 2)
    _second_vendor(field, first(at, 13), NULL)
    rows.put("pickup_zone_id", first(at, 14), 263)
    rows.put("dropoff_zone_id", first(at, 14), 1)
    rows.put("passenger_count", first(at, 15), 6)
    rows.put("store_and_fwd", first(at, 16), NULL)
    rows.put("rate_code", first(at, 17), 99)
    for column in rows.columns.values():
        column[first(at, 18)] = column[at[9:10]][: len(first(at, 18))]
    rows.put("trip_distance", first(at, 18), NAN)
    field.truth.reject(first(at, 18), "value_invalid")


def _bad_distances(field: Field) -> None:
    """Mostly flex fares, where there are some; thousands of miles, a few below zero."""
    count = field.quotas["bad_distance"]
    flex = np.arange(field.main, len(field.rows))
    flex = flex[field.dice.order(len(flex))][: min(max(count - 2, 0), len(flex) // 8)]
    at = np.concatenate([field.take(count - len(flex)), flex])
    field.rows.put("trip_distance", at, field.dice.between(10_002, 4_600_000, len(at)))
    field.rows.put("trip_distance", every(at, 40, 0), -field.dice.between(1, 2_000, len(every(at, 40, 0))))
    field.rows.put("trip_distance", first(at, 1), 10_001)
    field.truth.flag(at, "bad_distance")


def _zero_distances(field: Field) -> None:
    at = field.take(field.quotas["zero_distance"])
    field.rows.put("trip_distance", at, 0)
    field.rows.last(first(at, 0), 60)
    field.truth.flag(at, "zero_distance")


def _unknown_zones(field: Field) -> None:
    at = field.kept(field.quotas["unknown_zone"])
    kind = field.dice.below(20, len(at))
    kind[:3] = np.arange(3)[: len(at)]
    rows = field.rows
    rows.put("pickup_zone_id", at[kind > 2], 264)
    rows.put("dropoff_zone_id", at[kind > 1], 264)
    rows.put("pickup_zone_id", at[kind == 1], 265)
    rows.put("dropoff_zone_id", at[kind == 0], 265)
    field.truth.flag(at, "unknown_zone")


def _unknown_passengers(field: Field) -> None:
    at = field.kept(field.quotas["passengers"], field.rows.get("passenger_count") != NULL)
    field.rows.put("passenger_count", at, np.where(np.arange(len(at)) % 500 == 1, 7 + np.arange(len(at)) % 3, 0))
    field.truth.flag(at, "passenger_unknown")


def _mismatches(field: Field) -> None:
    """Totals that are off by two cents to two dollars; never by a surcharge that flex fares may hide."""
    at = field.kept(field.quotas["mismatch"], field.rows.get("total_amount") < 99_000)
    off = field.dice.between(5, 200, len(at)) * np.where(field.dice.chance(0.3, len(at)), -1, 1)
    off[:1] = 2
    metered = field.truth.flags[at] & FLAGS["flex_fare"] == 0
    off = np.where(metered & field.dice.chance(0.4, len(at)), 250, off)
    field.rows.put("total_amount", at, field.rows.get("total_amount", at) + off)
    field.truth.flag(at, "total_mismatch")


def _unknown_codes(field: Field) -> None:
    """Vendor 4 as in 2018 and 2019, and codes that nobody has seen."""
    at = field.take(field.quotas["code"])
    field.rows.put("rate_code", first(at, 1), 98)
    field.rows.put("payment_type", first(at, 2), 7)
    vendor_4 = np.delete(at, [position for position in (1, 2) if position < len(at)])
    _second_vendor(field, vendor_4, 4)
    field.truth.flag(at, "unknown_code")
