"""A warehouse with KPIs of three synthetic months, among them one with a double hour, and its report."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from chillflow import tlc, zones
from chillflow.curation import curate
from chillflow.months import Month
from chillflow.stores.ledger import MonthEntry
from chillflow.stores.warehouse import Warehouse
from chillflow.synth import write_month
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS, to_table
from tests.fix_postgres import drop_database, new_database

MONTHS = (("yellow", "2018-11", 6_000), ("yellow", "2019-11", 7_000), ("green", "2019-11", 3_000))


def load_file(warehouse: Warehouse, folder: Path, service: str, month: Month) -> None:
    """A month's file to trips and KPIs, without a cluster."""
    path = folder / tlc.file_name(service, month)
    with path.open("rb") as file:
        raw = pl.concat([tlc.read(file, block) for block in tlc.inspect(file, str(path), service).blocks])
    curated = curate(raw, month)
    entry = MonthEntry(
        service=service, month=month, rows_in=curated.rows_in, trips=len(curated.trips),
        quarantined=len(curated.quarantine), adjustments=len(curated.adjustments), counts=curated.counts,
        started_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), code_version="0.1.0", rules_version=1,
    )  # fmt: skip
    warehouse.load_month(
        entry,
        [to_table(curated.trips.sort("pickup_at"), TRIPS)],
        [to_table(curated.quarantine, QUARANTINE)],
        [to_table(curated.adjustments, ADJUSTMENTS)],
    )
    warehouse.aggregate(service, month)


def load_zones(warehouse: Warehouse) -> None:
    warehouse.load_zones((zone.id, zone.borough, zone.name, zone.service_zone) for zone in zones.ZONES)


@pytest.fixture(scope="session")
def reported_dsn(postgres_server: str, _migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a warehouse whose KPIs are computed; to be read only."""
    folder = tmp_path_factory.mktemp("reported")
    dsn = new_database(postgres_server, _migrated)
    with Warehouse(dsn) as warehouse:
        load_zones(warehouse)
        for service, text, rows in MONTHS:
            write_month(service, Month.parse(text), rows, 5, folder, 1_048_576)
            load_file(warehouse, folder, service, Month.parse(text))
    yield dsn
    drop_database(postgres_server, dsn)
