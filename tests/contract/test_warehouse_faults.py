"""The warehouse under faults: loads at once, connections cut, processes killed, a full disk."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import conninfo

from chillflow.errors import ServiceDown, WarehouseFull, WarehouseRefused
from chillflow.months import Month
from chillflow.stores.ledger import Loaded
from chillflow.stores.postgres import connect
from chillflow.stores.warehouse import Warehouse
from tests.fix_postgres import PostgresServer, new_database
from tests.warehouse_samples import MONTH, CuratedMonth, ask, contents, curated, load, raw_row

ROWS = [*(raw_row(number) for number in range(300)), raw_row(300, total_amount=0), raw_row(301, total_amount=-750)]
OTHER = [*(raw_row(number) for number in range(150, 450)), raw_row(450, total_amount=-750)]
CHILD = """
import sys
from chillflow.stores.warehouse import Warehouse
from tests.contract.test_warehouse_faults import OTHER, ROWS
from tests.warehouse_samples import curated, load
months = [curated(ROWS), curated(OTHER)]
print("ready", flush=True)
while True:
    for month in months:
        with Warehouse(sys.argv[1]) as warehouse:
            load(warehouse, month)
"""


def leftovers(dsn: str) -> list[str]:
    tables = ask(dsn, "select tablename from pg_tables where schemaname = 'chillflow' and tablename ~ '^trips_'")
    return [row["tablename"] for row in tables if row["tablename"] != "trips_2018_11"]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """The results of calls that begin together, each in a thread."""
    barrier = Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        barrier.wait(30)
        return one()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


def loader(dsn: str, month: CuratedMonth) -> Callable[[], Loaded]:
    def run() -> Loaded:
        with Warehouse(dsn) as warehouse:
            return load(warehouse, month)

    return run


def interrupted(month: CuratedMonth, fault: Callable[[], Any]) -> Iterator[pa.Table]:
    """The month's trips in small tables, with a fault in the middle."""
    for start in range(0, 300, 10):
        if start == 150:
            fault()
        yield month.trips.slice(start, 10)


def test_loads_of_a_month_at_once_are_one_load(warehouse: Warehouse) -> None:
    month = curated(ROWS)
    done = at_once(*[loader(warehouse.dsn, month)] * 3)
    assert sorted(one.inserted for one in done) == [0, 0, 300]
    assert [one.fresh for one in done].count(True) == 1
    assert [(one.updated, one.removed, one.not_in_file) for one in done] == [(0, 0, 0)] * 3
    assert leftovers(warehouse.dsn) == []
    assert len(contents(warehouse.dsn)["trips"]) == 300


def test_services_and_months_load_at_once(warehouse: Warehouse) -> None:
    months = [curated(ROWS, service) for service in ("yellow", "green")]
    december = [raw_row(0, pickup_at=MONTH.next.start, dropoff_at=MONTH.next.start.replace(minute=9))]
    months += [curated(december, service, MONTH.next) for service in ("yellow", "green")]
    for _ in range(3):
        at_once(*(loader(warehouse.dsn, month) for month in months))
    assert len(contents(warehouse.dsn, "yellow")["trips"]) == 301
    assert len(contents(warehouse.dsn, "green")["trips"]) == 301
    assert len(warehouse.months()) == 4


def test_a_partition_is_made_once(warehouse: Warehouse) -> None:
    def make() -> None:
        with Warehouse(warehouse.dsn) as mine:
            mine.ensure_partition(MONTH)

    at_once(*[make] * 6)
    assert ask(warehouse.dsn, "select count(*) from pg_inherits where inhparent = 'chillflow.trips'::regclass") == [
        {"count": 1}
    ]


def test_neighbouring_months_aggregate_at_once(warehouse: Warehouse) -> None:
    load(warehouse, curated(ROWS))

    def aggregate(month: Month) -> Callable[[], int]:
        def run() -> int:
            with Warehouse(warehouse.dsn) as mine:
                return mine.aggregate("yellow", month)

        return run

    at_once(*(aggregate(month) for month in (MONTH.next, MONTH, MONTH.next, MONTH)))
    [total] = ask(warehouse.dsn, "select sum(pickups) as begun, sum(dropoffs) as ended from chillflow.kpi_zone_hourly")
    assert total == {"begun": 300, "ended": 300}


