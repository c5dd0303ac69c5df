"""Loading a month: what the tables hold after it, whatever they held before."""

import dataclasses
import datetime as dt
import uuid
import weakref
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from chillflow.errors import MonthInconsistent
from chillflow.months import Month
from chillflow.stores.ledger import Loaded
from chillflow.stores.warehouse import Warehouse
from tests.warehouse_samples import MONTH, ask, contents, curated, load, raw_row, versions

ORDINARY = [raw_row(number) for number in range(20)]
EVERY_KIND = [
    *ORDINARY,
    raw_row(20, passenger_count=9, trip_distance=-4.25),
    raw_row(21, total_amount=0),
    raw_row(22, total_amount=-750),
    raw_row(23, pickup_at=None),
    raw_row(24, pickup_at=dt.datetime(2088, 1, 1)),
    raw_row(25, trip_distance=float("nan")),
    raw_row(3, source_row=26),
]


def count(dsn: str, table: str, where: str = "true") -> int:
    return int(ask(dsn, f"select count(*) from chillflow.{table} where {where}")[0]["count"])


def test_a_fresh_month_becomes_a_partition_with_a_ledger_entry(warehouse: Warehouse) -> None:
    month = curated(EVERY_KIND)
    assert load(warehouse, month) == Loaded(fresh=True, inserted=21, updated=0, removed=0, not_in_file=0)
    assert count(warehouse.dsn, "trips_2018_11") == 21
    assert [(row["table"], row["reason"], row["rows"]) for row in warehouse.count("yellow", MONTH)] == [
        ("adjustments", None, 1),
        ("quarantine", "duplicate", 1),
        ("quarantine", "pickup_outside_file_month", 1),
        ("quarantine", "ts_missing", 1),
        ("quarantine", "value_invalid", 1),
        ("quarantine", "zero_total", 1),
        ("trips", None, 21),
    ]
    [entry] = warehouse.months()
    assert {name: entry[name] for name in ("month", "path", "status", "rows_in", "trips", "quarantined")} == {
        "month": "2018-11", "path": "batch", "status": "loaded", "rows_in": 27, "trips": 21, "quarantined": 5,
    }  # fmt: skip
    assert entry["counts"] == dict(month.entry.counts)
    assert warehouse.month("yellow", MONTH) == entry
    assert warehouse.month("green", MONTH) is None


def test_values_arrive_as_they_are(warehouse: Warehouse) -> None:
    extremes = raw_row(
        0,
        dropoff_at=dt.datetime(1901, 5, 5, 0, 0, 0, 123456),
        trip_distance=float("-inf"),
        fare_amount=-999_999_999,
        extra=-1,
        mta_tax=0,
        tolls_amount=999_999_999,
        tip_amount=None,
        total_amount=1_234_567,
        unrepresentable='extra="1e99"',
    )
    load(warehouse, curated([extremes]))
    [row] = ask(warehouse.dsn, "select * from chillflow.quarantine")
    assert row["dropoff_at"] == dt.datetime(1901, 5, 5, 0, 0, 0, 123456)
    assert row["trip_distance"] == float("-inf")
    money = ("fare_amount", "extra", "mta_tax", "tolls_amount", "tip_amount", "total_amount")
    values = ["-9999999.99", "-0.01", "0.00", "9999999.99", None, "12345.67"]
    assert [row[name] for name in money] == [value and Decimal(value) for value in values]
    assert row["unrepresentable"] == 'extra="1e99"'


def test_an_id_arrives_as_it_is_and_leads_to_its_trip(warehouse: Warehouse) -> None:
    month = curated(EVERY_KIND)
    load(warehouse, month)
    for table, name in ((month.trips, "trips"), (month.adjustments, "adjustments"), (month.quarantine, "quarantine")):
        for trip_id in table["trip_id"].to_pylist():
            assert trip_id is None or name in {row["table"] for row in warehouse.trip(trip_id)}
    assert warehouse.trip(uuid.UUID(int=2**128 - 1)) == []


