"""The warehouse where the stream has written: loads, KPIs, accounts, and what commands show."""

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from chillflow.assembly import Settled
from chillflow.errors import OutcomeUnknown, ServiceDown
from chillflow.events import ENDED, PAID, STARTED, DeadLetter
from chillflow.placing import place
from chillflow.positions import Position
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.sessions import Patience
from chillflow.stores.warehouse import Warehouse
from tests.fix_proxy import Proxy
from tests.trip_stores import GROUP, IMPATIENT, TOPIC, claimed, id_of, trip, write
from tests.warehouse_samples import MONTH, ask, curated, load, raw_row

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def store(warehouse: Warehouse) -> Iterator[PostgresTripStore]:
    store = PostgresTripStore(warehouse.dsn, IMPATIENT)
    yield store
    store.close()


def streamed(row: dict[str, Any], revisions: tuple[int, int, int] = (1, 1, 1)) -> Settled:
    """The trip of a file's row, as its events tell it; a revision of 0 leaves the slot out."""
    [trip_id] = curated([row]).trips["trip_id"].to_pylist()
    values = {name: value / 100 if name in PAID[1:] else value for name, value in row.items()}
    slots: list[Any] = [
        (revision, *(values.get(name) for name in names)) if revision else None
        for names, revision in zip((STARTED, ENDED, PAID), revisions, strict=True)
    ]
    return Settled(str(trip_id), "yellow", (slots[0], slots[1], slots[2]))


def tables(dsn: str) -> dict[str, int]:
    names = ("trips", "quarantine", "adjustments", "incomplete_trips")
    return {name: ask(dsn, f"select count(*) as rows from chillflow.{name}")[0]["rows"] for name in names}


def sources(dsn: str) -> set[str]:
    return {row["source"] for row in ask(dsn, "select source from chillflow.trips")}


def test_a_load_settles_what_the_stream_wrote(warehouse: Warehouse, store: PostgresTripStore) -> None:
    rows = [raw_row(number) for number in range(4)]
    _, [claim] = claimed(store)
    other = Settled(id_of(5), "green", trip(5).slots)
    write(store, claim, 0, 1, streamed(rows[0]), streamed(rows[1], (1, 0, 1)), streamed(raw_row(9), (1, 1, 0)),
          trip(0), trip(1, total_amount=0.0), trip(2, total_amount=-1.0), other)  # fmt: skip
    month = curated(rows)
    done = load(warehouse, month)
    assert (done.fresh, done.completed, done.not_in_file) == (False, 1, 3)
    assert tables(warehouse.dsn) == {"trips": 5, "quarantine": 3, "adjustments": 0, "incomplete_trips": 1}
    unknown = ask(warehouse.dsn, "select reason, source, started_revision from chillflow.quarantine")
    assert unknown == [{"reason": "not_in_file", "source": "stream", "started_revision": 1}] * 3
    services = ask(warehouse.dsn, "select distinct service, source from chillflow.trips order by 1")
    assert [tuple(row.values()) for row in services] == [("green", "stream"), ("yellow", "batch")]
    with store.transaction() as transaction:
        assert transaction.loaded([("yellow", MONTH), ("green", MONTH)]) == {("yellow", MONTH)}
        [known] = transaction.look_up([streamed(rows[0]).trip_id]).values()
    assert [slot and slot[0] for slot in known.slots] == [0, 0, 0]
    assert load(warehouse, month).completed == 0


def test_a_first_load_closes_incomplete_trips(warehouse: Warehouse, store: PostgresTripStore) -> None:
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, streamed(raw_row(0), (1, 0, 0)))
    ask(warehouse.dsn, "drop table chillflow.trips_2018_11")
    done = load(warehouse, curated([raw_row(0)]))
    assert (done.fresh, done.completed) == (True, 1)
    assert tables(warehouse.dsn)["incomplete_trips"] == 0


