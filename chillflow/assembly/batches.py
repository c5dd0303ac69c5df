"""A partition's batch, grouped by trip."""

import datetime as dt
from dataclasses import dataclass, field

import msgspec

from chillflow.assembly.rows import Slots
from chillflow.events import SLOTS, Decoded, Slot, slot_of

_reading = {kind: (SLOTS[kind], slot_of[kind]) for kind in SLOTS}

BEGINNING = dt.datetime(1, 1, 1)


class Arrival(msgspec.Struct, gc=False):
    """A trip's events in one batch, merged; `high` is the greatest event time of the batch up to its first event."""

    service: str
    first_offset: int
    high: dt.datetime
    filled: list[Slot | None]

    @property
    def slots(self) -> Slots:
        started, ended, paid = self.filled
        return started, ended, paid


@dataclass
class Gathered:
    """A partition's batch, grouped by trip in order of first offset: what can be known without the state."""

    partition: int
    begin: int
    end: int
    trips: dict[str, Arrival] = field(default_factory=dict)
    high: dt.datetime | None = None
    events: int = 0
    duplicates: int = 0
    conflicting: int = 0


def gather(decoded: Decoded) -> Gathered:
    """Groups a partition's events by trip; of each slot the greatest revision stays."""
    polled = decoded.polled
    found = Gathered(polled.partition, polled.begin, polled.end, events=len(decoded.events))
    trips, high = found.trips, BEGINNING
    for event, offset in zip(decoded.events, decoded.offsets, strict=True):
        trip_id, at = event.trip_id, event.event_at
        if at > high:
            high = at
        which, slot = _reading[type(event)]
        new = slot(event)
        if trip_id not in trips:
            filled: list[Slot | None] = [None, None, None]
            filled[which] = new
            trips[trip_id] = Arrival(event.service, offset, high, filled)
            continue
        filled = trips[trip_id].filled
        if (old := filled[which]) is None:
            filled[which] = new
            continue
        if new[0] > old[0]:
            filled[which] = new
        found.duplicates += 1
        found.conflicting += new[0] == old[0] and new != old
    if trips:
        found.high = high
    return found
