"""Partitions of `trips`, one a month: made as tables of their own, then attached, which does not lock the parent."""

from psycopg import sql

from chillflow.months import Month
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query


def partition_name(month: Month) -> str:
    """`trips_2019_01`."""
    return f"trips_{month.year:04d}_{month.number:02d}"


def exists(connection: Connection, month: Month) -> bool:
    row = connection.execute(query("partition_exists"), {"name": partition_name(month)}).fetchone()
    return bool(row and row["there"])


def create_partition(connection: Connection, month: Month) -> None:
    """Makes the month's partition unless it is there; holds the partition's lock until the transaction ends."""
    connection.execute(query("lock_partition"), {"month": month.date})
    if not exists(connection, month):
        attach(connection, create_table(connection, month), month)


def create_table(connection: Connection, month: Month) -> sql.Identifier:
    """Makes a table that can become the month's partition; its name is this connection's own."""
    name = partition_name(month)
    table = sql.Identifier("chillflow", f"{name}_{connection.info.backend_pid}")
    create = query("create_partition_table", table=table, range=sql.Identifier(f"{name}_range"))
    connection.execute(create, {"start": month.start, "end": month.next.start})
    return table


def attach(connection: Connection, table: sql.Identifier, month: Month) -> None:
    """Makes a table of `create_table`, with rows or without, the month's partition."""
    name = partition_name(month)
    partition = sql.Identifier("chillflow", name)
    bounds = {"start": month.start, "end": month.next.start}
    connection.execute(query("add_partition_key", table=table, key=sql.Identifier(f"{name}_key")))
    connection.execute(query("rename_partition", table=table, name=sql.Identifier(name)))
    connection.execute(query("describe_partition", table=partition, comment=sql.Literal(f"trips of {month}")))
    connection.execute(query("attach_partition", table=partition), bounds)