def test_a_load_waits_for_the_stream_and_the_stream_for_a_load(warehouse: Warehouse, store: PostgresTripStore) -> None:
    _, [claim] = claimed(store)
    month = curated([raw_row(0)])
    loading = threading.Thread(target=load, args=(warehouse, month))
    store.ensure_partitions([MONTH])
    waits = "select count(*) as waiting from pg_locks where locktype = 'advisory' and not granted"
    with store.transaction() as transaction:
        transaction.lock([claim], {0: 0})
        assert transaction.loaded([("yellow", MONTH)]) == set()
        loading.start()
        while not ask(warehouse.dsn, waits)[0]["waiting"]:
            assert loading.is_alive()
        transaction.write(place([streamed(raw_row(0))], ()))
        transaction.advance([claim], [Position(0, 1, 1)])
    loading.join(30)
    assert sources(warehouse.dsn) == {"batch"}


def test_a_load_notes_the_hours_and_aggregating_takes_the_notes_away(warehouse: Warehouse) -> None:
    load(warehouse, curated([raw_row(0)]))
    notes = "select min(hour) as first, max(hour) as last, count(*) as notes from chillflow.kpi_dirty"
    hours = 30 * 24 + 25
    assert ask(warehouse.dsn, notes) == [{"first": MONTH.start, "last": MONTH.next.start + 24 * HOUR, "notes": hours}]
    load(warehouse, curated([raw_row(0)]))
    assert ask(warehouse.dsn, notes)[0]["notes"] == hours
    load(warehouse, curated([raw_row(0), raw_row(1)]))
    assert ask(warehouse.dsn, notes)[0]["notes"] == 2 * hours
    ask(warehouse.dsn, "insert into chillflow.kpi_dirty (service, zone_id, hour) values "
        "('green', 1, '2018-11-05'), ('yellow', 1, '2018-10-31 23:00'), ('yellow', 1, '2018-12-02 01:00')")  # fmt: skip
    warehouse.aggregate("yellow", MONTH)
    assert ask(warehouse.dsn, notes)[0]["notes"] == 3


def test_a_note_made_while_kpis_are_computed_stays(warehouse: Warehouse, store: PostgresTripStore) -> None:
    """The notes that are taken away are those of the trips that were read."""
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0))
    aggregating = threading.Thread(target=warehouse.aggregate, args=("yellow", MONTH))
    with _holding(warehouse.dsn, "lock table chillflow.kpi_zone_hourly in access exclusive mode"):
        aggregating.start()
        waits = (
            "select count(*) as waiting from pg_locks "
            "where relation = 'chillflow.kpi_zone_hourly'::regclass and not granted"
        )
        while not ask(warehouse.dsn, waits)[0]["waiting"]:
            assert aggregating.is_alive()
        write(store, claim, 1, 2, trip(120))
    aggregating.join(30)
    assert len(ask(warehouse.dsn, "select * from chillflow.kpi_dirty")) == 2
    assert ask(warehouse.dsn, "select sum(pickups) as pickups from chillflow.kpi_zone_hourly")[0]["pickups"] == 1
    warehouse.aggregate("yellow", MONTH)
    assert ask(warehouse.dsn, "select * from chillflow.kpi_dirty") == []
    assert ask(warehouse.dsn, "select sum(pickups) as pickups from chillflow.kpi_zone_hourly")[0]["pickups"] == 2


def test_a_frozen_owner_that_had_connected_again_holds_up_nobody(
    warehouse: Warehouse, store: PostgresTripStore
) -> None:
    """Its locks belong to a connection that made no claim."""
    group, [claim] = claimed(store)
    ask(warehouse.dsn, "select pg_terminate_backend(backend_pid) from chillflow.assembly_partitions where owner = 'me'")
    with pytest.raises(ServiceDown):
        store.group(GROUP)
    successor = PostgresTripStore(warehouse.dsn, IMPATIENT)

    def freeze() -> None:
        with store.transaction() as transaction:
            assert transaction.lock([claim], {0: 0}) == []
            assert successor.claim(group, 0, "successor").epoch == claim.epoch + 1
            transaction.advance([claim], [Position(0, 1, 1)])

    with pytest.raises(ServiceDown, match="the connection was lost"):
        freeze()
    successor.close()


