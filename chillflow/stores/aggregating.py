"""KPIs of a slice, computed where the rows are.

The steps, all in one transaction that sees one state of the database throughout, under the slice's lock:

1. choose the hours: all of them, or those that notes in `kpi_dirty` tell of;
2. sum up the trips that begin, the trips that end and the reversals of these hours;
3. replace the zone-hours that are not so, and leave the others untouched;
4. delete the notes of these hours: exactly those that this state shows;
5. give the slice a new revision, unless nothing was changed or noted; commit.

A crash before the commit leaves zone-hours and notes as they were. Writers of trips and notes never wait for it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import IsolationLevel, sql

from chillflow.kpis import KEY, MEASURES, NAMES, SCHEMA, At, Measure
from chillflow.slices import REACH, Slice
from chillflow.stores.copying import copy_in
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query

_FRESH = sql.Identifier("pg_temp", "fresh_kpis")
_COLUMNS = [*KEY, *NAMES]


def aggregate_all(connection: Connection, hours: Slice) -> int:
    """Computes all zone-hours of a slice; the caller has begun no transaction. Returns how many were not right."""
    with _alone_with(connection, hours), snapshot(connection):
        _begin(connection, hours, "touch_all")
        _sum_up(connection, hours)
        return _settle(connection, hours)


def aggregate_noted(connection: Connection, hours: Slice) -> int:
    """Computes the zone-hours of a slice that notes tell of; otherwise as aggregate_all."""
    with _alone_with(connection, hours), snapshot(connection):
        _begin(connection, hours, "touch_noted")
        _sum_up(connection, hours)
        return _settle(connection, hours)


def aggregate_head(connection: Connection, hours: Slice) -> int:
    """Computes the first 25 hours of a slice, in which trips of the month before end; otherwise as aggregate_all."""
    head = {"end": hours.start + REACH}
    with _alone_with(connection, hours), snapshot(connection):
        _begin(connection, hours, "touch_all", **head)
        _sum_up(connection, hours, **head)
        return _settle(connection, hours, **head)


def aggregate_given(
    connection: Connection, hours: Slice, measures: Iterable[pa.Table], loaded: Callable[[dict[str, Any] | None], bool]
) -> int | None:
    """Takes the zone-hours of a slice from `measures` (kpis.SCHEMA), those of all rows of its month's file.

    What trips of the month before add, those that end in the slice, is summed up here. `loaded` says of the month's row
    in the ledger whether that very file is loaded: then nothing else writes trips of the month. If it is not, nothing
    is done, and None returned. Otherwise as aggregate_all.
    """
    mine = (_within(table, hours) for table in measures)
    names = {"service": hours.service, "month": hours.month.date, "path": "batch"}
    with _alone_with(connection, hours), snapshot(connection):
        if not loaded(connection.execute(query("read_month"), names).fetchone()):
            return None
        _begin(connection, hours, "touch_all")
        connection.execute(query("create_fresh_kpis"))
        copy_in(connection, _FRESH, SCHEMA, mine)
        if hours.first.day == 1:
            _sum(connection, "sum_dropoffs", "dropoff", hours.names | {"until": hours.start})
            connection.execute(query("add_dropoffs"), hours.names)
        return _settle(connection, hours)


def _within(table: pa.Table, hours: Slice) -> pa.Table:
    inside = pc.and_(pc.greater_equal(table["hour"], hours.start), pc.less(table["hour"], hours.end))
    return table.select(SCHEMA.names).filter(pc.and_(inside, pc.equal(table["service"], hours.service)))


def _begin(connection: Connection, hours: Slice, touch: str, **bounds: Any) -> None:
    """Step 1."""
    for setting in ("use_memory_to_sort", "take_the_time", "read_hour_by_hour"):
        connection.execute(query(setting))
    connection.execute(query(touch), hours.names | bounds)


def _sum_up(connection: Connection, hours: Slice, **bounds: Any) -> None:
    """Step 2."""
    names = hours.names | bounds
    _sum(connection, "sum_pickups", "pickup", names)
    _sum(connection, "sum_dropoffs", "dropoff", names | {"until": names["end"]})
    _sum(connection, "sum_reversals", "reversal", names)
    connection.execute(query("join_sums", totals=_listed("coalesce({0}, 0)::{1} as {0}", MEASURES)), names)


def _settle(connection: Connection, hours: Slice, **bounds: Any) -> int:
    """Steps 3 to 5."""
    names = hours.names | bounds
    stale = query("delete_stale_kpis", new_columns=_of("new", _COLUMNS), old_columns=_of("old", _COLUMNS))
    deleted = connection.execute(stale, names).rowcount
    fresh = query("insert_fresh_kpis", columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)))
    inserted = connection.execute(fresh, names).rowcount
    if connection.execute(query("delete_notes"), names).rowcount + deleted + inserted:
        connection.execute(query("revise"), names)
    return max(deleted, inserted)


def _sum(connection: Connection, name: LiteralString, at: At, names: dict[str, Any]) -> None:
    measures = [measure for measure in MEASURES if measure.at == at]
    statement = query(
        name,
        measures=sql.SQL(", ").join(
            sql.SQL("{} as {}").format(sql.SQL(measure.sql), sql.Identifier(measure.name)) for measure in measures
        ),
        totals=_listed("sum({0})::{1} as {0}", measures),
    )
    connection.execute(statement, names | {"reach": names["start"] - REACH})


def _listed(form: LiteralString, measures: Iterable[Measure]) -> sql.Composed:
    kinds: dict[bool, LiteralString] = {True: "numeric(14, 2)", False: "bigint"}
    return sql.SQL(", ").join(
        sql.SQL(form).format(sql.Identifier(one.name), sql.SQL(kinds[pa.types.is_decimal(one.kind)]))
        for one in measures
    )


def _of(table: str, columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, column) for column in columns)


@contextmanager
def _alone_with(connection: Connection, hours: Slice) -> Iterator[None]:
    connection.execute(query("lock_slice"), hours.names)
    try:
        yield
    finally:
        let_go(connection)


def let_go(connection: Connection) -> None:
    """Gives the session's locks back; where that fails, by its end."""
    try:
        connection.execute(query("let_go_of_slice"))
    except psycopg.Error:
        connection.close()


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees one state of the database throughout."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    finally:
        connection.isolation_level = None