def test_what_is_shown_of_a_trip_is_plain(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0, trip_distance=-4.25)]))
    [trip_id] = [row["trip_id"] for row in ask(warehouse.dsn, "select trip_id from chillflow.trips")]
    [trip] = warehouse.trip(str(trip_id).upper())
    assert trip["trip_id"] == str(trip_id)
    assert trip["pickup_at"] == "2018-11-04T00:00:00"
    assert (trip["total_amount"], trip["trip_distance"], trip["raw"]) == ("7.50", None, {"trip_distance": -4.25})
    assert trip["flag_names"] == ["bad_distance"]


def test_the_same_month_again_touches_no_row(warehouse: Warehouse) -> None:
    month = curated(EVERY_KIND)
    load(warehouse, month)
    warehouse.aggregate("yellow", MONTH)
    before = versions(warehouse.dsn)
    assert load(warehouse, month) == Loaded(fresh=False, inserted=0, updated=0, removed=0, not_in_file=0)
    warehouse.aggregate("yellow", MONTH)
    assert versions(warehouse.dsn) == before


def test_a_republished_month_replaces_and_touches_only_what_differs(warehouse: Warehouse) -> None:
    load(warehouse, curated(ORDINARY))
    before = set(versions(warehouse.dsn))
    changed = [raw_row(0, tip_amount=300), raw_row(1, payment_type=2), *ORDINARY[2:-3], raw_row(30), raw_row(31)]
    done = load(warehouse, curated(changed))
    assert done == Loaded(fresh=False, inserted=2, updated=2, removed=3, not_in_file=3)
    assert len(before & set(versions(warehouse.dsn))) == 15
    assert warehouse.months()[0]["counts"]["not_in_file"] == 3


def test_rows_that_the_new_file_lacks_keep_their_raw_values(warehouse: Warehouse) -> None:
    fixed = raw_row(
        90, pickup_at=dt.datetime(2018, 11, 4, 1, 30), dropoff_at=dt.datetime(2018, 11, 4, 1, 0),
        passenger_count=9, trip_distance=-4.25,
    )  # fmt: skip
    load(warehouse, curated([*ORDINARY, fixed, raw_row(22, total_amount=-750), raw_row(21, total_amount=0)]))
    kept = contents(warehouse.dsn)
    load(warehouse, curated(ORDINARY))
    after = contents(warehouse.dsn)
    assert len(after["trips"]) == 20
    assert (after["adjustments"], after["quarantine"]) == ([], [])
    assert len(after["not_in_file"]) == 3
    [row] = [row for row in after["not_in_file"] if row["passenger_count"] == "9"]
    assert (row["trip_distance"], row["dropoff_at"]) == ("-4.25", "2018-11-04 01:00:00")
    assert (row["month"], row["source_row"], row["source"]) == ("2018-11-01", "None", "batch")
    [adjustment] = [row for row in after["not_in_file"] if row["total_amount"] == "-7.50"]
    assert adjustment["trip_id"] == kept["adjustments"][0]["trip_id"]


def test_a_row_that_comes_back_is_missing_no_more(warehouse: Warehouse) -> None:
    whole = curated(EVERY_KIND)
    load(warehouse, whole)
    before = contents(warehouse.dsn)
    load(warehouse, curated(ORDINARY[:5]))
    assert len(contents(warehouse.dsn)["not_in_file"]) == 18
    load(warehouse, whole)
    assert contents(warehouse.dsn) == before
    assert "not_in_file" not in warehouse.months()[0]["counts"]


