"""The stream's rows in PostgreSQL against the lake's: equal ones agree, every planted difference is found and named."""

import datetime as dt
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chillflow.assembly import Settled
from chillflow.curation import FLAGS
from chillflow.errors import (
    ChillFlowError,
    NeverAssembled,
    ReplayRunning,
    StreamBehind,
    TopicReplaced,
    TripsStillOpen,
)
from chillflow.events import ENDED, PAID, STARTED, DeadLetter
from chillflow.jobs import slices
from chillflow.jobs.reconcile import account_of, judgeable
from chillflow.jobs.slices import judge_file_rows, judge_trips
from chillflow.jobs.standing import require_still
from chillflow.manifests import Manifest
from chillflow.months import Month
from chillflow.positions import Position
from chillflow.reconciliation import Account, Difference, Findings, pickups, ranges
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.lake import Lake
from chillflow.stores.replays import Replays
from chillflow.stores.stream_rows import StreamRows
from chillflow.stores.warehouse import Warehouse
from chillflow.testing.log import MemoryLog, MemoryReader
from chillflow.trips import RAW_COLUMNS, id_text
from chillflow.trips import trip_id as ids_of
from tests.lake_samples import publish
from tests.strategies import raw_frame
from tests.trip_stores import IMPATIENT, TOPIC, claimed, write
from tests.warehouse_samples import MONTH, ask, curated, load, raw_row

FIRST = MONTH.start
ROWS = [
    *(raw_row(number) for number in range(6)),
    raw_row(6, pickup_at=FIRST, dropoff_at=FIRST + dt.timedelta(minutes=9), trip_distance=150.25, passenger_count=0),
    raw_row(7, pickup_at=dt.datetime(2018, 11, 30, 23, 59, 59, 999999), dropoff_at=dt.datetime(2018, 12, 1, 0, 10)),
    raw_row(8, pickup_at=dt.datetime(2018, 11, 4, 1, 59, 7, 250000), dropoff_at=dt.datetime(2018, 11, 4, 1, 10)),
    raw_row(9, total_amount=0, store_and_fwd="", request_source='a "quoted",\nword\\N'),
    raw_row(10, trip_distance=0.1, store_and_fwd="=Y", request_source="é", fare_amount=-99_999_999),
    raw_row(11),
    raw_row(11, total_amount=-750, source_row=12, trip_type=2),
    raw_row(13, pickup_zone_id=None, extra=None, mta_tax=0),
    raw_row(0, source_row=14),
    raw_row(15, dropoff_at=None),
    raw_row(16, pickup_at=None),
    raw_row(17, pickup_at=dt.datetime(2088, 1, 24)),
    raw_row(18, pickup_at=dt.datetime(1901, 5, 5, 0, 0, 0, 123456)),
    raw_row(19, trip_distance=float("nan")),
    raw_row(20, trip_distance=float("-inf"), unrepresentable="extra=nan, tip_amount=1e+40"),
]
RAW = [name for name in RAW_COLUMNS if name != "service"]


@dataclass
class Side:
    """A month in the lake and, as the stream's rows, in a warehouse."""

    dsn: str
    lake: Lake
    manifest: Manifest

    def judge(self, parts: int = 1) -> Findings:
        """All slices of the month, one by one."""
        found = Findings()
        for start, end in pickups(MONTH, parts):
            found = found.plus(judge_trips(self.dsn, self.lake, self.manifest, start, end))
        for first, last in ranges(self.manifest.rows_in, parts):
            found = found.plus(judge_file_rows(self.dsn, self.lake, self.manifest, first, last))
        return found

    def change(self, statement: str, *values: Any) -> None:
        ask(self.dsn, statement, *values)