def test_a_long_reader_does_not_hold_a_load_up(warehouse: Warehouse) -> None:
    with psycopg.connect(warehouse.dsn) as reader:
        reader.execute("select count(*) from chillflow.trips")
        assert load(warehouse, curated(ROWS)).fresh
        assert load(warehouse, curated(OTHER)).removed == 150


@pytest.mark.parametrize("before", [[], OTHER], ids=["fresh", "present"])
def test_a_connection_cut_in_the_middle_leaves_the_month_as_it_was(warehouse: Warehouse, before: list[Any]) -> None:
    month = curated(ROWS)
    load(warehouse, curated(before))
    if not before:
        ask(warehouse.dsn, "drop table chillflow.trips_2018_11")
    was = contents(warehouse.dsn)

    def cut() -> None:
        others = "datname = current_database() and pid <> pg_backend_pid() and application_name = 'chillflow'"
        assert ask(warehouse.dsn, f"select pg_terminate_backend(pid) as ended from pg_stat_activity where {others}")

    with pytest.raises(ServiceDown, match="the connection was lost"):
        warehouse.load_month(month.entry, interrupted(month, cut), [month.quarantine], [month.adjustments])
    assert contents(warehouse.dsn) == was
    assert leftovers(warehouse.dsn) == []
    assert load(warehouse, month).fresh is not bool(before)
    assert len(contents(warehouse.dsn)["trips"]) == 300


def test_a_server_that_crashes_in_the_middle_can_be_loaded_again() -> None:
    server = PostgresServer()
    try:
        with Warehouse(new_database(server.dsn)) as warehouse:
            warehouse.migrate()
            month = curated(ROWS)
            trips = interrupted(month, lambda: server.stop(signal.SIGQUIT))
            with pytest.raises(ServiceDown, match="chillflow up"):
                warehouse.load_month(month.entry, trips, [month.quarantine], [month.adjustments])
            with pytest.raises(ServiceDown):
                warehouse.months()
            server.start()
            assert warehouse.months() == []
            assert leftovers(warehouse.dsn) == []
            assert load(warehouse, month).fresh
    finally:
        server.close()


def test_a_process_killed_at_any_moment_leaves_one_file_or_the_other(warehouse: Warehouse) -> None:
    truths = []
    for rows in (ROWS, OTHER):
        load(warehouse, curated(rows))
        truths.append({name: rows for name, rows in contents(warehouse.dsn).items() if name != "not_in_file"})
    moments = random.Random(7)
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, warehouse.dsn],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(moments.uniform(0, 0.4))
            child.kill()
        found = contents(warehouse.dsn)
        found.pop("not_in_file")
        assert found in truths
        deadline = time.monotonic() + 30
        backends = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        while len(ask(warehouse.dsn, backends)) > 1 and time.monotonic() < deadline:
            pass
        assert leftovers(warehouse.dsn) == []
    load(warehouse, curated(ROWS))
    found = contents(warehouse.dsn)
    found.pop("not_in_file")
    assert found == truths[0]


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        ("53100", WarehouseFull, "free some space and run the same command again"),
        ("42501", WarehouseRefused, "grant the user the right"),
        ("XX000", WarehouseRefused, "nothing was stored"),
    ],
)
def test_an_error_of_the_server_names_its_remedy(
    warehouse: Warehouse, code: str, kind: type[Exception], remedy: str
) -> None:
    body = f"begin raise exception 'could not extend file' using errcode = '{code}'; end"
    ask(warehouse.dsn, f"create function fail() returns trigger language plpgsql as $$ {body} $$")
    ask(warehouse.dsn, "create trigger fail before insert on chillflow.months execute function fail()")
    with pytest.raises(kind, match=f"could not extend file.*{remedy}"):
        load(warehouse, curated(ROWS))
    ask(warehouse.dsn, "drop trigger fail on chillflow.months")
    assert leftovers(warehouse.dsn) == []
    assert load(warehouse, curated(ROWS)).fresh


def test_a_connection_notices_a_server_that_vanished_unless_its_dsn_says_otherwise(empty_dsn: str) -> None:
    for dsn, wanted in ((empty_dsn, "30"), (conninfo.make_conninfo(empty_dsn, keepalives_idle="7"), "7")):
        with connect(dsn) as connection:
            given = {one.keyword: one.val for one in connection.pgconn.info}
        assert given[b"keepalives_idle"] == wanted.encode()
        assert (given[b"keepalives_interval"], given[b"keepalives_count"]) == (b"10", b"6")
        assert given[b"tcp_user_timeout"] == b"90000"
