"""The four tables' rows on their way in and out: frames to be copied, rows that were looked up."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import pyarrow as pa
from psycopg import sql

from chillflow.assembly import Known, Settled, Slots, Table, pickup_at
from chillflow.curation import REVISIONS
from chillflow.events import ENDED, PAID, STARTED, Slot
from chillflow.placing import frame_of
from chillflow.trips import ADJUSTMENTS, DOLLARS, MONEY, QUARANTINE, RAW_COLUMNS, TRIPS, UUID, WALL_TIME, to_table

_REVISIONS = dict.fromkeys(REVISIONS, pa.int32())
_WRITTEN = {**_REVISIONS, "source": pa.string()}
_MONTH = {"month": pa.date32()}
FORMS: dict[Table, pa.Schema] = {
    "trips": pa.schema({**{field.name: field.type for field in TRIPS}, **_WRITTEN}),
    "quarantine": pa.schema({**{field.name: field.type for field in QUARANTINE}, **_MONTH, **_WRITTEN}),
    "adjustments": pa.schema({**{field.name: field.type for field in ADJUSTMENTS}, **_WRITTEN}),
    "incomplete_trips": pa.schema({"trip_id": UUID, **RAW_COLUMNS, **_REVISIONS}),
}
"""What is copied into each table."""

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_SLOTS = [name for slot in zip(REVISIONS, (STARTED, ENDED, PAID), strict=True) for name in (slot[0], *slot[1])]
_START, _END, _PAY = (3 + _SLOTS.index(name) for name in REVISIONS)
_RAW = 3 + len(_SLOTS)
_PLACES = {name: 3 + place for place, name in enumerate(_SLOTS)}
_NOTHING: Slots = ((0, *[None] * len(STARTED)), (0, *[None] * len(ENDED)), (0, *[None] * len(PAID)))
_PICKUP = 1 + STARTED.index("pickup_at")


def _column(name: str) -> sql.Composable:
    column = sql.SQL("t.{}").format(sql.Identifier(name))
    return column + sql.SQL("::float8") if name in MONEY else column


COLUMNS = sql.SQL(", ").join([sql.SQL("t.trip_id::text"), *map(_column, ("service", *_SLOTS))])
"""What a look-up selects after the table's name and before `raw`: each slot is its revision, then its columns."""


def known(row: Sequence[Any]) -> Known:
    """A looked-up row: (table, id, service, slots.., raw)."""
    dropoff: dt.datetime | None = row[_PLACES["dropoff_at"]]
    if row[_RAW] is not None:
        row = _before_fixes(row)
    slots: Slots = tuple(row[_START:_END]), tuple(row[_END:_PAY]), tuple(row[_PAY:_RAW])
    if row[0] == "incomplete_trips":
        slots = _present(slots[0]), _present(slots[1]), _present(slots[2])
    return Known(row[1], row[2], row[0], slots, dropoff)


def incomplete_frame(trips: Sequence[Settled]) -> pl.DataFrame:
    """Incomplete trips as a frame; what a missing slot would tell is null, but the pickup is what the id tells."""
    return frame_of([Settled(trip.trip_id, trip.service, _filled(trip)) for trip in trips])


def lines_of(table: Table, frame: pl.DataFrame) -> str:
    """What `table_of` tells, in the text format of COPY: ten times as quick for a few rows, and slower for many."""
    columns = []
    for field in FORMS[table]:
        if field.name == "source":
            columns.append(["stream"] * len(frame))
        elif field.name == "month":
            columns.append([f"{at:%Y-%m}-01" for at in frame["pickup_at"].to_list()])
        else:
            write = _writer(field.type)
            values = frame.get_column(field.name).to_list()
            columns.append([r"\N" if value is None else write(value) for value in values])
    return "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def table_of(table: Table, frame: pl.DataFrame) -> pa.Table:
    """What is copied into a table: the rows of a frame as Placed has them, with the columns of its form."""
    form = FORMS[table]
    more = {"source": pl.lit("stream")} if "source" in form.names else {}
    if "month" in form.names:
        more["month"] = pl.col("pickup_at").dt.month_start().dt.date()
    return to_table(frame.with_columns(**more), form)


def _writer(kind: pa.DataType) -> Callable[[Any], str]:
    if kind == UUID:
        return "{:032x}".format
    if kind == DOLLARS:
        return _dollars
    if kind == WALL_TIME:
        return dt.datetime.isoformat
    return (lambda text: text.translate(_ESCAPED)) if kind == pa.string() else repr


@lru_cache(10_000)
def _dollars(cents: int) -> str:
    return f"{cents / 100:.2f}"


def _before_fixes(row: Sequence[Any]) -> list[Any]:
    found = list(row)
    for name, value in json.loads(row[_RAW]).items():
        found[_PLACES[name]] = dt.datetime.fromisoformat(value) if name == "dropoff_at" else value
    return found


def _present(slot: Slot | None) -> Slot | None:
    return slot if slot and slot[0] else None


def _filled(trip: Settled) -> Slots:
    started, ended, paid = (slot or nothing for slot, nothing in zip(trip.slots, _NOTHING, strict=True))
    if started is not None and started[_PICKUP] is None:
        started = (*started[:_PICKUP], pickup_at(trip.trip_id), *started[_PICKUP + 1 :])
    return started, ended, paid