@pytest.fixture
def side(warehouse: Warehouse, tmp_path: Path) -> Side:
    """The same rows on both sides: loaded, and made the stream's."""
    month = curated(ROWS)
    assert month.entry.quarantined == 10
    lake = Lake(tmp_path / "lake")
    tables = {"trips": month.trips, "quarantine": month.quarantine, "adjustments": month.adjustments}
    manifest = publish(lake, tables, month=MONTH, rules=dict(month.entry.counts))  # type: ignore[arg-type]
    load(warehouse, month)
    for table in tables:
        ask(warehouse.dsn, f"update chillflow.{table} set source = 'stream', started_revision = 1")
    ask(warehouse.dsn, "update chillflow.quarantine set source_row = null where not chillflow.of_file(reason)")
    ask(warehouse.dsn, "update chillflow.adjustments set source_row = null")
    ask(warehouse.dsn, "delete from chillflow.months")
    return Side(warehouse.dsn, lake, manifest)


def only(found: Findings) -> Difference:
    assert found.total.differences == len(found.sample) == 1
    return found.sample[0]


@pytest.mark.parametrize("parts", [1, 5])
def test_equal_sides_agree_however_they_are_cut(side: Side, parts: int) -> None:
    found = side.judge(parts)
    assert {name: (tally.lake, tally.same) for name, tally in found.tables.items()} == {
        "trips": (10, 10), "quarantine": (10, 10), "adjustments": (1, 1)
    }  # fmt: skip
    assert found.total.differences == 0


def test_rows_of_another_service_path_or_month_are_not_looked_at(side: Side, warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(30), raw_row(31, total_amount=0)], "green"))
    december = raw_row(0, pickup_at=dt.datetime(2018, 12, 1), dropoff_at=dt.datetime(2018, 12, 1, 0, 10))
    load(warehouse, curated([december], month=Month(2018, 12)))
    side.change("update chillflow.trips set source = 'stream'")
    assert side.judge().total.differences == 0


OTHER: dict[str, str] = {
    "pickup_at": "pickup_at + interval '1 microsecond'",
    "dropoff_at": "dropoff_at - interval '1 microsecond'",
    "trip_distance": "coalesce(trip_distance, 0) + 1e-9",
    "store_and_fwd": "coalesce(store_and_fwd || ' ', '')",
    "request_source": "coalesce(request_source || ' ', '')",
}


@pytest.mark.parametrize(("table", "minute"), [("trips", 1), ("quarantine", 9), ("adjustments", 11)])
def test_each_column_of_each_table_is_compared(side: Side, table: str, minute: int) -> None:
    pickup = dt.datetime(2018, 11, 4, 0, minute)
    side.change(f"create table before as select * from chillflow.{table} where pickup_at = %s", pickup)
    for name in RAW:
        other = OTHER.get(name, f"coalesce({name}, 0) + 0.01" if name in PAID[1:] else f"coalesce({name}, 0) + 1")
        some = "trip_id = (select trip_id from before)"
        side.change(f"update chillflow.{table} set {name} = {other} where {some}")
        difference = only(side.judge())
        assert (difference.kind, difference.table) == ("different", table)
        assert difference.columns.keys() == {name}
        side.change(f"update chillflow.{table} set {name} = (select {name} from before) where {some}")


def test_flags_raw_values_and_reasons_are_compared(side: Side) -> None:
    side.change("update chillflow.trips set flags = flags | %s where pickup_at = '2018-11-04'", FLAGS["flex_fare"])
    assert only(side.judge()).columns.keys() == {"flags"}
    side.change("update chillflow.trips set flags = flags & ~%s", FLAGS["flex_fare"])
    side.change("""update chillflow.trips set raw = raw || '{"trip_distance": 150.5}' where pickup_at = %s""", FIRST)
    assert only(side.judge()).columns.keys() == {"flags", "raw"} - {"flags"}
    side.change("""update chillflow.trips set raw = raw || '{"trip_distance": 150.250}' where pickup_at = %s""", FIRST)
    assert side.judge().total.differences == 0
    side.change("update chillflow.quarantine set reason = 'absurd_money' where reason = 'zero_total'")
    assert only(side.judge()).columns == {"reason": ("zero_total", "absurd_money")}


