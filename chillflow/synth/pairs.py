"""Rows that stand in two places: reversals with their originals, and duplicates."""

import numpy as np

from chillflow.synth.city import DAY
from chillflow.synth.dice import Ints
from chillflow.synth.faults import every, first
from chillflow.synth.field import Field
from chillflow.synth.meter import DISPUTE, NO_CHARGE
from chillflow.synth.rides import anywhere
from chillflow.synth.rows import NAN, NULL, Rows
from chillflow.synth.truth import REASONS, Truth


def plant_originals(field: Field) -> Ints:
    """Makes rows into originals of reversals, some of them faulty otherwise too."""
    at = field.take(field.quotas["reversed"])
    rows = field.rows
    rows.put("payment_type", at, np.where(field.dice.chance(0.6, len(at)), NO_CHARGE, DISPUTE))
    rows.pay(at, "tip_amount", 0)
    still = every(at, 5, 0)
    rows.put("trip_distance", still, 0)
    rows.last(still, field.dice.between(1, 59, len(still)))
    rows.last(first(at, 1), 0)
    rows.pay(first(at, 2), "fare_amount", 120_000)
    rows.put("trip_distance", first(at, 3), -50)
    rows.put("passenger_count", first(at, 4), 0)
    rows.last(first(at, 6), 2 * DAY)
    field.truth.reject(at, "reversed_original")
    return at


def reversals(field: Field, originals: Ints, keys: Ints) -> tuple[Rows, Truth, Ints]:
    """The mirror of each original: mostly beside it, one in seven anywhere in the file."""
    rows, truth = field.rows.take(originals), Truth.of_trips(len(originals))
    rows.negate(np.arange(len(originals)))
    truth.reject(np.arange(len(originals)), "reversal")
    beside = keys[originals] + np.where(field.dice.chance(0.5, len(originals)), 1, -1)
    far = field.dice.below(7, len(originals)) == 0
    far[5:7] = True
    return rows, truth, np.where(far, anywhere(field.dice, field.month, len(originals)), beside)


def duplicates(field: Field) -> Ints:
    """Which rows come again: trips (one of them twice), a flex fare, rows that another rule rejects or adjusts.

    Marks them as copies.
    """
    count = field.quotas["copies"]
    reason = field.truth.reason
    sources = [np.flatnonzero(reason == 1 + REASONS.index(name))[-1:] for name in _AGAIN]
    invalid = np.flatnonzero(reason == 1 + REASONS.index("value_invalid"))
    sources += [invalid[field.rows.get("total_amount", invalid) == NULL][:1]]
    sources += [invalid[field.rows.get("trip_distance", invalid) == NAN][:1]]
    flex = np.flatnonzero(reason == 0)[-1:] if field.quotas.flexible else reason[:0].astype(np.int64)
    trips = field.take(count)
    found = np.concatenate([*sources, flex, trips[:1], trips])[:count]
    sources_of = np.unique(found)
    field.truth.copies[sources_of] = 1 + np.arange(len(sources_of))
    return found


_AGAIN = ("reversal", "reversed_original", "no_movement")
