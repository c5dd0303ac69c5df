"""A partition's batch, grouped by trip."""

import datetime as dt
from dataclasses import dataclass, field

from chillflow.assembly.rows import Slots
from chillflow.events import SLOTS, Decoded, Slot, slot_of

BEGINNING = dt.datetime(1, 1, 1)


@dataclass
class Arrival:
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
        kind = type(event)
        if event.event_at > high:
            high = event.event_at
        arrival = trips.get(event.trip_id)
        if arrival is None:
            arrival = trips[event.trip_id] = Arrival(event.service, offset, high, [None, None, None])
        new, which = slot_of[kind](event), SLOTS[kind]
        slot = arrival.filled[which]
        if slot is None or new[0] > slot[0]:
            arrival.filled[which] = new
        found.duplicates += slot is not None
        found.conflicting += slot is not None and slot[0] == new[0] and slot != new
    if trips:
        found.high = high
    return found
