"""Trips as assembly and PostgreSQL tell each other of them: slots, known rows, trips to write."""

import datetime as dt
from typing import Literal

import msgspec

from chillflow.events import Slot
from chillflow.months import Month

Table = Literal["trips", "quarantine", "adjustments", "incomplete_trips"]
Slots = tuple[Slot | None, Slot | None, Slot | None]
ServiceMonth = tuple[str, Month]


class Known(msgspec.Struct, frozen=True, gc=False):
    """A trip that PostgreSQL has: the table, and its slots with raw values and revisions (None where missing).

    `dropoff_at` is the dropoff as stored, after fixes: the hour that its KPIs were counted in.
    """

    trip_id: str
    service: str
    table: Table
    slots: Slots
    dropoff_at: dt.datetime | None = None


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A trip to be written with these slots, as a whole or incomplete; `was` is the row that it replaces."""

    trip_id: str
    service: str
    slots: Slots
    was: Known | None = None

    @property
    def complete(self) -> bool:
        return None not in self.slots


def merged(old: Slots, new: Slots) -> Slots:
    """Of each slot the greater revision; the old one where they are equal."""
    return _greater(old[0], new[0]), _greater(old[1], new[1]), _greater(old[2], new[2])


def _greater(old: Slot | None, new: Slot | None) -> Slot | None:
    return new if old is None or (new is not None and new[0] > old[0]) else old


def revisions(slots: Slots) -> tuple[int, int, int]:
    """The revision of each slot, -1 for a missing one (rows of a file have revision 0)."""
    started, ended, paid = slots
    return (
        -1 if started is None else started[0],
        -1 if ended is None else ended[0],
        -1 if paid is None else paid[0],
    )
