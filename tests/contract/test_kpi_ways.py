"""The three ways to the same KPIs: what was noted, all of it, and out of the lake; after any history, and any kill."""

import datetime as dt
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chillflow import kpis
from chillflow.assembly import Settled
from chillflow.errors import ServiceDown
from chillflow.jobs.refreshing import Refreshed, refresh, watch
from chillflow.jobs.stopping import Stop
from chillflow.months import Month
from chillflow.placing import originals_of, place
from chillflow.positions import Claim, Position
from chillflow.slices import Slice, halves
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.warehouse import Warehouse
from chillflow.trips import to_frame
from tests.kpi_fold import fold
from tests.strategies import raw_rows
from tests.trip_stores import IMPATIENT, NOON, claimed, trip
from tests.warehouse_samples import MONTH, CuratedMonth, ask, curated, empty, load, raw_row

KPIS = ", ".join([*kpis.KEY, *kpis.NAMES])


@pytest.fixture
def aggregates(warehouse: Warehouse) -> Iterator[Aggregates]:
    with Aggregates(warehouse.dsn) as aggregates:
        yield aggregates


@pytest.fixture
def store(warehouse: Warehouse) -> Iterator[PostgresTripStore]:
    store = PostgresTripStore(warehouse.dsn, IMPATIENT)
    yield store
    store.close()


def zone_hours(dsn: str) -> list[dict[str, Any]]:
    return ask(dsn, f"select {KPIS} from chillflow.kpi_zone_hourly order by service, zone_id, hour")


def pairs(dsn: str) -> list[tuple[Any, ...]]:
    rows = ask(dsn, "select * from chillflow.kpi_pairs_monthly order by 1, 2, 3, 4")
    return [tuple(row.values()) for row in rows]


