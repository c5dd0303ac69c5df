"""Where settled trips belong: curation's rules for trips and pairs, by the batch path's own code."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from chillflow.assembly import ServiceMonth, Settled, Table, month_of
from chillflow.curation import REVISIONS, curate_trips
from chillflow.events import ENDED, ODD, PAID, STARTED, key_of
from chillflow.reading import EPOCH, microseconds
from chillflow.trips import MONEY, RAW_COLUMNS, SERVICE, SERVICES, ids_of, no_ids

Hour = tuple[str, int, dt.datetime]
"""(service, zone_id, beginning of the hour): a cell of the KPIs."""

NOT_IN_FILE = "not_in_file"
_MICROSECONDS = 3_600_000_000
_ZONES = 1 << 32

_TIME = pl.Datetime("us")
_KINDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "service": SERVICE,
    "trip_distance": pl.Float64,
    "store_and_fwd": pl.String,
    "request_source": pl.String,
}
_ORDER = ["trip_id", *REVISIONS, *RAW_COLUMNS]


@dataclass(frozen=True)
class Placed:
    """What a transaction writes: rows that are `gone` are deleted by table and id, then the rest is inserted.

    The frames are in the kernels' form (trips.py): columns of TRIPS, QUARANTINE (source_row and unrepresentable null)
    and ADJUSTMENTS, each with REVISIONS. `incomplete` are trips that lack a slot. `dirty` are the KPI hours touched.
    """

    gone: dict[Table, list[str]]
    trips: pl.DataFrame
    quarantine: pl.DataFrame
    adjustments: pl.DataFrame
    incomplete: Sequence[Settled]
    dirty: frozenset[Hour] = field(default=frozenset())


def originals_of(settled: Iterable[Settled]) -> list[str]:
    """The ids whose reversals have to be looked for in `adjustments` before `place`."""
    return [trip.trip_id for trip in settled if trip.trip_id[-1] not in ODD and None not in trip.slots]


def place(settled: Sequence[Settled], taken_back: Collection[str], loaded: Collection[ServiceMonth] = ()) -> Placed:
    """Judges settled trips. `taken_back` are those that have a reversal in `adjustments`.

    A trip of a month that has a loaded file, but not this trip, is `not_in_file`.
    """
    complete = [trip for trip in settled if None not in trip.slots]
    judged = [trip for trip in complete if not _is_loaded(trip, loaded)] if loaded else complete
    anew = {key_of(trip.trip_id) for trip in judged if trip.trip_id[-1] in ODD}
    originals = sorted(set(taken_back) - anew)
    curated = curate_trips(frame_of(judged), ids_of(originals) if originals else no_ids())
    quarantine = curated.quarantine
    if len(judged) < len(complete):
        quarantine = pl.concat([quarantine, _not_in_file([trip for trip in complete if _is_loaded(trip, loaded)])])
    gone: dict[Table, list[str]] = {}
    for trip in settled:
        if trip.was is not None:
            gone.setdefault(trip.was.table, []).append(trip.trip_id)
    return Placed(
        gone=gone,
        trips=curated.trips,
        quarantine=quarantine,
        adjustments=curated.adjustments,
        incomplete=[trip for trip in settled if not trip.complete],
        dirty=frozenset(_left_behind(settled) | _hours(curated.trips, quarantine, curated.adjustments)),
    )


def frame_of(trips: Sequence[Settled]) -> pl.DataFrame:
    """Complete trips as a frame of raw columns, trip_id and REVISIONS."""
    columns = {"trip_id": ids_of([trip.trip_id for trip in trips])}
    columns["service"] = pl.Series("service", [trip.service for trip in trips], SERVICE)
    for number, (names, revision) in enumerate(zip((STARTED, ENDED, PAID), REVISIONS, strict=True)):
        slots = [trip.slots[number] for trip in trips]
        values = zip(*slots, strict=True) if slots else [()] * (len(names) + 1)
        columns |= {name: _column(name, of_all) for name, of_all in zip((revision, *names), values, strict=True)}
    return pl.DataFrame([columns[name] for name in _ORDER])


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """A column of events' values in the kernels' form: all values are of the column's type, or None."""
    if name in MONEY:
        dollars = np.fromiter(values, np.float64, len(values))  # None becomes NaN
        there = ~np.isnan(dollars)
        cents = np.rint(np.where(there, dollars, 0) * 100).astype(np.int32)
        valid = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
        return pl.Series(name, pa.Array.from_buffers(pa.int32(), len(cents), [valid, pa.py_buffer(cents)]))
    if name in ("pickup_at", "dropoff_at"):
        if None in values:
            return pl.Series(name, values, _TIME)
        return pl.Series(name, microseconds(values).view("datetime64[us]"))
    return pl.Series(name, values, _KINDS.get(name, pl.Int32))


def _is_loaded(trip: Settled, loaded: Collection[ServiceMonth]) -> bool:
    return bool(loaded) and (trip.service, month_of(trip.trip_id)) in loaded


def _not_in_file(trips: Sequence[Settled]) -> pl.DataFrame:
    nothing = {"source_row": pl.lit(None, pl.Int64), "unrepresentable": pl.lit(None, pl.String)}
    frame = frame_of(trips).with_columns(**nothing, reason=pl.lit(NOT_IN_FILE))
    return frame.select("trip_id", *RAW_COLUMNS, *nothing, "reason", *REVISIONS)


def _left_behind(settled: Iterable[Settled]) -> set[Hour]:
    """The hours that the rows which are replaced were counted in."""
    found: set[Hour] = set()
    for trip in settled:
        if (row := trip.was) is None or None in row.slots:
            continue
        started, ended, _ = row.slots
        assert started is not None
        assert ended is not None
        found |= _cell(row.service, started[3], started[2])
        found |= _cell(row.service, ended[2], row.dropoff_at or ended[1])
    return found


def _cell(service: str, zone: int | None, at: dt.datetime) -> set[Hour]:
    return set() if zone is None else {(service, zone, at.replace(minute=0, second=0, microsecond=0))}


def _cells(zone: str, at: str) -> pl.Expr:
    """Each (hour, zone, service) as one integer, null where the zone is."""
    hour = pl.col(at).to_physical() // _MICROSECONDS
    place = hour * _ZONES + pl.col(zone).cast(pl.Int64) + _ZONES // 2
    return place * len(SERVICES) + pl.col("service").to_physical()


_ENDS = ["service", "pickup_zone_id", "pickup_at", "dropoff_zone_id", "dropoff_at"]
_BOTH_ENDS = _cells("pickup_zone_id", "pickup_at").append(_cells("dropoff_zone_id", "dropoff_at"))


def _hours(*frames: pl.DataFrame) -> set[Hour]:
    """The hours of both ends of all rows."""
    some = [frame[_ENDS] for frame in frames if len(frame)]
    if not some:
        return set()
    cells = pl.concat(some).select(cell=_BOTH_ENDS.drop_nulls().unique())["cell"]
    found = set()
    for cell in cells.to_list():
        place, service_number = divmod(cell, len(SERVICES))
        hour, zone_number = divmod(place, _ZONES)
        found.add((SERVICES[service_number], zone_number - _ZONES // 2, _hour(hour)))
    return found


@lru_cache(4096)
def _hour(number: int) -> dt.datetime:
    return EPOCH + number * dt.timedelta(hours=1)
