"""Ordinary rides: nothing in them is rejected, fixed or flagged, but for flex fares."""

import numpy as np

from chillflow.months import Month
from chillflow.synth.city import DAY, HOUR, durations, epoch, pickup_times, routes, spring_forward
from chillflow.synth.dice import Dice, Ints, Mask
from chillflow.synth.eras import Era
from chillflow.synth.meter import charge
from chillflow.synth.rows import NULL, Rows

FLAGS = ("N", "Y")
SOURCES = ("street", "app")
"""What `store_and_fwd` and `request_source` point to."""

_KEY = ("vendor_id", "pickup_at", "dropoff_at", "pickup_zone_id", "dropoff_zone_id", "trip_distance", "total_amount")


def rides(dice: Dice, service: str, month: Month, era: Era, size: int, flexible: int) -> Rows:
    """`size` rides of the month, the last `flexible` of them with a flex fare."""
    flex = np.arange(size) >= size - flexible
    pickup = pickup_times(dice, month, size)
    if service == "green" or month.year >= 2024:
        pickup = np.where(flex, pickup // 60 * 60, pickup)
    start, end, hundredths = routes(dice, service, pickup, flex)
    seconds = durations(dice, service, month, pickup, hundredths)
    if service == "green":
        seconds = np.where(flex, np.maximum(seconds // 60, 2) * 60, seconds)
    rows = Rows.empty(size)
    rows.put("pickup_at", slice(None), pickup)
    rows.put("dropoff_at", slice(None), _wall(month, pickup, pickup + seconds))
    rows.put("pickup_zone_id", slice(None), start)
    rows.put("dropoff_zone_id", slice(None), end)
    rows.put("trip_distance", slice(None), hundredths)
    _people(dice, service, month, rows, flex)
    charge(dice, service, month, era, rows, flex)
    return rows


def _wall(month: Month, pickup: Ints, dropoff: Ints) -> Ints:
    """Rides across the hour that spring skips end an hour later by the wall."""
    gap = spring_forward(month.year)
    return np.where((pickup < gap) & (dropoff >= gap), dropoff + HOUR, dropoff)


def _people(dice: Dice, service: str, month: Month, rows: Rows, flex: Mask) -> None:
    size = len(rows)
    first = (370 if month.year < 2024 else 240) if service == "yellow" else 130
    draws = dice.below(1000, size)
    vendor = np.where(draws < first, 1, 2)
    if month.year >= 2024 and service == "yellow":
        vendor = np.where(draws == 999, 6, np.where((draws >= 985) & (month.year >= 2025) & (draws < 999), 7, vendor))
    vendor = np.where(flex & (month.year < 2021), NULL, np.where(flex & (vendor != 1), 2, vendor))
    rows.put("vendor_id", slice(None), vendor)
    alone = np.array([790, 140, 40, 30, 0, 0])
    company = np.array([690, 160, 45, 15, 55, 35])
    passengers = 1 + np.where(vendor == 1, dice.pick(alone, size), dice.pick(company, size))
    rows.put("passenger_count", slice(None), np.where(flex, NULL, passengers))
    stored = np.where(vendor == 1, dice.chance(0.014, size), False)
    rows.put("store_and_fwd", slice(None), np.where(flex, NULL, stored))
    rows.put("request_source", slice(None), np.where(flex, 1, 0))


def tell_apart(rows: Rows) -> None:
    """Makes all natural keys distinct: of two equal rows one ends in the next zone, or costs a cent more."""
    while True:
        keys = _fingerprints(rows)
        order = np.argsort(keys, kind="stable")
        again = order[1:][keys[order][1:] == keys[order][:-1]]
        if not len(again):
            return
        zone = rows.get("dropoff_zone_id", again)
        known = (zone >= 1) & (zone <= 263)
        rows.put("dropoff_zone_id", again[known], zone[known] % 263 + 1)
        rest = again[~known]
        cent = np.where(rows.get("total_amount", rest) < 0, -1, 1)
        rows.put("fare_amount", rest, rows.get("fare_amount", rest) + cent)
        rows.put("total_amount", rest, rows.get("total_amount", rest) + cent)


def _fingerprints(rows: Rows) -> Ints:
    mixed = np.zeros(len(rows), dtype=np.uint64)
    for name in _KEY:
        values = rows.get(name)
        if name == "total_amount":
            values = np.where(values > -(2**31) + 2, np.abs(values), values)
        mixed = (mixed ^ values.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed.view(np.int64)


def sort_keys(dice: Dice, month: Month, rows: Rows) -> Ints:
    """Where rows stand in the file: roughly by pickup, with room beside each for its reversal."""
    late = dice.below(HOUR // 2, len(rows))
    return (rows.get("pickup_at") - epoch(month.date) + late) * 4


def anywhere(dice: Dice, month: Month, size: int) -> Ints:
    """Sort keys anywhere in the month's file."""
    days = (month.next.date - month.date).days
    return dice.below(days * DAY, size) * 4
