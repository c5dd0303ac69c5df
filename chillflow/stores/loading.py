"""Loading a month: its file's rows become the month's rows in `trips`, `adjustments` and `quarantine`.

The steps, all in one transaction, so that a load that is killed leaves nothing behind:

1. copy trips into a table of its own, adjustments and quarantine into temporary ones; the rows must be the manifest's;
2. lock the (service, month), then the month's partition; both until the commit;
3. without a partition: the new table gets its key and is attached as the partition; else: settle and insert;
4. settle and insert adjustments and quarantine; rows that the file does not know become `not_in_file`; incomplete trips
   of the stream that the file knows are closed;
5. note the hours whose KPIs are no longer right, unless nothing changed; write the ledger; commit.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from chillflow.errors import MonthInconsistent
from chillflow.stores.copying import copy_in
from chillflow.stores.ledger import Loaded, MonthEntry, parameters, slice_of
from chillflow.stores.partitions import attach, create_table, exists
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS

Tables = Iterable[pa.Table]
MERGING = sql.Identifier("pg_temp", "loading_trips")


def load(connection: Connection, entry: MonthEntry, trips: Tables, quarantine: Tables, adjustments: Tables) -> Loaded:
    """Loads a month inside the transaction that the caller has begun; raises MonthInconsistent and driver errors."""
    names = slice_of(entry.service, entry.month)
    for setting in ("use_memory_to_sort", "use_memory_to_index", "take_the_time"):
        connection.execute(query(setting))
    table = _copy(connection, entry, trips, quarantine, adjustments)
    connection.execute(query("lock_month"), names)
    connection.execute(query("lock_partition"), names)
    fresh = not exists(connection, entry.month)
    if table != MERGING:
        connection.execute(query("view_loading_trips", table=table))
    for name in ("view_loading_ids", "create_gone"):
        connection.execute(query(name))
    removed, replaced, inserted = (0, 0, entry.trips) if fresh else _merge_trips(connection, table, names)
    changed = inserted + removed + _merge_rest(connection, names)
    completed = connection.execute(query("close_incomplete"), names).rowcount
    _drop_views(connection, table)
    if fresh:
        attach(connection, table, entry.month)
    elif table != MERGING:
        connection.execute(query("drop_loading_trips", table=table))
    if changed:
        connection.execute(query("note_month"), names)
    not_in_file = _one(connection, "count_not_in_file", names)["rows"]
    connection.execute(query("write_month"), parameters(entry, not_in_file))
    return Loaded(fresh, inserted - replaced, replaced, removed - replaced, not_in_file, completed)


def _copy(
    connection: Connection, entry: MonthEntry, trips: Tables, quarantine: Tables, adjustments: Tables
) -> sql.Identifier:
    """Step 1; returns the table that holds the trips."""
    table, freeze = MERGING, ""
    if exists(connection, entry.month):
        connection.execute(query("create_merging_trips"))
    else:
        table, freeze = create_table(connection, entry.month), ", freeze"
    connection.execute(query("create_loading_adjustments"))
    connection.execute(query("create_loading_quarantine"))
    connection.execute(query("set_loading_month"), {"month": entry.month.date})
    parts = [
        ("trips", table, TRIPS, trips, entry.trips, f"format binary{freeze}"),
        ("adjustments", _loading("adjustments"), ADJUSTMENTS, adjustments, entry.adjustments, "format binary"),
        ("quarantine", _loading("quarantine"), QUARANTINE, quarantine, entry.quarantined, "format binary"),
    ]
    copied = 0
    for name, target, schema, tables, expected, options in parts:
        rows = copy_in(connection, target, schema, _checked(tables, name, entry), options)
        if rows != expected:
            raise _inconsistent(entry, f"{name} has {rows} rows, not {expected}")
        copied += rows
    if copied != entry.rows_in:
        raise _inconsistent(entry, f"its file has {entry.rows_in} rows, but {copied} were curated")
    return table


def _merge_trips(connection: Connection, table: sql.Identifier, names: dict[str, Any]) -> tuple[int, int, int]:
    """Step 3 where the partition exists; returns the rows removed, replaced among them, and inserted."""
    connection.execute(query("analyze_loading_trips", table=table))
    settled = _one(connection, "settle_trips", names)
    inserted = connection.execute(query("insert_trips"), names).rowcount
    return settled["removed"], settled["replaced"], inserted


def _merge_rest(connection: Connection, names: dict[str, Any]) -> int:
    """Step 4; returns 0 where nothing was changed."""
    steps = (
        "settle_adjustments",
        "settle_quarantine",
        "return_from_quarantine",
        "insert_adjustments",
        "insert_quarantine",
        "insert_gone",
    )
    return sum(connection.execute(query(name), names).rowcount for name in steps)


def _drop_views(connection: Connection, table: sql.Identifier) -> None:
    connection.execute(query("drop_loading_ids"))
    if table != MERGING:
        connection.execute(query("drop_loading_view"))


def _checked(tables: Tables, name: str, entry: MonthEntry) -> Iterator[pa.Table]:
    """The tables, each looked at: a row of another service or month would end up where nobody looks for it."""
    for table in tables:
        services = set(pc.unique(table["service"]).to_pylist())
        if services - {entry.service}:
            raise _inconsistent(entry, f"{name} has rows of {', '.join(sorted(map(str, services)))}")
        if name != "quarantine" and len(table):
            pickups: Any = pc.min_max(table["pickup_at"]).as_py()
            if pickups["min"] < entry.month.start or pickups["max"] >= entry.month.next.start:
                raise _inconsistent(entry, f"{name} has pickups from {pickups['min']} to {pickups['max']}")
        yield table


def _inconsistent(entry: MonthEntry, why: str) -> MonthInconsistent:
    return MonthInconsistent(entry.service, str(entry.month), why)


def _loading(name: str) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"loading_{name}")


def _one(connection: Connection, name: str, names: dict[str, Any]) -> dict[str, Any]:
    row = connection.execute(query(name), names).fetchone()
    assert row is not None
    return row
