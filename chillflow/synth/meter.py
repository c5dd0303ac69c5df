"""What a ride costs: the meter, the surcharges of its day, the tip."""

import datetime as dt

import numpy as np

from chillflow.months import Month
from chillflow.synth.city import DAY, HOUR, JFK, LAGUARDIA, NEWARK, epoch, zones
from chillflow.synth.dice import Dice, Ints, Mask
from chillflow.synth.eras import Era
from chillflow.synth.rows import COMPONENTS, NULL, Rows

_DEARER, _RISE_2012 = dt.date(2022, 12, 19), dt.date(2012, 9, 4)
CARD, CASH, NO_CHARGE, DISPUTE = 1, 2, 3, 4

TIPS = ((20, 520), (25, 100), (30, 42), (15, 55), (10, 43), (0, 43), (None, 197))
"""Per cent of the pre-tip total, and how many of a thousand card trips give it; None is a round sum of dollars."""

TOLLS = ((dt.date(2011, 1, 1), 480), (dt.date(2015, 3, 22), 554), (dt.date(2017, 3, 19), 576),
         (dt.date(2019, 3, 31), 612), (dt.date(2021, 4, 11), 655), (dt.date(2023, 8, 6), 694))  # fmt: skip


def charge(dice: Dice, service: str, month: Month, era: Era, rows: Rows, flex: Mask) -> None:
    """Fills rate codes, payment types and all money of `rows`, so that rule 19's sum is the total."""
    size = len(rows)
    _rate_codes(dice, service, rows, flex)
    _fares(dice, rows, flex)
    _surcharges(dice, service, rows, flex)
    _tolls(dice, rows)
    draws = dice.below(1000, size)
    card = 540 + 22 * min(max(month.year - 2011, 0), 12) if service == "yellow" else 650
    paid = np.select([draws < card, draws < 992, draws < 997], [CARD, CASH, NO_CHARGE], DISPUTE)
    absent = 0 if service == "yellow" else NULL
    rows.put("payment_type", slice(None), np.where(flex, absent, paid))
    for name in COMPONENTS:
        if era.blank(name):
            rows.put(name, slice(None), NULL)
    rows.put("congestion_surcharge", flex, NULL)
    if service == "yellow":
        rows.put("airport_fee", flex, NULL)
    _tips(dice, service, rows, flex)
    hidden = flex & dice.chance(0.88 if service == "yellow" else 0.27, size)
    rows.put("total_amount", slice(None), component_sum(service, rows) + hidden * (250 if service == "yellow" else 275))


def component_sum(service: str, rows: Rows) -> Ints:
    """Cents of all components, as the vendor counts them: what the total must be."""
    total = np.zeros(len(rows), dtype=np.int64)
    for name in COMPONENTS:
        total += _cents(rows, name)
    total -= np.where(rows.get("vendor_id") == 1, _cents(rows, "congestion_surcharge"), 0)
    if service == "green":
        total -= np.where(rows.get("vendor_id") == 1, _cents(rows, "improvement_surcharge"), 0)
    return total


def _cents(rows: Rows, name: str) -> Ints:
    cents = rows.get(name)
    return np.where(cents == NULL, 0, cents)


def _since(pickup: Ints, day: dt.date, after: int, before: int) -> Ints:
    return np.where(pickup >= epoch(day), after, before).astype(np.int64)


def _rate_codes(dice: Dice, service: str, rows: Rows, flex: Mask) -> None:
    start, end = rows.get("pickup_zone_id"), rows.get("dropoff_zone_id")
    manhattan = zones().within("core", "midtown_north", "uptown")
    airport_run = ((start == JFK) & np.isin(end, manhattan)) | ((end == JFK) & np.isin(start, manhattan))
    draws = dice.below(100_000, len(rows))
    agreed = draws < (600 if service == "yellow" else 3_400)
    rate = np.select([agreed, draws >= 99_998, draws >= 99_996, draws >= 99_920], [5, 6, 99, 4], 1)
    rate = np.where(airport_run & (rate == 1), 2, np.where((end == NEWARK) & (rate == 1), 3, rate))
    rows.put("rate_code", slice(None), np.where(flex, NULL, rate))
    if service == "green":
        rows.put("trip_type", slice(None), np.where(flex, NULL, np.where(agreed, 2, 1)))


