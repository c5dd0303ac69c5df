"""What a report reads of the warehouse, as frames."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from typing import Any

import polars as pl
from psycopg import ClientCursor, sql

from chillflow.months import Month
from chillflow.reports.facts import BOROUGHS, HOURS, MEASURES, PAIRS, WEEK, ZONES, Entry, Facts, Schema
from chillflow.reports.wall_time import changes
from chillflow.stores import migrations
from chillflow.stores.aggregating import snapshot
from chillflow.stores.answers import Answers, key_of
from chillflow.stores.postgres import Connection, address, translated
from chillflow.stores.queries import query

_WEEK = dt.timedelta(days=7)


def read_facts(dsn: str, ledger: Sequence[Entry], redis_url: str | None = None) -> Facts:
    """Facts of the months of `ledger`; raises as the methods of Warehouse do.

    Four connections at a time, so that PostgreSQL sums on several cores; each sees what was committed when it began.
    What Redis remembers of the same KPIs is not asked again.
    """
    if not ledger:
        return Facts.none()
    told = sorted({(entry.service, entry.month.date) for entry in ledger})
    months = {"months": sorted({entry.month.date for entry in ledger})}
    odd = [day + shift for day in changes({entry.month for entry in ledger}) for shift in (-_WEEK, 0 * _WEEK, _WEEK)]
    days = {"days": odd, "first": min(odd, default=None), "last": max(odd, default=None)}
    days["months"] = sorted({day.replace(day=1) for day in odd})
    asked: list[tuple[str, Schema, Mapping[str, Any]]] = [
        ("report_boroughs", BOROUGHS, months),
        ("report_zones", ZONES, months),
        ("report_week", WEEK, months),
        ("report_hours", HOURS, days),
        ("report_pairs", PAIRS, months),
    ]
    with closing(Answers(redis_url)) as answers, ThreadPoolExecutor(4) as threads:
        texts = list(threads.map(lambda question: _read(dsn, answers, told, *question), asked))
    return Facts(tuple(ledger), *(_frame(text, schema) for text, (_, schema, _) in zip(texts, asked, strict=True)))


def _read(
    dsn: str, answers: Answers, told: Sequence[tuple[str, dt.date]], name: str, schema: Schema, names: Mapping[str, Any]
) -> bytes:
    """The answer as CSV, from Redis where it is that of the same revisions."""
    place = address(dsn)
    with migrations.connected(dsn, place) as connection, translated(connection, place), snapshot(connection):
        revisions = connection.execute(query("report_revisions"), names).fetchall()
        key = key_of(revisions, name, told, names, list(schema))
        found = answers.recall(key) if revisions else None
        if found is None:
            found = _copied(connection, name, schema, names)
            if revisions:
                answers.remember(key, found)
        return found


def _copied(connection: Connection, name: str, schema: Schema, names: Mapping[str, Any]) -> bytes:
    sums = [sql.SQL("sum({0}) as {0}").format(sql.Identifier(column)) for column in schema if column in MEASURES]
    question = query(name, sums=sql.SQL(", ").join(sums)) if sums and name != "report_hours" else query(name)
    connection.execute(query("read_by_month"))
    bound = ClientCursor(connection).mogrify(question, dict(names))
    with connection.cursor().copy(query("copy_out", question=sql.SQL(bound))) as copy:
        return b"".join(bytes(part) for part in copy)


def _frame(text: bytes, schema: Schema) -> pl.DataFrame:
    if not text:
        return pl.DataFrame(schema=schema)
    times = {column: pl.String() for column, kind in schema.items() if kind.is_temporal()}
    frame = pl.read_csv(BytesIO(text), has_header=False, schema={**schema, **times})
    return frame.with_columns(_parsed(column, schema[column]) for column in times)


def _parsed(column: str, kind: pl.DataType) -> pl.Expr:
    text = pl.col(column).str
    return text.to_date("%Y-%m-%d") if kind == pl.Date else text.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")


def ledger_of(
    rows: Iterable[Mapping[str, Any]],
    months: Iterable[Month] | None,
    noted: Collection[tuple[str, Month]] = (),
) -> list[Entry]:
    """The ledger's rows (see Warehouse.months) of these months, or of all, with the counts that reports tell.

    `noted` are months with hours whose KPIs are to be computed anew.
    """
    wanted = None if months is None else {str(month) for month in months}
    names = ("service", "path", "status", "rows_in", "trips", "quarantined", "adjustments", "counts")
    return [
        Entry(
            month=(month := Month.parse(row["month"])),
            stale=(row["path"] == "batch" and row["status"] != "done") or (row["service"], month) in noted,
            **{name: row[name] for name in names},
        )
        for row in rows
        if wanted is None or row["month"] in wanted
    ]
