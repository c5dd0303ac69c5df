"""Rows of the four tables as plain values, so that what was stored can be compared with what should have been."""

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import polars as pl

from chillflow.assembly import Known, Settled, Slots, Table
from chillflow.events import ENDED, PAID, STARTED
from chillflow.placing import Placed

_REVISIONS = ("started_revision", "ended_revision", "paid_revision")
_COLUMNS = ("trip_id", "service", *_REVISIONS, *STARTED, *ENDED, *PAID)
_ENDED = 5 + len(STARTED)
_PAID = _ENDED + len(ENDED)
_LAST = _PAID + len(PAID)
_DROPOFF, _PASSENGERS, _DISTANCE = (_COLUMNS.index(name) for name in ("dropoff_at", "passenger_count", "trip_distance"))


class Row(NamedTuple):
    """A row that stands for a trip: raw slots with their revisions, and what else its table says.

    `reason` is quarantine's; `stored` is what a trip has after fixes: (dropoff, passengers, distance, flags).
    """

    table: Table
    service: str
    slots: Slots
    reason: str | None = None
    stored: tuple[Any, ...] = ()

    def known(self, trip_id: str) -> Known:
        dropoff: dt.datetime | None = self.stored[0] if self.stored else self.slots[1][1] if self.slots[1] else None
        return Known(trip_id, self.service, self.table, self.slots, dropoff)

    def hours(self) -> Iterator[tuple[str, int, dt.datetime]]:
        """The cells of the KPIs that a whole trip belongs to: those of its pickup and of its dropoff."""
        started, ended, paid = self.slots
        if started is None or ended is None or paid is None:
            return
        for zone, at in ((started[3], started[2]), (ended[2], self.stored[0] if self.stored else ended[1])):
            if zone is not None:
                yield self.service, zone, at.replace(minute=0, second=0, microsecond=0)


def rows_of(placed: Placed) -> dict[str, Row]:
    """What a transaction inserts, by trip id; raises AssertionError where a trip is there twice."""
    found: dict[str, Row] = {}
    for trip_id, row in _rows(placed):
        assert trip_id not in found, f"{trip_id} is to be written to {found[trip_id].table} and to {row.table}"
        found[trip_id] = row
    return found


def _rows(placed: Placed) -> Iterator[tuple[str, Row]]:
    for trip in placed.incomplete:
        yield trip.trip_id, _incomplete(trip)
    for values in _values(placed.trips, ("flags", "raw")):
        stored = (values[_DROPOFF], values[_PASSENGERS], values[_DISTANCE], values[_LAST])
        yield _text(values[0]), Row("trips", values[1], _slots(_before_fixes(values)), None, stored)
    for values in _values(placed.quarantine, ("reason",)):
        yield _text(values[0]), Row("quarantine", values[1], _slots(values), values[_LAST])
    for values in _values(placed.adjustments):
        yield _text(values[0]), Row("adjustments", values[1], _slots(values))


def _incomplete(trip: Settled) -> Row:
    assert not trip.complete, f"{trip.trip_id} is whole, and to be written as incomplete"
    return Row("incomplete_trips", trip.service, trip.slots)


def _values(frame: pl.DataFrame, more: Iterable[str] = ()) -> list[tuple[Any, ...]]:
    return frame.select(*_COLUMNS, *more).rows() if len(frame) else []


def _before_fixes(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if values[_LAST + 1] is None:
        return values
    raw, found = json.loads(values[_LAST + 1]), list(values)
    if "dropoff_at" in raw:
        raw["dropoff_at"] = dt.datetime.fromisoformat(raw["dropoff_at"])
    for name, value in raw.items():
        found[_COLUMNS.index(name)] = value
    return tuple(found)


def _slots(values: tuple[Any, ...]) -> Slots:
    money = (None if cents is None else cents / 100 for cents in values[_PAID + 1 : _LAST])
    return (
        (values[2], *values[5:_ENDED]),
        (values[3], *values[_ENDED:_PAID]),
        (values[4], values[_PAID], *money),
    )


def _text(number: int) -> str:
    return str(uuid.UUID(int=number))
