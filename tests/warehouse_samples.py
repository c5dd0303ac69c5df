"""Curated months for the warehouse's tests, and what the warehouse holds."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row

from chillflow.curation import curate
from chillflow.months import Month
from chillflow.stores.ledger import Loaded, MonthEntry
from chillflow.stores.warehouse import Warehouse
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS, to_table
from tests.strategies import raw_frame

MONTH = Month(2018, 11)
BEGAN = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
TABLES = ("trips", "adjustments", "quarantine")
RAW_ROW: dict[str, Any] = {
    "service": "yellow",
    "vendor_id": 2,
    "pickup_zone_id": 100,
    "dropoff_zone_id": 132,
    "passenger_count": 1,
    "trip_distance": 1.5,
    "rate_code": 1,
    "payment_type": 1,
    "fare_amount": 550,
    "tip_amount": 200,
    "total_amount": 750,
}


def raw_row(number: int, **changes: Any) -> dict[str, Any]:
    """The row `number` of a file: its trip begins `number` minutes into November the 4th, 2018, and takes ten."""
    pickup = dt.datetime(2018, 11, 4) + dt.timedelta(minutes=number)
    times = {"pickup_at": pickup, "dropoff_at": pickup + dt.timedelta(minutes=10)}
    return RAW_ROW | times | {"source_row": number} | changes


@dataclass(frozen=True)
class CuratedMonth:
    """A month as the lake holds it."""

    entry: MonthEntry
    trips: pa.Table
    quarantine: pa.Table
    adjustments: pa.Table

    @property
    def ids(self) -> set[str]:
        return {str(value) for value in self.trips["trip_id"].to_pylist()}


def curated(rows: Sequence[dict[str, Any]], service: str = "yellow", month: Month = MONTH) -> CuratedMonth:
    """The rows of a month's file, curated."""
    result = curate(raw_frame([row | {"service": service} for row in rows]), month)
    entry = MonthEntry(
        service=service,
        month=month,
        rows_in=result.rows_in,
        trips=len(result.trips),
        quarantined=len(result.quarantine),
        adjustments=len(result.adjustments),
        counts=result.counts,
        started_at=BEGAN,
        code_version="0.1.0",
        rules_version=1,
    )
    return CuratedMonth(
        entry,
        to_table(result.trips.sort("pickup_at"), TRIPS),
        to_table(result.quarantine, QUARANTINE),
        to_table(result.adjustments, ADJUSTMENTS),
    )


def load(warehouse: Warehouse, month: CuratedMonth) -> Loaded:
    return warehouse.load_month(month.entry, [month.trips], [month.quarantine], [month.adjustments])


def ask(dsn: str, question: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row, autocommit=True) as connection:
        cursor = connection.execute(question, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def contents(dsn: str, service: str = "yellow") -> dict[str, list[dict[str, Any]]]:
    """All rows of a service by table, in an order of their own; not_in_file rows apart."""
    found = {}
    for table in TABLES:
        rows = ask(dsn, f"select * from chillflow.{table} where service = %s", service)
        found[table] = sorted(({name: str(value) for name, value in row.items()} for row in rows), key=_order)
    quarantine = found["quarantine"]
    found["quarantine"] = [row for row in quarantine if row["reason"] != "not_in_file"]
    found["not_in_file"] = [row for row in quarantine if row["reason"] == "not_in_file"]
    return found


def versions(dsn: str) -> list[tuple[Any, ...]]:
    """Where each row of the three tables and the KPIs lies, and which transaction wrote it."""
    tables = (*TABLES, "kpi_zone_hourly")
    columns = "tableoid::regclass::text, ctid::text, xmin::text"
    question = " union all ".join(f"select {columns} from chillflow.{table}" for table in tables)
    return sorted(tuple(row.values()) for row in ask(dsn, question))


def empty(dsn: str) -> None:
    """Takes all rows and partitions out."""
    for row in ask(dsn, "select inhrelid::regclass::text as name from pg_inherits join pg_class on oid = inhparent "
                        "where relname = 'trips'"):  # fmt: skip
        ask(dsn, f"drop table {row['name']}")
    ask(dsn, "truncate chillflow.adjustments, chillflow.quarantine, chillflow.months, chillflow.kpi_zone_hourly")


def _order(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row.values())