@pytest.mark.parametrize(
    ("change", "reason"),
    [("unrepresentable = 'x'", "value_invalid"), ("unrepresentable = ''", "duplicate"), ("trip_id = null", "duplicate"),
     ("pickup_at = '2018-11-05'", "ts_missing"), ("trip_distance = 'Infinity'", "value_invalid")],
)  # fmt: skip
def test_rows_under_file_rules_are_compared(side: Side, change: str, reason: str) -> None:
    some = "select min(source_row) from chillflow.quarantine where reason = %s"
    side.change(f"update chillflow.quarantine set {change} where source_row = ({some})", reason)
    difference = only(side.judge(3))
    assert (difference.kind, difference.table, difference.key[:4]) == ("different", "quarantine", "row ")
    assert difference.columns.keys() == {change.split()[0]}


@pytest.mark.parametrize("table", ["trips", "quarantine", "adjustments"])
def test_missing_and_extra_rows_of_each_table_are_found(side: Side, table: str) -> None:
    rows = side.judge().tables[table].lake
    side.change(f"create table kept as select * from chillflow.{table}")
    side.change(f"delete from chillflow.{table}")
    found = side.judge(2)
    assert (found.tables[table].missing, found.total.differences, found.lost) == (rows, rows, rows)
    side.change(f"insert into chillflow.{table} select * from kept")
    side.change("update kept set trip_id = overlay(trip_id::text placing 'ffff' from 25)::uuid, pickup_at = pickup_at")
    if table == "quarantine":
        side.change("update kept set source_row = source_row + 1000 where source_row is not null")
    side.change(f"insert into chillflow.{table} select * from kept")
    found = side.judge(2)
    assert (found.tables[table].extra, found.total.differences, found.lost) == (rows, rows, 0)


def test_a_trip_in_the_wrong_table_or_in_two_is_found(side: Side) -> None:
    columns = ", ".join(["trip_id", "service", "source", *RAW])
    moved = f"""
        insert into chillflow.quarantine (month, reason, {columns})
        select '2018-11-01', 'not_in_file', {columns} from chillflow.trips where pickup_at = '2018-11-04 00:03:00'
    """
    side.change(moved)
    assert (only(side.judge()).kind, only(side.judge()).table) == ("extra", "quarantine")
    side.change("delete from chillflow.trips where pickup_at = '2018-11-04 00:03:00'")
    assert only(side.judge()).columns == {"table": ("trips", "quarantine")}


def test_a_trip_that_is_there_twice_is_found(side: Side) -> None:
    """The key of `trips` has the pickup in it: PostgreSQL alone does not exclude it."""
    names = ", ".join(name for name in ["trip_id", "service", "source", "flags", "raw", *RAW] if name != "pickup_at")
    again = "pickup_at + interval '1 microsecond'"
    side.change(
        f"insert into chillflow.trips (pickup_at, {names}) select {again}, {names} from chillflow.trips "
        "where pickup_at = '2018-11-04 00:03:00'"
    )
    assert only(side.judge()).kind == "extra"