@contextmanager
def _holding(dsn: str, statement: str) -> Iterator[None]:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
        yield
        connection.rollback()


def test_the_accounts_of_a_replayed_month_are_counted(warehouse: Warehouse, store: PostgresTripStore) -> None:
    assert warehouse.count_stream("yellow", MONTH) is None
    _, [claim] = claimed(store)
    ask(warehouse.dsn, "insert into chillflow.months (service, month, path, status, rows_in, trips, quarantined, "
        "adjustments, code_version, rules_version, started_at) "
        "values ('yellow', '2018-11-01', 'stream', 'replayed', 6, 0, 0, 0, '', 1, now())")  # fmt: skip
    settled = [trip(0, passenger_count=0), trip(1), trip(2, total_amount=0.0), trip(3, total_amount=-7.5)]
    write(store, claim, 0, 1, *settled, trip(4, (1, 0, 1)), trip(5, vendor_id=9))
    entry = warehouse.count_stream("yellow", MONTH)
    assert entry is not None
    assert {name: entry[name] for name in ("rows_in", "trips", "quarantined", "adjustments", "counts")} == {
        "rows_in": 6, "trips": 3, "quarantined": 1, "adjustments": 1,
        "counts": {"passenger_unknown": 1, "unknown_code": 1, "zero_total": 1, "reversal": 1, "incomplete": 1},
    }  # fmt: skip
    assert warehouse.month("yellow", MONTH) is None


def test_incomplete_trips_are_shown(warehouse: Warehouse, store: PostgresTripStore) -> None:
    _, [claim] = claimed(store)
    write(
        store, claim, 0, 1, trip(0, (1, 0, 2)), trip(1, (0, 1, 0)), Settled(id_of(2), "green", trip(2, (1, 1, 0)).slots)
    )
    shown = warehouse.incomplete()
    assert [(row["trip_id"], row["missing"]) for row in shown] == [
        (id_of(2), ["payment_processed"]),
        (id_of(1), ["trip_started", "payment_processed"]),
        (id_of(0), ["trip_ended"]),
    ]
    assert shown[1]["pickup_at"] == "2018-11-05T12:01:00"
    assert (shown[2]["total_amount"], shown[2]["dropoff_at"], shown[2]["paid_revision"]) == ("7.50", None, 2)
    assert [row["trip_id"] for row in warehouse.incomplete("yellow", missing="trip_ended")] == [id_of(0)]
    assert warehouse.incomplete(month=MONTH.next) == []
    assert len(warehouse.incomplete(month=MONTH, limit=2)) == 2
    [row] = warehouse.trip(uuid.UUID(id_of(0)))
    assert (row["table"], row["missing"], row["spilled_at"][:2]) == ("incomplete_trips", ["trip_ended"], "20")
    assert {row["table"]: row["rows"] for row in warehouse.count("yellow", MONTH)}["incomplete_trips"] == 2


def test_dead_letters_are_shown_and_marked(warehouse: Warehouse, store: PostgresTripStore) -> None:
    with store.transaction() as transaction:
        transaction.bury(TOPIC, [DeadLetter(0, 1, b"k", b"\xff{", "payload: not UTF-8")])
        transaction.bury(TOPIC, [DeadLetter(1, 1, None, b'{"type": 1}', "type: Expected `str`")])
    assert [(row["partition"], row["key"], row["payload"]) for row in warehouse.dead_letters()] == [
        (1, None, '{"type": 1}'),
        (0, "k", "\\xff{"),
    ]
    assert warehouse.dead_letters(reason="payload%", raw=True)[0]["payload"] == b"\xff{"
    assert warehouse.mark_redriven([(TOPIC.topic_id, 1, 1), (TOPIC.topic_id, 9, 9)]) == 1
    assert [row["partition"] for row in warehouse.dead_letters(redriven=False)] == [0]
    assert [row["partition"] for row in warehouse.dead_letters(TOPIC.name, partition=1, redriven=True, limit=1)] == [1]
    assert warehouse.dead_letters("other") == []


