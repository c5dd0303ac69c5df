"""KPIs of a month, computed where the rows are."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import IsolationLevel, sql

from chillflow.kpis import KEY, MEASURES
from chillflow.months import Month
from chillflow.stores.ledger import slice_of
from chillflow.stores.partitions import partition_name
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query

REACH = dt.timedelta(hours=25)
"""A trip lasts at most 24 h, so it ends within this time after the month of its pickup."""


def aggregate(connection: Connection, service: str, month: Month) -> int:
    """Recomputes the hours that the month's trips touch, in one transaction; the caller has begun none.

    Hours are those of the month, and those of the next one that its trips may end in. Rows that are right stay
    untouched; returns the rows that were not. Takes the notes of these hours out of `kpi_dirty`: exactly those that
    were committed before the trips were read. Marks the month in the ledger as done.
    """
    with _alone_with(connection, service, month), _snapshot(connection):
        return _recompute(connection, service, month)


def _recompute(connection: Connection, service: str, month: Month) -> int:
    names = slice_of(service, month)
    names |= {"end": month.next.start + REACH, "reach": month.start - REACH}
    for setting in ("use_memory_to_sort", "take_the_time"):
        connection.execute(query(setting))
    _acquaint_planner(connection, month)
    connection.execute(_create_fresh(), names)
    columns = [*KEY, *(measure.name for measure in MEASURES)]
    stale = query("delete_stale_kpis", new_columns=_of("new", columns), old_columns=_of("old", columns))
    deleted = connection.execute(stale, names).rowcount
    fresh = query("insert_fresh_kpis", columns=sql.SQL(", ").join(map(sql.Identifier, columns)))
    inserted = connection.execute(fresh, names).rowcount
    connection.execute(query("delete_notes"), names)
    connection.execute(query("mark_aggregated"), names)
    return max(deleted, inserted)


@contextmanager
def _alone_with(connection: Connection, service: str, month: Month) -> Iterator[None]:
    """The locks of the slices that the month's hours belong to, and of the month's rows against loads."""
    try:
        for one in (month, month.next):
            connection.execute(query("lock_slice"), {"service": service, "month": one.date})
        connection.execute(query("hold_month"), slice_of(service, month))
        yield
    finally:
        if not connection.closed:
            connection.execute(query("let_go_of_slices"))


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees one state of the database throughout."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    finally:
        connection.isolation_level = None


def _create_fresh() -> sql.Composed:
    totals = [sql.SQL("coalesce({0}, 0) as {0}").format(sql.Identifier(measure.name)) for measure in MEASURES]
    return query(
        "create_fresh_kpis",
        measures=sql.SQL(", ").join(totals),
        pickup_measures=_measures("pickup"),
        dropoff_measures=_measures("dropoff"),
        reversal_measures=_measures("reversal"),
    )


def _measures(at: str) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} as {}").format(sql.SQL(measure.sql), sql.Identifier(measure.name))
        for measure in MEASURES
        if measure.at == at
    )


def _of(table: str, columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, column) for column in columns)


def _acquaint_planner(connection: Connection, month: Month) -> None:
    table = f"chillflow.{partition_name(month)}"
    known = connection.execute(query("partition_unknown_to_planner"), {"table": table}).fetchone()
    if known and known["unknown"]:
        connection.execute(query("analyze_partition", table=sql.Identifier("chillflow", partition_name(month))))
