"""What a report reads is what PostgreSQL's own views and trips say."""

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pytest

from chillflow.months import Month
from chillflow.reports import days, hours, money, places
from chillflow.reports.facts import BOROUGHS, WEEK_MEASURES, ZONES, Facts
from chillflow.stores.reporting import ledger_of, read_facts
from chillflow.stores.warehouse import Warehouse
from tests.fix_brokers import Embedded
from tests.warehouse_samples import ask

col = pl.col


@pytest.fixture(scope="module")
def read(reported_dsn: str) -> Facts:
    with Warehouse(reported_dsn) as warehouse:
        return read_facts(reported_dsn, ledger_of(warehouse.months(), None))


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


@pytest.mark.parametrize(("level", "schema"), [("kpi_borough_daily", BOROUGHS), ("kpi_zone_monthly", ZONES)])
def test_roll_ups_are_those_of_the_views(reported_dsn: str, read: Facts, level: str, schema: Any) -> None:
    frame = read.boroughs if level == "kpi_borough_daily" else read.zones
    key = [name for name in schema if name in ("service", "borough", "zone_id", "day", "month")]
    month = "v.month" if "month" in schema else "date_trunc('month', v.day)::date"
    asked = ask(
        reported_dsn,
        f"select {', '.join(schema)} from chillflow.{level} as v where exists "
        f"(select from chillflow.months as m where m.service = v.service and m.month = {month}) "
        f"order by {', '.join(key)}",
    )
    mine = rows(frame.select(*schema).sort(key))
    assert len(mine) == len(asked) > 100
    by_key = {tuple(row[name] for name in key): row for row in mine}
    for row in asked:
        assert by_key[tuple(row[name] for name in key)] == row


def test_the_week_of_months_that_lie_apart_is_what_their_zone_hours_say(reported_dsn: str, read: Facts) -> None:
    measures = ", ".join(f"sum({name}) as {name}" for name in WEEK_MEASURES)
    asked = ask(
        reported_dsn,
        "select service, zone_id, extract(isodow from hour)::int as weekday, extract(hour from hour)::int as hour, "
        f"{measures} from chillflow.kpi_zone_hourly join chillflow.months using (service) "
        "where date_trunc('month', hour)::date = month group by 1, 2, 3, 4 order by 1, 2, 3, 4",
    )
    assert rows(read.week.sort("service", "zone_id", "weekday", "hour")) == asked
    assert len(asked) > 1_000


def test_other_months_are_left_out(reported_dsn: str) -> None:
    with Warehouse(reported_dsn) as warehouse:
        ledger = ledger_of(warehouse.months(), [Month(2018, 11)])
    found = read_facts(reported_dsn, ledger)
    assert found.months == (Month(2018, 11),)
    assert set(found.zones["service"]) == {"yellow"}
    assert {(day.year, day.month) for day in found.boroughs["day"]} == {(2018, 11)}


def test_figures_are_what_the_trips_say(reported_dsn: str, read: Facts) -> None:
    [trips] = ask(
        reported_dsn,
        "select count(*) as trips, sum(total_amount) as revenue, "
        "sum(tip_amount) filter (where payment_type = 1) / "
        "sum(total_amount - tip_amount) filter (where payment_type = 1) as tip, "
        "count(*) filter (where payment_type = 2) as cash from chillflow.trips "
        "where service = 'yellow' and pickup_at >= '2019-11-01' and pickup_at < '2019-12-01'",
    )
    november = places.zone_months(read).table.filter(col("zone_id").is_null(), service="yellow", month="2019-11")
    assert (november["pickups"].item(), november["revenue"].item()) == (trips["trips"], trips["revenue"])
    assert november["tip_share"].item() == pytest.approx(float(trips["tip"]))
    paid = money.payments(read).table.filter(service="yellow", month="2019-11")
    assert paid["trips"].sum() == trips["trips"]
    assert paid.filter(payment="cash")["trips"].item() == trips["cash"]
    by_day = days.daily(read).table.filter(col("day") >= dt.date(2019, 1, 1), service="yellow", borough=days.WHOLE)
    assert (by_day["trips"].sum(), by_day["revenue"].sum()) == (trips["trips"], trips["revenue"])
    assert isinstance(by_day["revenue"].sum(), Decimal)


def test_speed_is_what_the_trips_say(reported_dsn: str, read: Facts) -> None:
    [slow] = ask(
        reported_dsn,
        "select sum(trip_distance) / sum(extract(epoch from dropoff_at - pickup_at)) * 3600 as mph, count(*) as n "
        "from chillflow.trips where service = 'yellow' and trip_distance is not null "
        "and dropoff_at - pickup_at <= interval '4 hours' "
        "and extract(isodow from pickup_at) = 3 and extract(hour from pickup_at) = 18",
    )
    cell = hours.speed(read).table.filter(service="yellow", area="The whole city", weekday="Wed", hour="18")
    assert slow["n"] >= 10
    assert cell["mph"].item() == pytest.approx(float(slow["mph"]))


def test_the_double_hour_is_what_the_trips_say(reported_dsn: str, read: Facts) -> None:
    figure = days.clock_changes(read)
    assert figure is not None
    [asked] = ask(
        reported_dsn,
        "select count(*) as n from chillflow.trips where service = 'yellow' and pickup_at >= '2018-11-04 01:00' "
        "and pickup_at < '2018-11-04 02:00'",
    )
    shown = figure.table.filter(service="yellow", day="2018-11-04", hour="01:00")
    assert (shown["pickups"].item(), shown["note"].item()) == (asked["n"], "two hours in one")


def test_an_empty_ledger_asks_nothing(reported_dsn: str) -> None:
    assert read_facts("host=nowhere.invalid dbname=none", []).months == ()


def test_what_redis_remembers_is_told_until_its_month_is_computed_anew(
    reported_dsn: str, embedded_brokers: Embedded
) -> None:
    with Warehouse(reported_dsn) as warehouse:
        ledger = ledger_of(warehouse.months(), None)
    told = read_facts(reported_dsn, ledger, embedded_brokers.redis)
    kpis = "update chillflow.kpi_zone_hourly set pickups = pickups + 1"
    revision = "update chillflow.kpi_revisions set revision = gen_random_uuid()"
    with psycopg.connect(reported_dsn, autocommit=True) as connection:
        try:
            connection.execute(kpis)
            assert read_facts(reported_dsn, ledger, embedded_brokers.redis).zones.equals(told.zones)
            connection.execute(revision)
            fresh = read_facts(reported_dsn, ledger, embedded_brokers.redis)
            assert fresh.zones["pickups"].sum() > told.zones["pickups"].sum()
            assert fresh.zones.sort(pl.all()).equals(read_facts(reported_dsn, ledger).zones.sort(pl.all()))
        finally:
            connection.execute(kpis.replace("+", "-"))
            connection.execute(revision)