def pairs_of_trips(dsn: str) -> list[tuple[Any, ...]]:
    """Pairs of zones by a fold in plain Python."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in ask(dsn, "select * from chillflow.trips"):
        month = row["pickup_at"].date().replace(day=1)
        found[row["service"], month, row["pickup_zone_id"], row["dropoff_zone_id"]].append(row)
    return [(*key, len(found[key]), *_of_pair(found[key])) for key in sorted(found)]


def _of_pair(trips: list[dict[str, Any]]) -> tuple[Any, ...]:
    fares = [row["fare_amount"] for row in trips if row["fare_amount"] is not None]
    short = [row for row in trips if not row["flags"] & 4]
    seconds = sum((row["dropoff_at"] - row["pickup_at"]) // dt.timedelta(seconds=1) for row in short)
    return sum(fares, Decimal("0.00")), seconds, len(short), statistics.median_low(fares) if fares else None


def stream(store: PostgresTripStore, claim: Claim, offset: int, settled: Settled) -> None:
    """A transaction of an assembler: a trip, its correction or its reversal, which takes the original with it."""
    store.ensure_partitions([MONTH])
    with store.transaction() as transaction:
        assert transaction.lock([claim], {0: offset}) == []
        loaded = transaction.loaded([("yellow", MONTH)])
        original = settled.trip_id[:-1] + "0"
        known = transaction.look_up({settled.trip_id, original})
        if not loaded or settled.trip_id not in known:
            batch = [Settled(settled.trip_id, "yellow", settled.slots, known.get(settled.trip_id))]
            if original != settled.trip_id and original in known and not loaded:
                batch.append(Settled(original, "yellow", known[original].slots, known[original]))
            taken = transaction.reversed_among(originals_of(batch))
            transaction.write(place(batch, taken, loaded))
        transaction.advance([claim], [Position(0, offset + 1, offset + 1, NOON, NOON)])


trips = st.builds(
    trip,
    st.sampled_from([0, 1, 59, 60]),
    st.just((1, 1, 1)),
    st.none(),
    dropoff_zone_id=st.sampled_from([1, 100, 265]),
    trip_distance=st.sampled_from([None, 0.5, 1.125, 3.0, 500.0]),
    payment_type=st.sampled_from([None, 0, 1, 2]),
    total_amount=st.sampled_from([7.5, 7.5, 0.0, -7.5, 9.99]),
    cbd_congestion_fee=st.sampled_from([None, 0.0, 0.75]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("stream"), trips),
        st.tuples(st.just("yellow"), raw_rows()),
        st.tuples(st.just("green"), raw_rows("green")),
        st.tuples(st.just("refresh"), st.none()),
    ),
    min_size=3,
    max_size=12,
)


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps)
def test_all_ways_agree_after_any_history(
    warehouse: Warehouse, aggregates: Aggregates, history: Sequence[tuple[str, Any]]
) -> None:
    dsn, store = warehouse.dsn, PostgresTripStore(warehouse.dsn, IMPATIENT)
    empty(dsn)
    ask(dsn, "truncate chillflow.kpi_dirty, chillflow.kpi_pairs_monthly, chillflow.kpi_revisions")
    ask(dsn, "truncate chillflow.assembly_partitions, chillflow.assembly_groups, chillflow.incomplete_trips cascade")
    _, [claim] = claimed(store)
    files: dict[str, CuratedMonth] = {}
    offset = 0
    for step, what in history:
        if step == "stream":
            stream(store, claim, offset, what)
            offset += 1
        elif step == "refresh":
            refresh(aggregates)
            assert zone_hours(dsn) == fold(dsn)
        else:
            files[step] = curated(what, step)
            load(warehouse, files[step])
    store.close()
    refresh(aggregates)
    expected = fold(dsn)
    assert zone_hours(dsn) == expected
    assert pairs(dsn) == pairs_of_trips(dsn)
    assert refresh(aggregates) == Refreshed()
    for service in ("yellow", "green"):
        assert aggregates.month(service, MONTH) == 0
    ask(dsn, "truncate chillflow.kpi_zone_hourly")
    for service in ("yellow", "green"):
        aggregates.month(service, MONTH)
    assert zone_hours(dsn) == expected
    ask(dsn, "truncate chillflow.kpi_zone_hourly")
    for service, file in files.items():
        table = kpis.to_table(kpis.partial(to_frame(file.trips), to_frame(file.adjustments)))
        for hours in halves(service, MONTH):
            assert aggregates.given(hours, [table], lambda row: row is not None) is not None
        aggregates.head_of(halves(service, MONTH.next)[0])
    if "yellow" not in files:
        aggregates.month("yellow", MONTH)
    assert zone_hours(dsn) == expected


def test_trips_of_the_month_before_count_beside_the_lake(warehouse: Warehouse, aggregates: Aggregates) -> None:
    """A month's file does not know of trips that began before it."""
    late = {"pickup_at": dt.datetime(2018, 11, 30, 23), "dropoff_at": dt.datetime(2018, 12, 1, 1)}
    load(warehouse, curated([raw_row(0, **late), raw_row(1)]))
    begun = {"pickup_at": dt.datetime(2018, 12, 1, 1, 5), "dropoff_at": dt.datetime(2018, 12, 1, 1, 30)}
    december = curated([raw_row(0, **begun)], month=MONTH.next)
    load(warehouse, december)
    table = kpis.to_table(kpis.partial(to_frame(december.trips), to_frame(december.adjustments)))
    refresh(aggregates)
    expected = zone_hours(warehouse.dsn)
    assert max(row["dropoffs"] for row in expected) == 2
    ask(warehouse.dsn, "delete from chillflow.kpi_zone_hourly where hour >= '2018-12-01'")
    for hours in halves("yellow", MONTH.next):
        aggregates.given(hours, [table], lambda row: row is not None)
    assert zone_hours(warehouse.dsn) == expected == fold(warehouse.dsn)


def test_the_lake_is_not_taken_where_another_file_is_loaded(warehouse: Warehouse, aggregates: Aggregates) -> None:
    load(warehouse, curated([raw_row(0)]))
    for hours in halves("yellow", MONTH):
        assert aggregates.given(hours, [], lambda row: False) is None
    assert {noted.hours for noted in aggregates.noted()} >= set(halves("yellow", MONTH))


def test_only_what_is_noted_is_read(warehouse: Warehouse, aggregates: Aggregates) -> None:
    load(warehouse, curated([raw_row(0), raw_row(300), raw_row(600)]))
    refresh(aggregates)
    ask(warehouse.dsn, "update chillflow.kpi_zone_hourly set fare_sum = fare_sum + 1")
    wrong = {tuple(row.values()) for row in zone_hours(warehouse.dsn)}
    for zone, hour in ((100, 0), (None, 10), (7, 5)):
        note = "insert into chillflow.kpi_dirty (service, zone_id, hour) values ('yellow', %s, %s)"
        ask(warehouse.dsn, note, zone, dt.datetime(2018, 11, 4, hour))
    assert refresh(aggregates, pairs=False) == Refreshed(3, 3)
    mended = {tuple(row.values()) for row in zone_hours(warehouse.dsn)} - wrong
    assert {(row[1], row[2].hour) for row in mended} == {(100, 0), (100, 10), (132, 10)}
    assert aggregates.stale_pairs() == [("yellow", MONTH)]


