"""Rows that must not become trips, one function for each rule.

The first rows of each plant hold the case beside the edge and the cases that a later rule would claim too, the rest are
as in the city's files.
"""

import datetime as dt

import numpy as np

from chillflow.synth.city import DAY, epoch
from chillflow.synth.dice import Ints
from chillflow.synth.field import Field
from chillflow.synth.rows import HUGE, INFINITE, MINUS_HUGE, NAN, NO_TIME, NULL


def first(at: Ints, position: int) -> Ints:
    """The row at a position of a plant, if the plant is large enough to have it."""
    return at[position : position + 1]


def every(at: Ints, step: int, offset: int) -> Ints:
    return at[offset::step]


def plant_faults(field: Field) -> None:
    """Plants all of them, in the order of their rules."""
    _missing_times(field)
    _outside_month(field)
    _invalid_values(field)
    _invalid_zones(field)
    _orphans(field)
    _zero_totals(field)
    _nonpositive(field)
    _over_a_day(field)
    _no_movement(field)
    _absurd_money(field)
    _impossible_speed(field)


def _missing_times(field: Field) -> None:
    at = field.take(field.quotas["ts_missing"])
    field.rows.put("pickup_at", every(at, 2, 0), NO_TIME)
    field.rows.put("dropoff_at", every(at, 2, 1), NO_TIME)
    field.rows.put("dropoff_at", first(at, 2), NO_TIME)
    field.rows.put("pickup_zone_id", first(at, 3), 0)
    field.truth.reject(at, "ts_missing")


def _outside_month(field: Field) -> None:
    at = field.take(field.quotas["outside"])
    rows, spare = field.rows, field.dice.below(4 * 3600, len(at))
    rows.move(at, np.where(np.arange(len(at)) % 2, field.end + spare, field.start - 1 - spare))
    clocks = (dt.date(2001, 1, 1), dt.date(2008, 12, 31), dt.date(2002, 10, 20), dt.date(2088, 1, 24))
    for position, day in enumerate(clocks):
        rows.move(first(at, position), epoch(day) + 300 + position)
    rows.move(first(at, 4), field.start - 1)
    rows.move(first(at, 5), field.end)
    rows.put("pickup_zone_id", first(at, 6), 0)
    rows.negate(first(at, 7))
    rows.put("total_amount", first(at, 8), NULL)
    field.truth.reject(at, "pickup_outside_file_month")


def _invalid_values(field: Field) -> None:
    at = field.take(field.quotas["value_invalid"])
    marks = (
        ("total_amount", NULL), ("trip_distance", NAN), ("total_amount", NAN), ("fare_amount", HUGE),
        ("total_amount", INFINITE), ("trip_distance", INFINITE), ("total_amount", MINUS_HUGE), ("total_amount", HUGE),
        ("extra", MINUS_HUGE),
    )  # fmt: skip
    for position, (name, mark) in enumerate(marks):
        field.rows.put(name, every(at, len(marks), position), mark)
    field.rows.put("dropoff_zone_id", first(at, 9), 266)
    field.truth.reject(at, "value_invalid")


def _invalid_zones(field: Field) -> None:
    at = field.take(field.quotas["zone_invalid"])
    cases = (("pickup_zone_id", 0), ("dropoff_zone_id", 266), ("pickup_zone_id", NULL), ("dropoff_zone_id", NULL),
             ("pickup_zone_id", 999), ("dropoff_zone_id", 0))  # fmt: skip
    for position, (name, zone) in enumerate(cases):
        field.rows.put(name, every(at, len(cases), position), zone)
    field.rows.negate(first(at, 0))
    _free_of_charge(field, first(at, 1))
    field.rows.last(first(at, 2), -5000)
    field.truth.reject(at, "zone_invalid")