def test_incomplete_trips_and_dead_letters_explain_differences(side: Side) -> None:
    trips = ask(side.dsn, "select trip_id::text as id from chillflow.trips order by trip_id limit 3")
    reversal = ask(side.dsn, "select trip_id::text as id from chillflow.adjustments")[0]["id"]
    ids = [row["id"] for row in trips]
    columns = ", ".join(["trip_id", "service", *RAW])
    side.change(
        f"insert into chillflow.incomplete_trips ({columns}) select {columns} from chillflow.adjustments "
        f"union all select {columns} from chillflow.trips where trip_id = %s",
        ids[0],
    )
    side.change("delete from chillflow.adjustments")
    side.change("delete from chillflow.trips where trip_id = any(%s::uuid[])", ids)
    side.change("update chillflow.quarantine set reason = 'zero_total' where reason = 'reversed_original'")
    store = PostgresTripStore(side.dsn, IMPATIENT)
    keys = [ids[1].encode(), b"\xff" * 36, b"0166db00-", None, ids[2].upper().encode()]
    with store.transaction() as transaction:
        transaction.bury(TOPIC, [DeadLetter(0, at, key, b"?", "payload: ?") for at, key in enumerate(keys)])
    store.close()
    found = side.judge(5)
    original = reversal[:-1] + format(int(reversal[-1], 16) & 14, "x")
    assert {one.key: (one.kind, one.why) for one in found.sample} == {
        ids[0]: ("missing", "incomplete trip"),
        ids[1]: ("missing", "dead letter"),
        ids[2]: ("missing", None),
        reversal: ("missing", "incomplete trip"),
        original: ("different", "incomplete trip"),
    }
    assert (found.total.explained, found.total.differences, found.lost) == (4, 5, 2)
    with Warehouse(side.dsn) as warehouse:
        account = account_of(warehouse, "yellow", MONTH, found)
        assert account == Account(None, 7, 10, 0, 2, 2)
        side.change("insert into chillflow.months (service, month, path, status, rows_in, trips, quarantined, "
                    "adjustments, code_version, rules_version, started_at) "
                    "values ('yellow', '2018-11-01', 'stream', 'replayed', 21, 0, 0, 0, '', 1, now())")  # fmt: skip
        assert account_of(warehouse, "yellow", MONTH, found) == Account(21, 7, 10, 0, 2, 2)


def streamed(row: dict[str, Any]) -> Settled:
    """The trip of a file's row, as its events tell it."""
    [trip_id] = id_text(ids_of(raw_frame([row])))
    values = {name: value / 100 if name in PAID[1:] and value is not None else value for name, value in row.items()}
    slots: list[Any] = [(1, *(values.get(name) for name in names)) for names in (STARTED, ENDED, PAID)]
    return Settled(trip_id, "yellow", (slots[0], slots[1], slots[2]))


def test_what_assembly_writes_is_what_curation_makes(warehouse: Warehouse, tmp_path: Path) -> None:
    """Rows as the stream's own code places and copies them: trips, fixes, quarantine, a pair."""
    rows = [row for row in ROWS if row["source_row"] < 14 and row["pickup_zone_id"] is not None]
    month = curated(rows)
    lake = Lake(tmp_path / "lake")
    tables = {"trips": month.trips, "quarantine": month.quarantine, "adjustments": month.adjustments}
    manifest = publish(lake, tables, month=MONTH)  # type: ignore[arg-type]
    store = PostgresTripStore(warehouse.dsn, IMPATIENT)
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, *map(streamed, rows))
    store.close()
    found = Side(warehouse.dsn, lake, manifest).judge(2)
    assert (found.total.same, found.total.differences) == (len(rows), 0)


REPLAY = """
insert into chillflow.replays (
    id, service, months, topic, topic_id, partitions, options, sources, total, code_version, ended_at
)
values (gen_random_uuid(), 'yellow', '{2018-10-01,2018-11-01}', 'trip-events', 'id-1', 3, '{}', '[]', 9, '', %s)
"""


def test_the_stream_has_or_has_not_written_of_a_month(side: Side) -> None:
    with StreamRows(side.dsn) as rows:
        assert rows.is_streamed("yellow", MONTH)
        assert not rows.is_streamed("green", MONTH)
        assert not rows.is_streamed("yellow", MONTH.next)
        side.change("truncate chillflow.trips, chillflow.adjustments")
        assert rows.is_streamed("yellow", MONTH)
        side.change("truncate chillflow.quarantine")
        assert not rows.is_streamed("yellow", MONTH)
        assert rows.standing() is None
        assert not rows.is_unfinished("yellow", MONTH)
        side.change(REPLAY, None)
        assert rows.is_unfinished("yellow", MONTH)
        assert not rows.is_unfinished("green", MONTH)
        side.change(REPLAY, dt.datetime(2026, 1, 1))
        assert not rows.is_unfinished("yellow", MONTH)
        store = PostgresTripStore(side.dsn, IMPATIENT)
        claimed(store, 1)
        store.close()
        topic, positions = rows.standing() or (None, [])
        assert (topic, [row["partition"] for row in positions]) == (TOPIC, [0, 1, 2])