def test_services_share_a_partition_without_touching_each_other(warehouse: Warehouse) -> None:
    load(warehouse, curated(EVERY_KIND))
    yellow, before = contents(warehouse.dsn), set(versions(warehouse.dsn))
    assert load(warehouse, curated(EVERY_KIND, "green")).inserted == 21
    load(warehouse, curated(ORDINARY[:3], "green"))
    assert contents(warehouse.dsn) == yellow
    assert before <= set(versions(warehouse.dsn))
    assert len(contents(warehouse.dsn, "green")["not_in_file"]) == 20
    assert [row["service"] for row in warehouse.months()] == ["green", "yellow"]


def test_the_file_settles_what_the_stream_wrote(warehouse: Warehouse) -> None:
    month = curated(EVERY_KIND)
    load(warehouse, month)
    truth = contents(warehouse.dsn)
    load(warehouse, curated(ORDINARY[:4]))
    for table in ("trips", "adjustments", "quarantine"):
        ask(warehouse.dsn, f"update chillflow.{table} set source = 'stream', paid_revision = 7, tip_amount = 9")
    ask(warehouse.dsn, "update chillflow.quarantine set reason = 'no_movement' where reason = 'not_in_file'")
    load(warehouse, month)
    assert contents(warehouse.dsn) == truth
    load(warehouse, curated(ORDINARY[4:]))
    ask(warehouse.dsn, "delete from chillflow.quarantine")
    ask(warehouse.dsn, "update chillflow.trips set source = 'stream', paid_revision = 7")
    load(warehouse, curated(ORDINARY[5:]))
    [missing] = contents(warehouse.dsn)["not_in_file"]
    assert (missing["source"], missing["paid_revision"]) == ("stream", "7")


@pytest.mark.parametrize("changes", [{"trips": 19, "rows_in": 19}, {"rows_in": 21}, {"quarantined": 1, "rows_in": 21}])
def test_a_month_that_is_not_what_its_manifest_says_is_refused(warehouse: Warehouse, changes: dict[str, Any]) -> None:
    month = curated(ORDINARY)
    wrong = dataclasses.replace(month, entry=dataclasses.replace(month.entry, **changes))
    with pytest.raises(MonthInconsistent, match="chillflow curate yellow 2018-11 --force"):
        load(warehouse, wrong)
    assert (count(warehouse.dsn, "trips"), warehouse.months()) == (0, [])
    assert ask(warehouse.dsn, "select from pg_tables where schemaname = 'chillflow' and tablename ~ '^trips_'") == []


def test_rows_of_another_service_or_month_are_refused(warehouse: Warehouse) -> None:
    month = curated(ORDINARY)
    green = dataclasses.replace(month, trips=curated(ORDINARY, "green").trips)
    with pytest.raises(MonthInconsistent, match="trips has rows of green"):
        load(warehouse, green)
    later = dataclasses.replace(month, entry=dataclasses.replace(month.entry, month=Month(2018, 12)))
    with pytest.raises(MonthInconsistent, match="trips has pickups from 2018-11-04"):
        load(warehouse, later)
    assert count(warehouse.dsn, "trips") == 0


def test_tables_are_consumed_one_by_one(warehouse: Warehouse) -> None:
    month, made, alive = curated(ORDINARY), [], []

    def tables() -> Any:
        for start in range(20):
            table = month.trips.slice(start, 1)
            made.append(weakref.ref(table))
            alive.append(sum(one() is not None for one in made))
            yield table
            del table

    assert warehouse.load_month(month.entry, tables(), [], []).inserted == 20
    assert len(alive) == 20
    assert max(alive) <= 4


def test_a_reader_that_fails_ends_the_load_with_its_own_error(warehouse: Warehouse) -> None:
    month = curated(ORDINARY)

    def tables() -> Any:
        yield month.trips.slice(0, 10)
        raise pa.ArrowInvalid("a corrupt row group")

    with pytest.raises(pa.ArrowInvalid, match="a corrupt row group"):
        warehouse.load_month(month.entry, tables(), [], [])
    assert count(warehouse.dsn, "trips") == 0
    assert load(warehouse, month).fresh
