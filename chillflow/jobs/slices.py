"""Slices of a month: what one task of reconciling compares, reading its rows from the lake and PostgreSQL itself."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from chillflow.jobs.tasks import Tasks
from chillflow.manifests import Kind, Manifest
from chillflow.months import Month
from chillflow.reconciliation import (
    BY_ROW,
    BY_TRIP,
    FILE_REASONS,
    Findings,
    by_row,
    by_trip,
    compare,
    findings,
    pickups,
    ranges,
)
from chillflow.stores.lake import SCHEMAS, Lake
from chillflow.stores.stream_rows import StreamRows
from chillflow.trips import to_frame

ROWS = 150_000
"""About how many rows of a month a task compares."""

Bounds = tuple[dt.datetime, dt.datetime]
_EARLIEST, _LATEST = dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)


def judge_trips(dsn: str, lake: Lake, manifest: Manifest, start: dt.datetime, end: dt.datetime) -> Findings:
    """Compares the rows that stand for trips with these pickups; the first and last slice of a month are open."""
    month = Month.parse(manifest.month)
    with StreamRows(dsn) as rows:
        stream = rows.by_trip(manifest.service, month, start, end)
        compared = compare(_lake_trips(lake, manifest, start, end), stream)
        if compared.agrees:
            return findings(compared)
        incomplete = rows.incomplete(manifest.service, start, end)
        return findings(compared, {"incomplete trip": incomplete, "dead letter": rows.dead(start, end)})


def judge_file_rows(dsn: str, lake: Lake, manifest: Manifest, first: int, last: int) -> Findings:
    """Compares the rows under file rules at these places of the file."""
    place = pl.col("source_row").is_between(first, last, closed="left")
    parts = [by_row(to_frame(table)).filter(place) for table in _tables(lake, manifest, "quarantine", BY_ROW)]
    mine = pl.concat([pl.DataFrame(schema=BY_ROW), *parts])
    with StreamRows(dsn) as rows:
        return findings(compare(mine, rows.by_row(manifest.service, Month.parse(manifest.month), first, last)))


def _lake_trips(lake: Lake, manifest: Manifest, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
    month = Month.parse(manifest.month)
    first = _EARLIEST if start == month.start else start
    last = _LATEST if end == month.next.start else end
    within = pl.col("pickup_at").is_between(first, last, closed="left")
    kinds: tuple[Kind, ...] = ("trips", "quarantine", "adjustments")
    return pl.concat([
        pl.DataFrame(schema=BY_TRIP),
        *(
            by_trip({kind: to_frame(table).filter(within)})
            for kind in kinds
            for table in _tables(lake, manifest, kind, BY_TRIP, (first, last))
        ),
    ])  # fmt: skip


def _tables(
    lake: Lake, manifest: Manifest, kind: Kind, wanted: Collection[str], within: Bounds | None = None
) -> Iterator[pa.Table]:
    names = [name for name in SCHEMAS[kind].names if name in wanted]
    return (table for entry in manifest.of(kind) for table in lake.read_file(entry, names, pickups=within))


def judge(judging: Callable[..., Findings], *arguments: Any) -> Findings:
    """One of the two above, as a task."""
    return judging(*arguments)


def submit(tasks: Tasks[Month, Findings], dsn: str, lake: Lake, manifest: Manifest) -> int:
    """Starts the tasks of a month; returns how many."""
    month = Month.parse(manifest.month)
    name = f"reconcile {manifest.service} {month}"
    slices = pickups(month, max(1, -(-manifest.rows_in // ROWS)))
    for start, end in slices:
        tasks.submit(month, name, judge_trips, dsn, lake, manifest, start, end)
    of_file = sum(manifest.rules.get(reason, 0) for reason in FILE_REASONS)
    places = [*ranges(manifest.rows_in, max(1, -(-of_file // ROWS)))]
    for first, last in places:
        tasks.submit(month, name, judge_file_rows, dsn, lake, manifest, first, last)
    return len(slices) + len(places)
