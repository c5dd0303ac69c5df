"""Trips as events, from a seed: few values, so that every rule, reversals, corrections and late events occur.

The ids are real ones (pickup, sign), their hash is a counter: what a trip holds may be revised, its id never changes.
"""

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from chillflow.assembly import Settled, Slots
from chillflow.curation import Curated, curate_trips
from chillflow.events import Decoded, Event, PaymentProcessed, Polled, TripEnded, TripStarted, event_id, slot_of
from chillflow.placing import frame_of
from chillflow.trips import no_ids

DAY = dt.datetime(2018, 11, 4)
KINDS = (TripStarted, TripEnded, PaymentProcessed)
TAGS = ("trip_started", "trip_ended", "payment_processed")


@dataclass(frozen=True)
class Ride:
    """A trip's events by slot, each slot's by ascending revision: the last of each slot is the truth."""

    trip_id: str
    events: tuple[tuple[Event, ...], tuple[Event, ...], tuple[Event, ...]]

    @property
    def slots(self) -> Slots:
        started, ended, paid = (slot_of[type(events[-1])](events[-1]) for events in self.events)
        return started, ended, paid

    def all(self) -> list[Event]:
        return [event for slot in self.events for event in slot]


def rides(seed: int, number: int = 12, service: str = "yellow", spread: int = 7200) -> list[Ride]:
    """Rides whose pickups lie `spread` seconds apart at the most; some are reversals of others."""
    dice = random.Random(seed)
    found: list[Ride] = []
    for count in range(number):
        pickup = DAY + dt.timedelta(seconds=dice.randrange(spread))
        found.append(_ride(dice, count, pickup, service, reversal=False))
        if dice.random() < 0.25:
            found.append(_ride(dice, count, pickup, service, reversal=True))
    return found


def _ride(dice: random.Random, count: int, pickup: dt.datetime, service: str, *, reversal: bool) -> Ride:
    milliseconds = (pickup - dt.datetime(1970, 1, 1)) // dt.timedelta(milliseconds=1)
    text = f"{milliseconds:012x}8abc9def{count:011x}{int(reversal):x}"
    trip_id = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    sign = -1 if reversal else 1
    events = []
    for slot, (kind, tag) in enumerate(zip(KINDS, TAGS, strict=True)):
        revisions = sorted(dice.sample(range(1, 6), dice.choice((1, 1, 1, 2, 3))))
        events.append(tuple(
            kind(
                schema_version=1, event_id=event_id(trip_id, tag, revision), trip_id=trip_id, service=service,
                revision=revision, **_values(dice, slot, pickup, sign),
            )
            for revision in revisions
        ))  # fmt: skip
    return Ride(trip_id, (events[0], events[1], events[2]))


def _values(dice: random.Random, slot: int, pickup: dt.datetime, sign: int) -> dict[str, Any]:
    pick = dice.choice
    if slot == 0:
        return {
            "event_at": pickup, "pickup_at": pickup, "vendor_id": pick((1, 2, 4, None)),
            "pickup_zone_id": pick((1, 7, 132, 264, 266)) if dice.random() < 0.2 else 7,
            "passenger_count": pick((None, 0, 1, 2, 9)), "rate_code": pick((None, 1, 99)),
            "store_and_fwd": pick((None, "Y", "N")), "trip_type": pick((None, 1)), "request_source": None,
        }  # fmt: skip
    seconds = pick((0, 40, 600, 1200, 4000, 20_000, 90_000, -2000))
    dropoff = pickup + dt.timedelta(seconds=seconds)
    at = min(max(dropoff, pickup), pickup + dt.timedelta(hours=24))
    if slot == 1:
        distance = pick((None, 0.0, 1.5, 2.25, 101.0, 60.0))
        return {"event_at": at, "dropoff_at": dropoff, "dropoff_zone_id": pick((7, 8, 265)), "trip_distance": distance}
    money = {name: pick((None, 0.0, 0.5, 2.5, -1.25)) for name in (
        "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge", "congestion_surcharge",
        "airport_fee", "cbd_congestion_fee")}  # fmt: skip
    total = sign * pick((0.01, 7.3, 12.55, 1000.01)) if sign < 0 else pick((0.0, 7.3, 12.55, 1000.01))
    return {"event_at": at, "payment_type": pick((None, 0, 1, 2, 9)), "fare_amount": pick((None, 5.0, -3.0, 501.0)),
            "total_amount": total, **money}  # fmt: skip


def decoded(events: Sequence[Event], begin: int = 0, partition: int = 0) -> Decoded:
    """Events as a partition's batch that begins at this offset."""
    offsets = list(range(begin, begin + len(events)))
    polled = Polled(partition, begin, begin + len(events), offsets, [], [])
    return Decoded(polled, list(events), offsets, [])


def truth(found: Iterable[Ride]) -> dict[str, tuple[Any, ...]]:
    """What must become of the rides, by the batch path's fold: id -> (table, reason, every column)."""
    return rows_of(curate_trips(frame_of([Settled(ride.trip_id, "yellow", ride.slots) for ride in found]), no_ids()))


def rows_of(curated: Curated) -> dict[str, tuple[Any, ...]]:
    return {
        row["trip_id"]: (table, *(value for name, value in row.items() if name != "trip_id"))
        for table, frame in (
            ("trips", curated.trips), ("quarantine", curated.quarantine), ("adjustments", curated.adjustments)
        )
        for row in frame.with_columns(pl.col("trip_id").cast(pl.String)).iter_rows(named=True)
    }  # fmt: skip
