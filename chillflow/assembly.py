"""The state machine of assembly: pure, (state, batch, known) -> (changes, output). docs/assembly.md has the protocol.

The state is never changed in place: `step` returns what to change, and `State.apply` does it once PostgreSQL has
confirmed the commit. So every retry starts from the same state.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from chillflow.events import Slot
from chillflow.months import Month

Table = Literal["trips", "quarantine", "adjustments", "incomplete_trips"]


@dataclass(frozen=True)
class Known:
    """A trip that PostgreSQL has: the table, and its slots with raw values and revisions (None where missing).

    `dropoff_at` is the dropoff as stored, after fixes: the hour that its KPIs were counted in (trips only).
    """

    trip_id: str
    service: str
    table: Table
    slots: tuple[Slot | None, Slot | None, Slot | None]
    dropoff_at: dt.datetime | None = None


@dataclass(frozen=True)
class Settled:
    """A trip whose slots are to be written: all three are there, or it is incomplete. `was` is the row it replaces."""

    trip_id: str
    service: str
    slots: tuple[Slot | None, Slot | None, Slot | None]
    was: Known | None = None


Hour = tuple[str, int, dt.datetime]
"""(service, zone_id, beginning of the hour): a cell of the KPIs."""


@dataclass(frozen=True)
class Placed:
    """What a transaction writes, in this order: `gone` rows are deleted by table, then the frames are inserted.

    The frames are in the kernels' form (see trips.py): columns of TRIPS, QUARANTINE (source_row and unrepresentable
    null), ADJUSTMENTS, each with started_revision, ended_revision, paid_revision (Int32). `incomplete` are trips with
    a missing slot. `dirty` are the KPI hours touched, old and new.
    """

    gone: Mapping[Table, Sequence[str]]
    trips: pl.DataFrame
    quarantine: pl.DataFrame
    adjustments: pl.DataFrame
    incomplete: Sequence[Settled]
    dirty: frozenset[Hour] = field(default=frozenset())


def month_of(trip_id: str) -> Month:
    """The month of the pickup that an id begins with."""
    raise NotImplementedError