def _orphans(field: Field) -> None:
    at = field.take(field.quotas["orphans"])
    field.rows.last(first(at, 0), 0)
    field.rows.put("trip_distance", first(at, 1), -50)
    field.rows.put("pickup_zone_id", first(at, 2), 264)
    field.rows.pay(first(at, 3), "fare_amount", 120_000)
    field.rows.negate(at)
    field.truth.reject(at, "reversal")


def _zero_totals(field: Field) -> None:
    at = field.take(field.quotas["zero_total"])
    _free_of_charge(field, at)
    field.rows.last(first(at, 1), 0)
    field.rows.put("trip_distance", first(at, 2), 0)
    field.rows.last(first(at, 2), 30)
    field.rows.last(first(at, 3), 2 * DAY)
    field.truth.reject(at, "zero_total")


def _free_of_charge(field: Field, at: Ints) -> None:
    for name in ("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "total_amount"):
        field.rows.put(name, at, 0)
    for name in ("improvement_surcharge", "congestion_surcharge", "airport_fee", "cbd_congestion_fee"):
        field.rows.put(name, at, np.where(field.rows.get(name, at) == NULL, NULL, 0))


def _nonpositive(field: Field) -> None:
    at = field.take(field.quotas["nonpositive"])
    rows = field.rows
    backwards = -field.dice.between(1, 5_000, len(at)) * (np.arange(len(at)) % 3 == 1)
    rows.last(at, np.where(field.autumn_night(at), 0, backwards))
    rows.put("trip_distance", first(at, 2), 0)
    rows.pay(first(at, 3), "fare_amount", 130_000)
    if field.month.number == 11:
        rows.move(first(at, 4), field.fall_back + 3600 + 900)
        rows.last(first(at, 4), -3600)
        rows.move(first(at, 5), field.fall_back + 2 * 3600)
        rows.last(first(at, 5), -1200)
    field.truth.reject(at, "nonpositive_duration")


def _over_a_day(field: Field) -> None:
    at = field.take(field.quotas["over_24h"])
    field.rows.last(at, DAY + field.dice.between(1, 5 * DAY, len(at)))
    field.rows.last(first(at, 0), DAY + 1)
    field.rows.pay(first(at, 1), "fare_amount", 130_000)
    field.rows.put("trip_distance", first(at, 2), 0)
    field.truth.reject(at, "duration_over_24h")


def _no_movement(field: Field) -> None:
    at = field.take(field.quotas["no_movement"])
    field.rows.put("trip_distance", at, 0)
    field.rows.last(at, field.dice.between(1, 59, len(at)))
    field.rows.last(first(at, 0), 59)
    field.rows.pay(first(at, 1), "fare_amount", 65_535)
    field.rows.put("pickup_zone_id", first(at, 2), 264)
    field.truth.reject(at, "no_movement")


def _absurd_money(field: Field) -> None:
    at = field.take(field.quotas["absurd"])
    rows = field.rows
    rows.pay(at, "fare_amount", field.dice.between(50_002, 90_000, len(at)))
    toll = first(at, 0)
    rows.pay(toll, "fare_amount", 30_000)
    rows.pay(toll, "tolls_amount", rows.get("tolls_amount", toll) + 100_001 - rows.get("total_amount", toll))
    rows.pay(first(at, 1), "fare_amount", 50_001)
    rows.put("trip_distance", first(at, 2), 9_000)
    rows.last(first(at, 2), 60)
    rows.pay(first(at, 3), "fare_amount", 399_889)
    rows.put("trip_distance", first(at, 4), 0)
    field.truth.reject(at, "absurd_money")


def _impossible_speed(field: Field) -> None:
    at = field.take(field.quotas["speed"])
    rows = field.rows
    longest = (rows.get("trip_distance", at) * 36 - 1) // 100
    rows.last(at, 1 + field.dice.below(np.minimum(longest, 120), len(at)))
    rows.put("trip_distance", first(at, 0), 10_000)
    rows.last(first(at, 0), 60)
    rows.put("trip_distance", first(at, 1), 101)
    rows.last(first(at, 1), 36)
    field.truth.reject(at, "impossible_speed")