@pytest.mark.parametrize("committing", [False, True])
def test_a_silent_server_is_not_waited_for_forever(warehouse: Warehouse, committing: bool) -> None:
    proxy = Proxy(warehouse.dsn)
    store = PostgresTripStore(proxy.dsn, Patience(answer=0.5))
    _, [claim] = claimed(store)

    def freeze() -> None:
        with store.transaction() as transaction:
            transaction.lock([claim], {0: 0})
            proxy.silent.set()
            if not committing:
                transaction.look_up([id_of(0)])

    with pytest.raises(OutcomeUnknown if committing else ServiceDown):
        freeze()
    proxy.silent.clear()
    assert store.outcomes([claim], {0: 0}, {0: 1}) == {0: "again"}
    store.close()
    proxy.close()


def test_a_lock_that_is_held_too_long_passes(warehouse: Warehouse, store: PostgresTripStore) -> None:
    _, [claim] = claimed(store)
    store.ensure_partitions([MONTH])
    with _holding(warehouse.dsn, "lock table chillflow.trips in access exclusive mode"):
        with pytest.raises(ServiceDown, match="lock timeout"):
            write(store, claim, 0, 1, trip(0))
    write(store, claim, 0, 1, trip(0))


def test_a_frozen_transaction_is_ended_by_the_server(warehouse: Warehouse) -> None:
    store = PostgresTripStore(warehouse.dsn, Patience(idle=0.2))
    _, [claim] = claimed(store)
    gone = "select count(*) as sessions from pg_stat_activity where application_name = 'chillflow-assembler'"

    def freeze() -> None:
        with store.transaction() as transaction:
            transaction.lock([claim], {0: 0})
            while ask(warehouse.dsn, f"{gone} and datname = current_database()")[0]["sessions"]:
                pass
            transaction.loaded([("yellow", MONTH)])

    with pytest.raises(ServiceDown):
        freeze()
    store.close()


def whole_reads(dsn: str) -> int:
    """How often tables of trips were read as a whole, when the assemblers' sessions have ended and told."""
    sessions = "select count(*) as open from pg_stat_activity where application_name = 'chillflow-assembler'"
    while ask(dsn, f"{sessions} and datname = current_database()")[0]["open"]:
        pass
    question = (
        "select sum(seq_scan)::int as reads from pg_stat_user_tables where schemaname = 'chillflow' "
        "and (relname ~ '^trips' or relname in ('quarantine', 'adjustments', 'incomplete_trips'))"
    )
    reads: int = ask(dsn, question)[0]["reads"]
    return reads


def test_look_ups_use_indexes_at_any_size(warehouse: Warehouse, store: PostgresTripStore) -> None:
    """Few rows and many ids: the planner would rather read whole tables, which grow."""
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, *(trip(number) for number in range(300)), trip(300, total_amount=-1.0))
    store.close()
    before = whole_reads(warehouse.dsn)
    with store.transaction() as transaction:
        was = transaction.look_up([id_of(number) for number in range(9000)])
        assert transaction.reversed_among([id_of(number) for number in range(6000)]) == {id_of(300)}
    assert len(was) == 300
    store.close()
    assert whole_reads(warehouse.dsn) == before
    corrected = [trip(number, (1, 1, 2), was[id_of(number)]) for number in range(300)]
    write(store, store.claim(store.take_group("chillflow", TOPIC, None), 0, "me"), 1, 2, *corrected)
    store.close()
    assert whole_reads(warehouse.dsn) == before
    assert tables(warehouse.dsn)["trips"] == 300
