"""Step 3 of the commit loop in PostgreSQL; see protocols.Transaction. docs/assembly.md has the numbers."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from chillflow.assembly import Known, ServiceMonth, Table, month_of
from chillflow.errors import Fenced, WarehouseRefused
from chillflow.events import DeadLetter, pickup_of
from chillflow.months import Month
from chillflow.placing import Placed
from chillflow.positions import Claim, Position, Topic
from chillflow.stores.copying import copy_rows, copy_text
from chillflow.stores.partitions import partition_name
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query
from chillflow.stores.trip_rows import COLUMNS, FORMS, incomplete_frame, known, lines_of, table_of

_EPOCH = dt.datetime(1970, 1, 1)
_MILLISECOND = dt.timedelta(milliseconds=1)
FEW = 200
"""Rows up to which text is quicker to make than Arrow."""
_LETTERS = 16_000_000
"""Bytes of dead letters in a statement."""


class PostgresTransaction:
    """Statements on a connection whose transaction the store begins and ends."""

    def __init__(self, connection: Connection, place: str, began: dt.datetime) -> None:
        self._connection, self._place, self._began = connection, place, began

    def lock(self, claims: Sequence[Claim], begins: Mapping[int, int]) -> list[int]:
        if not claims:
            return []
        names = _mine(claims) | {"begins": _array(begins[claim.partition] for claim in claims)}
        held = {row["partition"] for row in self._planned("lock_positions", names)}
        return sorted(claim.partition for claim in claims if claim.partition not in held)

    def loaded(self, months: Collection[ServiceMonth]) -> set[ServiceMonth]:
        if not months:
            return set()
        services, dates = zip(*((service, month.date) for service, month in sorted(months)), strict=True)
        names = {"services": _array(services), "months": _array(dates)}
        both = query("lock_months_shared") + sql.SQL(";\n") + query("months_with_file")
        found = self._connection.execute(both, names)
        found.nextset()
        return {(row["service"], Month.of(row["month"])) for row in found}

    def look_up(self, ids: Collection[str]) -> dict[str, Known]:
        if not ids:
            return {}
        with self._connection.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(query("look_up", columns=COLUMNS), _with_pickups(ids))
            return {row[1]: known(row) for row in rows}

    def reversed_among(self, ids: Collection[str]) -> set[str]:
        near = {trip_id[:8] for trip_id in ids}  # 65 seconds of pickups begin alike
        if not near:
            return set()
        names = {"first": _array(f"{part}{_FIRST}" for part in near), "last": _array(f"{part}{_LAST}" for part in near)}
        found = self._planned("reversals_between", names)
        return {_original_of(row["trip_id"]) for row in found}.intersection(ids)

    def write(self, placed: Placed) -> None:
        for table, ids in placed.gone.items():
            self._take_out(table, ids)
        self._put_in("trips", placed.trips)
        self._put_in("quarantine", placed.quarantine)
        self._put_in("adjustments", placed.adjustments)
        if placed.incomplete:
            self._put_in("incomplete_trips", incomplete_frame(placed.incomplete))
        if placed.dirty:
            services, zones, hours = zip(*sorted(placed.dirty), strict=True)
            texts = {hour: hour.isoformat() for hour in set(hours)}
            names = {
                "services": _array(services),
                "zones": _array(zones),
                "hours": _array(map(texts.__getitem__, hours)),
            }
            self._planned("note_dirty", names)

    def bury(self, topic: Topic, letters: Sequence[DeadLetter]) -> None:
        for some in _portions(letters):
            names = {
                "topic": topic.name,
                "topic_id": topic.topic_id,
                "partitions": [letter.partition for letter in some],
                "offsets": [letter.offset for letter in some],
                "keys": [letter.key for letter in some],
                "payloads": [letter.payload for letter in some],
                "reasons": [_storable(letter.reason) for letter in some],
            }
            self._connection.execute(query("bury"), names)

    def advance(self, claims: Sequence[Claim], positions: Sequence[Position]) -> None:
        if not claims:
            return
        new = {position.partition: position for position in positions}
        ordered = [new[claim.partition] for claim in claims]
        names = _mine(claims) | {
            "backend_start": self._began,
            "next": _array(position.next_offset for position in ordered),
            "rewind": _array(position.rewind_offset for position in ordered),
            "watermarks": _array(position.watermark for position in ordered),
            "pickups": _array(position.max_pickup for position in ordered),
            "open": _array(position.open_trips for position in ordered),
            "oldest": _array(position.oldest_at for position in ordered),
        }
        moved = {row["partition"] for row in self._planned("advance", names)}
        for claim in claims:
            if claim.partition not in moved:
                raise Fenced(claim.partition)

    def _planned(self, name: str, names: Mapping[str, Any]) -> psycopg.Cursor[dict[str, Any]]:
        """Runs a statement that every transaction has: PostgreSQL keeps its plan."""
        return psycopg.Cursor(self._connection).execute(query(name), names, prepare=True)

    def _take_out(self, table: Table, ids: Collection[str]) -> None:
        if not ids:
            return
        if table == "trips":
            months = _by_month(ids)
            taken = sum(self._take_out_trips(month, some) for month, some in months.items())
        else:
            taken = self._connection.execute(query(_TAKE_OUT[table]), {"ids": _array(ids)}).rowcount
        self._check(taken == len(ids), f"{len(ids)} rows were to be replaced in {table}, {taken} are there")

    def _put_in(self, table: Table, frame: pl.DataFrame) -> None:
        if not len(frame):
            return
        target, form = _target(table, frame), FORMS[table]
        if len(frame) <= FEW:
            copied = copy_text(self._connection, target, form, lines_of(table, frame))
        else:
            copied = copy_rows(self._connection, target, form, table_of(table, frame))
        self._check(copied == len(frame), f"{copied} of {len(frame)} rows were copied into {table}")

    def _check(self, right: bool, what: str) -> None:
        if not right:
            raise WarehouseRefused(self._place, what)

    def _take_out_trips(self, month: Month, ids: Collection[str]) -> int:
        statement = query("take_out_trips", partition=sql.Identifier("chillflow", partition_name(month)))
        return self._connection.execute(statement, _with_pickups(ids)).rowcount


_TAKE_OUT: dict[Table, str] = {
    "quarantine": "take_out_quarantine",
    "adjustments": "take_out_adjustments",
    "incomplete_trips": "take_out_incomplete_trips",
}
_FIRST = "-0000-0000-0000-000000000000"
_LAST = "-ffff-ffff-ffff-ffffffffffff"


def _target(table: Table, frame: pl.DataFrame) -> sql.Identifier:
    """Where rows are copied to: trips of one month straight into their partition, which spares a tenth of the time."""
    name: str = table
    if table == "trips":
        first, last = (Month.of(at) for at in (frame["pickup_at"].min(), frame["pickup_at"].max()))  # type: ignore[arg-type]
        name = partition_name(first) if first == last else table
    return sql.Identifier("chillflow", name)


def _by_month(ids: Collection[str]) -> dict[Month, list[str]]:
    found: dict[Month, list[str]] = {}
    for trip_id in ids:
        found.setdefault(month_of(trip_id), []).append(trip_id)
    return found


def _mine(claims: Sequence[Claim]) -> dict[str, Any]:
    return {
        "topic": claims[0].topic.name,
        "partitions": _array(claim.partition for claim in claims),
        "epochs": _array(claim.epoch for claim in claims),
    }


def _with_pickups(ids: Collection[str]) -> dict[str, Any]:
    """Ids with the millisecond of their pickups, and the range of these."""
    milliseconds = [pickup_of(trip_id) for trip_id in ids]
    return {
        "ids": _array(ids),
        "milliseconds": _array(milliseconds),
        "start": _EPOCH + min(milliseconds) * _MILLISECOND,
        "end": _EPOCH + (max(milliseconds) + 1) * _MILLISECOND,
    }


def _array(values: Iterable[object]) -> str:
    """An array literal of ids, numbers, times or services: many times quicker to bind than a list."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def _original_of(reversal: str) -> str:
    return reversal[:-1] + format(int(reversal[-1], 16) & 14, "x")


def _portions(letters: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """The letters in lists that are small enough for a statement."""
    some: list[DeadLetter] = []
    size = 0
    for letter in letters:
        length = len(letter.payload or b"") + len(letter.key or b"")
        if some and size + length > _LETTERS:
            yield some
            some, size = [], 0
        some.append(letter)
        size += length
    if some:
        yield some


def _storable(text: str) -> str:
    """The text as PostgreSQL takes it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
