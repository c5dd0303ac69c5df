"""KPIs of a month: equal to a fold in plain Python, whole or again, and quick to find their rows."""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from chillflow.kpis import KEY, NAMES
from chillflow.months import Month
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.ledger import slice_of
from chillflow.stores.queries import query
from chillflow.stores.warehouse import Warehouse
from tests.kpi_fold import fold
from tests.strategies import raw_rows
from tests.warehouse_samples import MONTH, ask, curated, empty, load, raw_row, versions

LAST = dt.datetime(2018, 11, 30, 23, 30)


@pytest.fixture
def aggregates(warehouse: Warehouse) -> Iterator[Aggregates]:
    with Aggregates(warehouse.dsn) as aggregates:
        yield aggregates


def kpis(dsn: str) -> list[dict[str, Any]]:
    columns = ", ".join([*KEY, *NAMES])
    return ask(dsn, f"select {columns} from chillflow.kpi_zone_hourly order by service, zone_id, hour")


def test_the_table_has_the_measures_and_no_more(warehouse: Warehouse) -> None:
    columns = ask(
        warehouse.dsn,
        "select column_name from information_schema.columns where table_schema = 'chillflow' "
        "and table_name = 'kpi_zone_hourly' order by ordinal_position",
    )
    assert sorted(row["column_name"] for row in columns) == sorted([*KEY, *NAMES])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw_rows(), raw_rows())
def test_kpis_equal_a_fold_of_the_trips(warehouse: Warehouse, before: list[Any], after: list[Any]) -> None:
    empty(warehouse.dsn)
    for rows in (before, after):
        load(warehouse, curated(rows))
        warehouse.aggregate("yellow", MONTH)
        assert kpis(warehouse.dsn) == fold(warehouse.dsn)


def test_trips_that_end_in_the_next_month_count_there(warehouse: Warehouse) -> None:
    over = {"pickup_at": LAST, "dropoff_at": LAST + dt.timedelta(hours=23, minutes=59)}
    november = [raw_row(0), raw_row(1, **over), raw_row(2, **over, vendor_id=1)]
    december = [raw_row(0, pickup_at=dt.datetime(2018, 12, day), dropoff_at=dt.datetime(2018, 12, day, 1), vendor_id=1)
                for day in (1, 2, 3)]  # fmt: skip
    load(warehouse, curated(november))
    load(warehouse, curated(december, month=MONTH.next))
    for months in ((MONTH, MONTH.next), (MONTH.next, MONTH)):
        ask(warehouse.dsn, "truncate chillflow.kpi_zone_hourly")
        for month in months:
            warehouse.aggregate("yellow", month)
        assert kpis(warehouse.dsn) == fold(warehouse.dsn)
    load(warehouse, curated(november[:2]))
    assert warehouse.aggregate("yellow", MONTH) == 2
    assert kpis(warehouse.dsn) == fold(warehouse.dsn)


def test_only_hours_that_changed_are_written(warehouse: Warehouse) -> None:
    rows = [raw_row(number * 60) for number in range(30)]
    load(warehouse, curated(rows))
    load(warehouse, curated(rows, "green"))
    warehouse.aggregate("green", MONTH)
    assert warehouse.aggregate("yellow", MONTH) == 60
    before = set(versions(warehouse.dsn))
    assert warehouse.aggregate("yellow", MONTH) == 0
    assert set(versions(warehouse.dsn)) == before
    load(warehouse, curated([*rows[:-1], raw_row(29 * 60, tip_amount=1)]))
    assert warehouse.aggregate("yellow", MONTH) == 1
    assert kpis(warehouse.dsn) == fold(warehouse.dsn)


def test_the_ledger_says_done_until_the_month_is_loaded_again(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    warehouse.aggregate("yellow", MONTH)
    [done] = warehouse.months()
    assert done["status"] == "done"
    assert done["aggregated_at"] >= done["loaded_at"]
    load(warehouse, curated([raw_row(0)]))
    [loaded] = warehouse.months()
    assert (loaded["status"], loaded["aggregated_at"]) == ("loaded", None)


def test_a_load_that_is_about_to_commit_keeps_a_month_from_being_done(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    with psycopg.connect(warehouse.dsn) as loading:
        psycopg.ClientCursor(loading).execute(query("lock_month"), slice_of("yellow", MONTH))
        assert warehouse.aggregate("yellow", MONTH) == 2
        assert warehouse.months()[0]["status"] == "loaded"
        loading.rollback()
    assert warehouse.aggregate("yellow", MONTH) == 0
    assert warehouse.months()[0]["status"] == "done"


def test_a_month_that_its_neighbour_held_up_is_done_with_it(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    there = dt.datetime(2018, 12, 1)
    beyond = raw_row(0, pickup_at=there, dropoff_at=there + dt.timedelta(minutes=10))
    load(warehouse, curated([beyond], month=MONTH.next))
    warehouse.aggregate("yellow", MONTH)
    ask(warehouse.dsn, "insert into chillflow.kpi_dirty (service, hour) values ('yellow', %s)", there)
    ask(
        warehouse.dsn,
        "update chillflow.months set status = 'loaded', aggregated_at = null where month = %s",
        MONTH.date,
    )
    warehouse.aggregate("yellow", MONTH.next)
    assert [row["status"] for row in warehouse.months()] == ["done", "done"]


def test_a_month_is_done_when_nothing_of_it_is_noted(warehouse: Warehouse, aggregates: Aggregates) -> None:
    load(warehouse, curated([raw_row(0)]))
    assert not aggregates.mark("yellow", MONTH)
    for noted in aggregates.noted():
        aggregates.noted_of(noted.hours)
    assert aggregates.loaded() == [("yellow", MONTH)]
    assert aggregates.mark("yellow", MONTH)
    assert aggregates.loaded() == []


def test_a_month_without_rows_has_no_kpis(warehouse: Warehouse) -> None:
    assert warehouse.aggregate("yellow", Month(2019, 7)) == 0
    assert warehouse.months() == []


def test_other_months_are_not_read(warehouse: Warehouse, monkeypatch: Any) -> None:
    for number in range(1, 7):
        warehouse.ensure_partition(Month(2019, number))
    plans: list[str] = []
    execute = psycopg.Connection.execute

    def explained(connection: Any, question: Any, *values: Any) -> Any:
        text = question.as_string(connection)
        if re.search("create temporary table fresh_(pickups|dropoffs|reversals)", text):
            plan = psycopg.sql.SQL("explain ") + question
            plans.append("\n".join(row["QUERY PLAN"] for row in execute(connection, plan, *values)))
        return execute(connection, question, *values)

    monkeypatch.setattr(psycopg.Connection, "execute", explained)
    warehouse.aggregate("yellow", Month(2019, 3))
    assert len(plans) == 3 * 3
    assert set(re.findall(r"trips_2019_\d\d", "\n".join(plans))) == {
        "trips_2019_02", "trips_2019_03", "trips_2019_04",
    }  # fmt: skip
