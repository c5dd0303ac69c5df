"""What people ask of the KPIs, and what Redis remembers of it: never anything that is no longer so."""

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
import redis

from chillflow.commands.kpis import zones_called
from chillflow.errors import UnknownZone
from chillflow.kpis import NAMES
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.answers import COUNTS
from chillflow.stores.kpi_reads import KpiReads, Question
from chillflow.stores.warehouse import Warehouse
from tests.fix_brokers import Embedded
from tests.warehouse_samples import MONTH, ask, curated, load, raw_row

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    warehouse.load_zones([(100, "Manhattan", "Garment", "Yellow Zone"), (132, "Queens", "JFK", "Airports")])
    load(warehouse, curated([raw_row(number * 13) for number in range(400)]))
    load(warehouse, curated([raw_row(number * 17) for number in range(30)], "green"))
    for service in ("yellow", "green"):
        warehouse.aggregate(service, MONTH)
    return warehouse


@pytest.fixture
def reads(filled: Warehouse, embedded_brokers: Embedded) -> Iterator[KpiReads]:
    with closing(KpiReads(filled.dsn, embedded_brokers.redis)) as reads:
        yield reads


def total(rows: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal(0))


@pytest.mark.parametrize("by", ["zone", "borough", "city"])
@pytest.mark.parametrize("per", ["hour", "day", "month"])
def test_every_level_tells_the_same_in_all(filled: Warehouse, by: Any, per: Any) -> None:
    with closing(KpiReads(filled.dsn, None)) as reads:
        rows = reads.read(Question((MONTH,), by=by, per=per))
    sums = ", ".join(f"sum({name}) as {name}" for name in NAMES)
    [expected] = ask(filled.dsn, f"select {sums} from chillflow.kpi_zone_hourly where hour < '2018-12-01'")
    assert {name: total(rows, name) for name in NAMES} == {name: Decimal(expected[name]) for name in NAMES}
    assert {row["service"] for row in rows} == {"yellow", "green"}
    assert rows == sorted(rows, key=lambda row: list(row.values())[: list(row).index(per) + 1])


def test_zones_and_services_are_chosen(filled: Warehouse) -> None:
    with closing(KpiReads(filled.dsn, None)) as reads:
        [row] = reads.read(Question((MONTH,), ("yellow",), zones=(132,)))
        assert (row["pickups"], row["dropoffs"], row["month"]) == (0, 400, "2018-11-01")
        assert reads.months(("yellow",)) == (MONTH,)


def test_an_answer_is_remembered_until_its_slice_is_computed_anew(filled: Warehouse, reads: KpiReads) -> None:
    question = Question((MONTH,), ("yellow",), per="day")
    first = reads.read(question)
    assert reads.read(question) == first
    assert (reads.hits, reads.misses) == (1, 1)
    ask(filled.dsn, "delete from chillflow.trips where pickup_at < '2018-11-05'")
    ask(filled.dsn, "insert into chillflow.kpi_dirty (service, hour) select 'yellow', hour "
                    "from generate_series(timestamp '2018-11-04', '2018-11-06', '1 hour') as hour")  # fmt: skip
    assert reads.read(question) == first, "nothing was computed yet"
    with Aggregates(filled.dsn) as aggregates:
        for noted in aggregates.noted():
            aggregates.noted_of(noted.hours)
    with closing(KpiReads(filled.dsn, None)) as without:
        expected = without.read(question)
    assert reads.read(question) == expected != first
    assert (reads.hits, reads.misses) == (2, 2)


def test_redis_counts_how_often_it_had_the_answer(
    filled: Warehouse, reads: KpiReads, embedded_brokers: Embedded
) -> None:
    with redis.Redis.from_url(embedded_brokers.redis) as server:
        server.delete(COUNTS)
    assert reads.hit_rate is None
    for _ in range(4):
        reads.read(Question((MONTH,), ("green",), by="borough"))
    assert reads.hit_rate == 0.75
    with closing(KpiReads(filled.dsn, NOWHERE)) as without:
        assert without.hit_rate is None


def test_redis_that_is_away_or_remembers_nonsense_changes_nothing(
    filled: Warehouse, reads: KpiReads, embedded_brokers: Embedded
) -> None:
    question = Question((MONTH,), by="zone")
    expected = reads.read(question)
    with closing(KpiReads(filled.dsn, NOWHERE)) as without:
        assert without.read(question) == expected
        assert (without.hits, without.misses) == (0, 1)
    with redis.Redis.from_url(embedded_brokers.redis) as server:
        for key in server.scan_iter("chillflow:kpis:*"):
            server.set(key, b"nonsense")
    assert reads.read(question) == expected
    assert reads.hits == 0


def test_another_database_with_the_same_months_has_other_answers(filled: Warehouse, reads: KpiReads) -> None:
    question = Question((MONTH,))
    before = reads.read(question)
    ask(filled.dsn, "truncate chillflow.kpi_revisions, chillflow.kpi_zone_hourly, chillflow.trips")
    later = raw_row(0, pickup_at=dt.datetime(2018, 11, 7), dropoff_at=dt.datetime(2018, 11, 7, 1))
    for service in ("yellow", "green"):
        load(filled, curated([later], service))
        filled.aggregate(service, MONTH)
    assert reads.read(question) != before
    assert reads.hits == 0


def test_zones_are_found_by_name_or_number() -> None:
    assert zones_called("jfk airport") == zones_called("132") == [132]
    assert zones_called("corona") == [56, 57]
    with pytest.raises(UnknownZone, match="no zone is called 'JFK'; did you mean JFK Airport"):
        zones_called("JFK")
    with pytest.raises(UnknownZone, match="did you mean LaGuardia Airport"):
        zones_called("La Guardia Airport")
    for text in ("0", "266", "qqqqq"):
        with pytest.raises(UnknownZone, match="numbers from 1 to 265"):
            zones_called(text)
