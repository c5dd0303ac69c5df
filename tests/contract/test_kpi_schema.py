"""The KPIs' tables, views and role: what the code says they are, and how they come to a database that has data."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from chillflow.kpis import HUNDREDTHS, MEASURES
from chillflow.stores.warehouse import Warehouse
from tests.fix_postgres import drop_database, new_database
from tests.kpi_fold import fold
from tests.warehouse_samples import MONTH, ask, curated, load, raw_row

LEVELS = {
    "kpi_zone_hourly": ["service", "zone_id", "hour"],
    "kpi_zone_daily": ["service", "zone_id", "day"],
    "kpi_zone_monthly": ["service", "zone_id", "month"],
    "kpi_borough_daily": ["service", "borough", "day"],
    "kpi_city_daily": ["service", "day"],
    "kpi_city_monthly": ["service", "month"],
}


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_the_measures_of_the_code(warehouse: Warehouse, level: str) -> None:
    columns = {
        row["attname"]: (row["kind"], row["meaning"])
        for row in ask(
            warehouse.dsn,
            "select attname, format_type(atttypid, null) as kind, col_description(attrelid, attnum) as meaning "
            "from pg_attribute where attrelid = %s::regclass and attnum > 0",
            f"chillflow.{level}",
        )
    }
    expected = {
        one.name: (
            "numeric" if one.unit in HUNDREDTHS else "bigint",
            one.meaning if one.unit in ("trips", "passengers") else f"{one.meaning}, {one.unit}",
        )
        for one in MEASURES
    }
    assert {name: columns.get(name) for name in expected} == expected
    assert sorted(set(columns) - set(expected)) == sorted(LEVELS[level])


def test_every_level_sums_up_to_the_same(warehouse: Warehouse) -> None:
    warehouse.load_zones([(100, "Manhattan", "Garment", "Yellow Zone"), (132, "Queens", "JFK", "Airports")])
    load(warehouse, curated([raw_row(minute, trip_distance=1.01 * minute) for minute in range(1, 2000, 7)]))
    warehouse.aggregate("yellow", MONTH)
    sums = ", ".join(f"sum({one.name}) as {one.name}" for one in MEASURES)
    [whole] = ask(warehouse.dsn, f"select {sums} from chillflow.kpi_zone_hourly")
    assert whole["distance_sum"] > 0
    for level in LEVELS:
        assert ask(warehouse.dsn, f"select {sums} from chillflow.{level}") == [whole]


def test_databases_of_a_server_may_be_migrated_at_once(postgres_server: str) -> None:
    """The reader's role belongs to all of them."""

    def migrate(dsn: str) -> int:
        with Warehouse(dsn) as warehouse:
            return len(warehouse.migrate())

    databases = [new_database(postgres_server) for _ in range(3)]
    try:
        with ThreadPoolExecutor(3) as threads:
            assert min(threads.map(migrate, databases)) > 0
    finally:
        for dsn in databases:
            drop_database(postgres_server, dsn)


def test_the_reader_reads_all_and_writes_nothing(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    with psycopg.connect(warehouse.dsn, autocommit=True) as connection:
        connection.execute("set role chillflow_reader")
        for table in ("trips", "kpi_zone_hourly", "kpi_city_monthly", "kpi_pairs_monthly", "months"):
            connection.execute(sql.SQL("select * from {}").format(sql.Identifier("chillflow", table)))
        for statement in ("delete from chillflow.trips", "update chillflow.months set trips = 0"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_a_user_who_may_not_make_roles_goes_without(postgres_server: str) -> None:
    dsn = new_database(postgres_server)
    name = conninfo_to_dict(dsn)["dbname"]
    try:
        ask(dsn, f"create role {name}_owner login")
        ask(dsn, f"grant create on database {name} to {name}_owner")
        with psycopg.connect(dsn) as connection:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(f"{name}_owner")))
        with Warehouse(psycopg.conninfo.make_conninfo(dsn, options=f"-c role={name}_owner")) as warehouse:
            assert "0008_measures" in warehouse.migrate()
    finally:
        drop_database(postgres_server, dsn)
        ask(postgres_server, f"drop role {name}_owner")


def test_kpis_of_an_older_schema_are_noted_to_be_computed_anew(warehouse: Warehouse) -> None:
    """The migration knows no measures of the trips that were aggregated before it."""
    rows = [raw_row(number * 60) for number in range(30)]
    load(warehouse, curated([*rows, raw_row(5000, total_amount=-700)]))
    warehouse.aggregate("yellow", MONTH)
    _undo_0008(warehouse.dsn)
    with Warehouse(warehouse.dsn) as later:
        assert later.migrate() == ("0008_measures",)
        [month] = later.months()
        assert (month["status"], month["aggregated_at"]) == ("loaded", None)
        notes = {(row["service"], row["hour"]) for row in ask(later.dsn, "select * from chillflow.kpi_dirty")}
        expected = fold(later.dsn)
        assert notes >= {(row["service"], row["hour"]) for row in expected}
        later.aggregate("yellow", MONTH)
        names = ", ".join(expected[0])
        found = ask(later.dsn, f"select {names} from chillflow.kpi_zone_hourly order by 1, 2, 3")
    assert found == expected


def _undo_0008(dsn: str) -> None:
    """The schema as 0007 left it."""
    for level in LEVELS:
        if level != "kpi_zone_hourly":
            ask(dsn, f"drop view chillflow.{level}")
    ask(dsn, "drop table chillflow.kpi_pairs_monthly, chillflow.kpi_revisions")
    old = ("pickups", "dropoffs", "fare_sum", "tip_sum", "tolls_sum", "total_sum")
    for one in MEASURES:
        if one.name not in old:
            ask(dsn, f"alter table chillflow.kpi_zone_hourly drop column {one.name}")
    ask(dsn, "delete from chillflow_migrations.applied where migration_id = '0008_measures'")