def test_a_revision_changes_with_its_slice_only(warehouse: Warehouse, aggregates: Aggregates) -> None:
    def revisions() -> dict[dt.date, Any]:
        rows = ask(warehouse.dsn, "select slice, revision from chillflow.kpi_revisions where service = 'yellow'")
        return {row["slice"]: row["revision"] for row in rows}

    load(warehouse, curated([raw_row(0), raw_row(60 * 24 * 20)]))
    aggregates.month("yellow", MONTH)
    before = revisions()
    assert aggregates.month("yellow", MONTH) == 0
    assert revisions() == before
    ask(warehouse.dsn, "insert into chillflow.kpi_dirty (service, zone_id, hour) values ('yellow', 1, '2018-11-16')")
    refresh(aggregates)
    assert {day for day, revision in revisions().items() if before[day] != revision} == {dt.date(2018, 11, 16)}


@pytest.mark.parametrize("statement", ["delete from chillflow.kpi_dirty", "insert into chillflow.kpi_zone_hourly"])
def test_killed_at_any_step_nothing_is_half_done(warehouse: Warehouse, statement: str) -> None:
    """The server ends the session while it holds what the step has done; the next run makes the same tables."""
    load(warehouse, curated([raw_row(0), raw_row(90)]))
    table = statement.split()[2]
    notes = ask(warehouse.dsn, "select count(*) as n from chillflow.kpi_dirty")
    with psycopg.connect(warehouse.dsn) as holder, Aggregates(warehouse.dsn) as doomed:
        holder.execute(f"lock table {table} in share mode")
        thread = threading.Thread(target=_swallow, args=(doomed, halves("yellow", MONTH)[0]))
        thread.start()
        waits = "select pid from pg_locks where relation = %s::regclass and not granted"
        while not (waiting := ask(warehouse.dsn, waits, table)):
            assert thread.is_alive()
        ask(warehouse.dsn, "select pg_terminate_backend(%s)", waiting[0]["pid"])
        thread.join(30)
        assert not thread.is_alive()
    assert zone_hours(warehouse.dsn) == []
    assert ask(warehouse.dsn, "select count(*) as n from chillflow.kpi_dirty") == notes
    with Aggregates(warehouse.dsn) as next_run:
        refresh(next_run)
    assert zone_hours(warehouse.dsn) == fold(warehouse.dsn)


def _swallow(doomed: Aggregates, hours: Slice) -> None:
    with pytest.raises(ServiceDown):
        doomed.all_of(hours)


def test_watching_takes_up_what_is_noted_until_it_is_stopped(warehouse: Warehouse, store: PostgresTripStore) -> None:
    _, [claim] = claimed(store)
    stop, said = Stop(), list[str]()
    watching = threading.Thread(target=_watch, args=(warehouse.dsn, stop, said))
    watching.start()
    try:
        for offset in range(3):
            stream(store, claim, offset, trip(offset))
            while ask(warehouse.dsn, "select * from chillflow.kpi_dirty"):
                assert watching.is_alive()
            assert zone_hours(warehouse.dsn) == fold(warehouse.dsn)
        stream(store, claim, 3, trip(3))
    finally:
        stop.asked.set()
        watching.join(60)
    assert not watching.is_alive()
    assert zone_hours(warehouse.dsn) == fold(warehouse.dsn)
    assert pairs(warehouse.dsn) == pairs_of_trips(warehouse.dsn)
    assert said[-1].startswith("refreshed: ")


def _watch(dsn: str, stop: Stop, said: list[str]) -> None:
    with Aggregates(dsn) as aggregates:
        watch(aggregates, stop, said.append)


def test_slices_fill_a_month(warehouse: Warehouse) -> None:
    for month in (Month(2019, 2), Month(2020, 2), Month(2018, 12)):
        first, second = halves("green", month)
        assert (first.start, first.end, second.end) == (month.start, second.start, month.next.start)
        assert first < second < halves("green", month.next)[0]
