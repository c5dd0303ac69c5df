"""Where settled trips belong: curation's rules for trips and pairs, by the batch path's own code."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from chillflow.assembly import ServiceMonth, Settled, Table, month_of
from chillflow.curation import REVISIONS, curate_trips
from chillflow.events import ENDED, PAID, STARTED, is_reversal, key_of
from chillflow.trips import MONEY, RAW_COLUMNS, SERVICE, ids_of_text, no_ids

Hour = tuple[str, int, dt.datetime]
"""(service, zone_id, beginning of the hour): a cell of the KPIs."""

NOT_IN_FILE = "not_in_file"

_KINDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "pickup_at": pl.Datetime("us"),
    "dropoff_at": pl.Datetime("us"),
    "trip_distance": pl.Float64,
    "store_and_fwd": pl.String,
    "request_source": pl.String,
    **dict.fromkeys(MONEY, pl.Float64),
}


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
    return [trip.trip_id for trip in settled if not is_reversal(trip.trip_id) and trip.complete]


def place(settled: Sequence[Settled], taken_back: Collection[str], loaded: Collection[ServiceMonth] = ()) -> Placed:
    """Judges settled trips. `taken_back` are those that have a reversal in `adjustments`.

    A trip of a month that has a loaded file, but not this trip, is `not_in_file`.
    """
    complete = [trip for trip in settled if trip.complete]
    judged = [trip for trip in complete if not _is_loaded(trip, loaded)] if loaded else complete
    anew = {key_of(trip.trip_id) for trip in judged if is_reversal(trip.trip_id)}
    originals = sorted(set(taken_back) - anew)
    curated = curate_trips(frame_of(judged), ids_of_text(pl.Series(originals)) if originals else no_ids())
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
    columns: dict[str, Sequence[object]] = {"service": [trip.service for trip in trips]}
    for number, (names, revision) in enumerate(zip((STARTED, ENDED, PAID), REVISIONS, strict=True)):
        slots = [trip.slots[number] for trip in trips]
        values = list(zip(*slots, strict=True)) if slots else [()] * (len(names) + 1)
        columns |= dict(zip((revision, *names), values, strict=True))
    ids = ids_of_text(pl.Series("trip_id", [trip.trip_id for trip in trips], pl.String))
    frame = pl.DataFrame({name: pl.Series(name, values, _kind(name), strict=False) for name, values in columns.items()})
    columns_of_trips = (
        (pl.col(name) * 100).round().cast(pl.Int32) if name in MONEY else pl.col(name) for name in RAW_COLUMNS
    )
    return frame.select(ids.alias("trip_id"), *REVISIONS, *columns_of_trips)


def _kind(name: str) -> pl.DataType | type[pl.DataType]:
    return SERVICE if name == "service" else _KINDS.get(name, pl.Int32)


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


def _hours(*frames: pl.DataFrame) -> set[Hour]:
    ends = ("service", "pickup_zone_id", "pickup_at", "dropoff_zone_id", "dropoff_at")
    rows = pl.concat([frame.select(ends) for frame in frames]).with_columns(pl.col(ends[2], ends[4]).dt.truncate("1h"))
    pickups, dropoffs = rows.select(ends[:3]).unique(), rows.select(ends[0], *ends[3:]).unique()
    return set(pickups.drop_nulls().iter_rows()) | set(dropoffs.drop_nulls().iter_rows())
