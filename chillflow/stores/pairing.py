"""Origins and destinations of a month, with the median fare: the one figure that does not merge."""

from typing import Any

from psycopg import sql

from chillflow.kpis import MEASURES
from chillflow.months import Month
from chillflow.stores.aggregating import let_go, snapshot
from chillflow.stores.ledger import slice_of
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query


def refresh_pairs(connection: Connection, service: str, month: Month) -> int:
    """Computes the pairs of zones of a month's trips; returns how many were not right.

    The caller has begun no transaction. The pairs are marked as those of the revisions that were there before the trips
    were read; a crash before the mark leaves them to be computed again.
    """
    names = slice_of(service, month)
    connection.execute(query("lock_pairs"), names)
    try:
        with snapshot(connection):
            seen = connection.execute(query("read_revisions"), names).fetchall()
            changed = _replace(connection, names)
        revisions = {"slices": [row["slice"] for row in seen], "revisions": [row["revision"] for row in seen]}
        connection.execute(query("mark_pairs"), names | revisions)
    finally:
        let_go(connection)
    return changed


def _replace(connection: Connection, names: dict[str, Any]) -> int:
    for setting in ("use_memory_to_sort", "take_the_time"):
        connection.execute(query(setting))
    durations = {one.name: sql.SQL(one.sql) for one in MEASURES if one.name in ("duration_sum", "duration_n")}
    connection.execute(query("create_fresh_pairs", **durations), names)
    deleted = connection.execute(query("delete_stale_pairs"), names).rowcount
    inserted = connection.execute(query("insert_fresh_pairs"), names).rowcount
    return max(deleted, inserted)