def test_a_month_is_cut_into_tasks_that_cover_it(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "ROWS", 3)
    calls: list[tuple[Any, ...]] = []

    class Recorded:
        def submit(self, key: Month, name: str, *arguments: Any) -> None:
            calls.append(arguments)

    assert slices.submit(Recorded(), side.dsn, side.lake, side.manifest) == len(calls) == 7 + 3  # type: ignore[arg-type]
    found = Findings()
    for judging, *arguments in calls:
        found = found.plus(judging(*arguments))
    assert (found.total.same, found.total.differences) == (21, 0)


def test_a_month_without_anything_to_compare_is_refused(side: Side, warehouse: Warehouse, tmp_path: Path) -> None:
    def refusal(lake: Lake = side.lake) -> str:
        with StreamRows(side.dsn) as rows, pytest.raises(ChillFlowError) as refused:
            judgeable(lake, warehouse, rows, "yellow", MONTH)
        return str(refused.value)

    with StreamRows(side.dsn) as rows:
        assert judgeable(side.lake, warehouse, rows, "yellow", MONTH) == side.manifest
    assert "curate it first" in refusal(Lake(tmp_path / "another"))
    older = Lake(tmp_path / "older")
    publish(older, {"trips": curated(ROWS[:1]).trips}, month=MONTH, rules_version=0)
    assert "was curated by rules 0" in refusal(older)
    side.change(REPLAY, None)
    assert "was stopped before its end" in refusal()
    side.change("truncate chillflow.replays, chillflow.trips, chillflow.adjustments, chillflow.quarantine")
    assert "the stream has written nothing of yellow 2018-11" in refusal()
    load(warehouse, curated(ROWS))
    assert "nothing of the stream to judge" in refusal()


def test_the_stream_must_stand_still(warehouse: Warehouse) -> None:
    log = MemoryLog()
    topic = log.create(TOPIC.name, 3)
    said: list[str] = []
    store = PostgresTripStore(warehouse.dsn, IMPATIENT)

    def stand() -> Any:
        with StreamRows(warehouse.dsn) as rows:
            return require_still(rows, partial(MemoryReader, log), said.append)

    with pytest.raises(NeverAssembled):
        stand()
    group = store.take_group("chillflow", topic, None)
    assert stand() == (TOPIC.name, (0, 0, 0))
    log.send(TOPIC.name, 1, None, b"")
    log.send(TOPIC.name, 2, None, b"")
    with pytest.raises(StreamBehind, match=r"2 records of trip-events are not assembled yet \(in 2 partitions\)"):
        stand()
    for partition, rewind in ((1, 0), (2, 1)):
        claim = store.claim(group, partition, "me")
        with store.transaction() as transaction:
            transaction.lock([claim], {partition: 0})
            transaction.advance([claim], [Position(partition, 1, rewind)])
    with pytest.raises(TripsStillOpen, match="in partitions 1 of"):
        stand()
    ask(warehouse.dsn, "update chillflow.assembly_partitions set rewind_offset = next_offset")
    assert stand() == (TOPIC.name, (0, 1, 1))
    replays = Replays(warehouse.dsn)
    with pytest.raises(ReplayRunning):
        stand()
    replays.close()
    log.topics.clear()
    assert stand() == (TOPIC.name, (0, 1, 1))
    assert "is gone from the broker" in said[-1]
    log.create(TOPIC.name, 3)
    with pytest.raises(TopicReplaced):
        stand()
    store.close()
