"""Partitions of `trips`, one a month: made as tables of their own, then attached, which does not lock the parent."""


from psycopg import sql

from chillflow.months import Month
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query


def partition_name(month: Month) -> str:
    """`trips_2019_01`."""
    return f"trips_{month.year:04d}_{month.number:02d}"


def exists(connection: Connection, month: Month) -> bool:
    row = connection.execute(query("partition_exists"), {"table": f"chillflow.{partition_name(month)}"}).fetchone()
    return bool(row and row["there"])


def create_partition(connection: Connection, month: Month) -> None:
    """Makes the month's partition unless it is there; holds the partition's lock until the transaction ends."""
    connection.execute(query("lock_partition"), {"month": month.date})
    if not exists(connection, month):
        table = sql.Identifier("chillflow", partition_name(month))
        connection.execute(query("create_loading_trips", table=table))
        attach(connection, table, month)


def attach(connection: Connection, table: sql.Identifier, month: Month) -> None:
    """Makes a table of the columns of `trips`, with rows of the month or without, the month's partition."""
    name = partition_name(month)
    bounds = {"start": month.start, "end": month.next.start}
    checks = [
        sql.SQL("add constraint {} {},").format(sql.Identifier(row["name"]), sql.SQL(row["definition"]))
        for row in connection.execute(query("checks_of_trips"))
    ]
    constrain = query(
        "constrain_partition",
        table=table,
        checks=sql.SQL("\n    ").join(checks),
        range=sql.Identifier(f"{name}_range"),
        key=sql.Identifier(f"{name}_key"),
    )
    connection.execute(constrain, bounds)
    partition = sql.Identifier("chillflow", name)
    if table != partition:
        connection.execute(query("rename_partition", table=table, name=sql.Identifier(name)))
    connection.execute(query("describe_partition", table=partition, comment=sql.Literal(f"trips of {month}")))
    connection.execute(query("attach_partition", table=partition), bounds)