def _fares(dice: Dice, rows: Rows, flex: Mask) -> None:
    pickup, hundredths, seconds = rows.get("pickup_at"), rows.get("trip_distance"), rows.seconds()
    waiting = np.maximum(seconds * 100 - hundredths * 144, 0) // 100
    units = -(-hundredths // 20) + waiting * 83 // 6000
    unit = _since(pickup, _DEARER, 70, 50) - _since(pickup, _RISE_2012, 0, 10)
    fare = _since(pickup, _DEARER, 300, 250) + units * unit
    flat = _since(pickup, _DEARER, 7000, 5200) - _since(pickup, _RISE_2012, 0, 700)
    rate = rows.get("rate_code")
    offered = np.maximum(fare * 5 // 4 // 100 * 100, 800)
    fare = np.select([rate == 2, rate == 3, rate == 5], [flat, fare + 1750, offered], fare)
    quoted = fare * dice.between(95, 130, len(rows)) // 100
    rows.put("fare_amount", slice(None), np.minimum(np.where(flex, quoted, fare), 40_000))


def _surcharges(dice: Dice, service: str, rows: Rows, flex: Mask) -> None:
    pickup, start, end = rows.get("pickup_at"), rows.get("pickup_zone_id"), rows.get("dropoff_zone_id")
    rate, vendor = rows.get("rate_code"), rows.get("vendor_id")
    hour, workday = pickup // HOUR % 24, (pickup // DAY + 3) % 7 < 5
    rush = workday & (hour >= 16) & (hour < 20)
    night = (hour >= 20) | (hour < 6)
    extra = np.select(
        [rush & (rate == 2), rush & (rate == 1), night & (rate == 1)],
        [_since(pickup, _DEARER, 500, 450), _since(pickup, _DEARER, 250, 100), _since(pickup, _DEARER, 100, 50)],
        0,
    )
    extra += np.where((service == "yellow") & (start == LAGUARDIA), _since(pickup, _DEARER, 500, 0), 0)
    improvement = _since(pickup, _DEARER, 100, 30) * (pickup >= epoch(dt.date(2015, 1, 1)))
    mta = np.where((rate == 3) | ((rate == 5) & (pickup % 2 == 0)) | ((service == "green") & flex), 0, 50)
    south = np.isin(start, zones().within("core", "midtown_north")) | np.isin(
        end, zones().within("core", "midtown_north")
    )
    congestion = south * _since(pickup, dt.date(2019, 2, 2), 250 if service == "yellow" else 275, 0)
    core = np.isin(start, zones().within("core")) | np.isin(end, zones().within("core"))
    at_airport = np.isin(start, (JFK, LAGUARDIA)) & (service == "yellow")
    vendor_1 = vendor == 1
    if service == "green":
        mta = mta + np.where(vendor_1 & ~flex, improvement, 0)
    unrecorded = pickup < epoch(dt.date(2019, 2, 1))
    unrecorded &= dice.chance(0.63, len(rows))
    values = {
        "extra": np.where(flex, 0, extra + np.where(vendor_1, congestion, 0)),
        "mta_tax": mta,
        "improvement_surcharge": improvement,
        "congestion_surcharge": np.where(unrecorded, NULL, congestion),
        "airport_fee": at_airport * (_since(pickup, dt.date(2022, 4, 1), 125, 0) + _since(pickup, _DEARER, 50, 0)),
        "cbd_congestion_fee": core * _since(pickup, dt.date(2025, 1, 5), 75, 0),
    }
    for name, cents in values.items():
        rows.put(name, slice(None), cents)


def _tolls(dice: Dice, rows: Rows) -> None:
    size, pickup = len(rows), rows.get("pickup_at")
    start, end = rows.get("pickup_zone_id"), rows.get("dropoff_zone_id")
    price = np.zeros(size, dtype=np.int64)
    for day, cents in TOLLS:
        price = np.where(pickup >= epoch(day), cents, price)
    likely = np.isin(start, (JFK, LAGUARDIA)) | np.isin(end, (JFK, LAGUARDIA))
    pays = np.where(likely, dice.chance(0.58, size), (rows.get("trip_distance") > 700) & dice.chance(0.16, size))
    newark = (end == NEWARK) | (start == NEWARK)
    rows.put("tolls_amount", slice(None), np.where(newark, 2 * price, np.where(pays, price, 0)))


def _tips(dice: Dice, service: str, rows: Rows, flex: Mask) -> None:
    size = len(rows)
    before = component_sum(service, rows)
    kind = dice.pick(np.array([weight for _, weight in TIPS]), size)
    per_cent = np.array([share or 0 for share, _ in TIPS])[kind]
    round_sum = (before * dice.between(8, 17, size) // 100 + 50) // 100 * 100
    tip = np.where(kind == len(TIPS) - 1, np.maximum(round_sum, 100), (before * per_cent + 50) // 100)
    gives = np.where(flex, dice.chance(0.55, size), rows.get("payment_type") == CARD)
    rows.put("tip_amount", slice(None), np.where(gives, np.minimum(tip, 20_000), 0))
    below_zero = flex & dice.chance(0.03, size)
    fare = rows.get("fare_amount")
    debt = dice.between(1, 800, size)
    rows.put("tip_amount", slice(None), np.where(below_zero, debt + 500 + fare % 1500, rows.get("tip_amount")))
    rows.put("fare_amount", slice(None), np.where(below_zero, -debt, fare))
