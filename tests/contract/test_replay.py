"""A replay's sending over the log in memory, and its place in PostgreSQL."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.clock import ManualClock
from chillflow.errors import PartitionsChanged, ReplayBusy, ServiceDown
from chillflow.jobs.sending import AT_ONCE, Interrupted, Pace, Progress, Stalls, patiently, send
from chillflow.months import Month
from chillflow.positions import Topic
from chillflow.stores.ledger import MonthEntry
from chillflow.stores.replays import Replay, Replays, replay_running
from chillflow.stores.warehouse import Warehouse
from chillflow.testing.log import MemoryLog, MemoryWriter, partition_of
from tests.warehouse_samples import MONTH, ask, curated, load, raw_row

TOPIC = "trip-events"


def events(number: int, gap: int = 1) -> pl.DataFrame:
    """Events that are `gap` seconds apart."""
    return pl.DataFrame(
        {
            "at": [1_000_000 * gap * index for index in range(number)],
            "key": [b"key %d" % (index % 7) for index in range(number)],
            "value": [b"%d" % index for index in range(number)],
        }
    )


def sent(log: MemoryLog) -> list[list[int]]:
    """The numbers of the events in each partition."""
    return [[int(value or 0) for _, value in records] for records in log.topics[TOPIC].records]


@dataclass
class Sending:
    """A replay of `number` events in pieces, over and over until it is through."""

    number: int
    piece: int = 10
    behind: int = 0
    speed: float | None = None
    log: MemoryLog = field(default_factory=MemoryLog)
    clock: ManualClock = field(default_factory=ManualClock)
    faults: dict[int, type[BaseException]] = field(default_factory=dict)
    waits: int = 0
    writers: int = 0

    def __post_init__(self) -> None:
        self.log.create(TOPIC, 3)

    def run(self, start: int = 0) -> Progress:
        progress = Progress(self.number, start)
        send(self.pieces, progress, self.open, Pace(self.clock, self.speed), self.wait)
        return progress

    def pieces(self, start: int) -> Iterator[pl.DataFrame]:
        return events(self.number)[start:].iter_slices(self.piece)

    def open(self) -> MemoryWriter:
        self.writers += 1
        return _Faulty(self.log, TOPIC, self.behind, faults=self.faults)

    def wait(self, error: ServiceDown) -> None:
        self.waits += 1


@dataclass
class _Faulty(MemoryWriter):
    """Raises what `faults` says before the event of that number is sent, once each."""

    faults: dict[int, type[BaseException]] = field(default_factory=dict)

    def send_all(self, keys: list[bytes], values: list[bytes], first_mark: int) -> None:  # type: ignore[override]
        for number in range(first_mark, first_mark + len(keys)):
            if fault := self.faults.pop(number, None):
                before = number - first_mark
                super().send_all(keys[:before], values[:before], first_mark)
                raise fault("Kafka", "here", "it is away") if fault is ServiceDown else fault
        super().send_all(keys, values, first_mark)


def test_all_events_are_sent_in_order_by_key() -> None:
    sending = Sending(100)
    assert sending.run().acknowledged == 100
    found = sent(sending.log)
    assert sorted(number for numbers in found for number in numbers) == list(range(100))
    assert all(numbers == sorted(numbers) for numbers in found)
    assert all(partition_of(b"key %d" % (number % 7), 3) == place for place in range(3) for number in found[place])


def test_partitions_are_those_of_other_clients() -> None:
    """Values of Java's and librdkafka's own tests of murmur2."""
    assert {partition_of(b"%d" % number, 12) for number in range(200)} == set(range(12))
    assert partition_of(b"21", 2**31) == -973932308 & 0x7FFFFFFF
    assert partition_of(b"foobar", 2**31) == -790332482 & 0x7FFFFFFF
    assert partition_of(b"a-little-bit-long-string", 2**31) == -985981536 & 0x7FFFFFFF
    assert partition_of(b"abc", 2**31) == 479470107 & 0x7FFFFFFF


@given(st.dictionaries(st.integers(0, 59), st.sampled_from([Interrupted, ServiceDown]), max_size=5), st.integers(0, 30))
def test_whatever_interrupts_it_nothing_is_left_out_and_only_the_unacknowledged_comes_twice(
    faults: dict[int, type[BaseException]], behind: int
) -> None:
    downs = sum(fault is ServiceDown for fault in faults.values())
    sending = Sending(60, behind=behind, faults=dict(faults))
    at, runs = 0, 0
    while at < 60:
        progress = Progress(60, at)
        runs += 1
        try:
            send(sending.pieces, progress, sending.open, Pace(sending.clock, None), sending.wait)
        except Interrupted:
            pass
        assert progress.acknowledged >= at
        at = progress.acknowledged
    found = Counter(number for numbers in sent(sending.log) for number in numbers)
    assert set(found) == set(range(60))
    assert found.total() <= 60 + len(faults) * (behind + 10)
    assert sending.waits == downs
    assert runs == 1 + len(faults) - downs


def test_events_come_at_the_pace_that_was_asked_for() -> None:
    sending = Sending(600, piece=600, speed=60)
    progress = Progress(600, 0)
    arrivals: list[tuple[float, int]] = []

    @dataclass
    class Noting(MemoryWriter):
        def send_all(self, keys: list[bytes], values: list[bytes], first_mark: int) -> None:  # type: ignore[override]
            arrivals.extend((sending.clock.seconds, first_mark + place) for place in range(len(keys)))
            super().send_all(keys, values, first_mark)

    send(sending.pieces, progress, lambda: Noting(sending.log, TOPIC), Pace(sending.clock, 60), sending.wait)
    assert sending.clock.seconds == pytest.approx(599 / 60, abs=0.05)
    assert all(number / 60 <= seconds + 1e-9 <= number / 60 + 0.05 for seconds, number in arrivals)


def test_a_fast_replay_hands_over_bounded_pieces() -> None:
    times = events(3 * AT_ONCE, gap=0)["at"].to_numpy()
    slices = list(Pace(ManualClock(), None).slices(times))
    assert slices == [(start, start + AT_ONCE) for start in range(0, 3 * AT_ONCE, AT_ONCE)]


def test_a_service_that_is_away_is_waited_for_with_one_line_a_change() -> None:
    clock, said, tries = ManualClock(), list[str](), iter(range(100))

    def action() -> str:
        if next(tries) < 6:
            raise ServiceDown("Kafka", "here", "no answer")
        return "done"

    assert patiently(action, clock, said.append) == "done"
    assert len(said) == 2
    assert "waiting" in said[0]
    assert said[1] == "Kafka at here is back"
    assert clock.seconds == 0.5 + 1 + 2 + 4 + 8 + 10


def test_a_broker_that_acknowledges_nothing_is_told_of_once() -> None:
    said: list[str] = []
    stalls = Stalls(said.append, "Kafka")
    for second in range(20):
        stalls.look(5, float(second), waiting=True)
    assert said == ["Kafka acknowledges nothing; waiting for it"]
    stalls.look(6, 21.0, waiting=True)
    assert said[1:] == ["Kafka is back"]
    for second in range(22, 60):
        stalls.look(6, float(second), waiting=False)
    assert len(said) == 2, "nothing is due: nothing to acknowledge"


@pytest.fixture
def replays(postgres_dsn: str) -> Iterator[Replays]:
    session = Replays(postgres_dsn)
    yield session
    session.close()


REPLAY = Replay(
    id=uuid.UUID(int=7), service="yellow", months=(MONTH, Month(2018, 12)), topic=Topic(TOPIC, "abc", 12),
    options={"late": 0.5, "seed": 3}, sources=("1", "2"), code_version="0",
)  # fmt: skip


def forget_the_last_seconds(dsn: str) -> None:
    ask(dsn, "update chillflow.replays set updated_at = updated_at - interval '2 hours' returning id")


def test_a_replay_goes_on_where_it_was(replays: Replays) -> None:
    replays.hold(REPLAY.id)
    assert replays.read(REPLAY.id) is None
    assert replays.begin(REPLAY, 100, anew=False).acknowledged == 0
    for at in (30, 40, 35):
        replays.note(REPLAY.id, at)
    assert replays.begin(REPLAY, 100, anew=False).acknowledged == 40
    assert replays.begin(REPLAY, 100, anew=True).acknowledged == 0
    replays.note(REPLAY.id, 10)
    assert replays.begin(REPLAY, 101, anew=False).acknowledged == 0
    [row] = ask(replays.dsn, "select * from chillflow.replays")
    assert row["months"] == [dt.date(2018, 11, 1), dt.date(2018, 12, 1)]
    assert row["options"] == {"late": 0.5, "seed": 3}


def test_its_end_is_noted_with_the_months(replays: Replays, warehouse: Warehouse) -> None:
    replays.begin(REPLAY, 100, anew=False)
    entry = MonthEntry("yellow", MONTH, 50, 0, 0, 0, {}, dt.datetime.now(dt.UTC), "0", 1, 2.5, "file", 9, None, "sum")
    for _ in range(2):
        replays.end(REPLAY.id, [entry])
    noted = replays.read(REPLAY.id)
    assert noted is not None
    assert noted.acknowledged == 100
    assert noted.ended_at is not None
    row = warehouse.month("yellow", MONTH, "stream")
    assert row is not None
    assert (row["status"], row["rows_in"], row["source"], row["source_checksum"]) == ("replayed", 50, "file", "sum")
    assert warehouse.month("yellow", MONTH) is None


def test_whether_a_replay_runs_is_told_by_its_session_and_soon_after_it_is_killed(
    replays: Replays, postgres_dsn: str
) -> None:
    assert replay_running(postgres_dsn)
    replays.begin(REPLAY, 100, anew=False)
    replays.close()
    assert replay_running(postgres_dsn), "a lost connection is taken up again within seconds"
    forget_the_last_seconds(postgres_dsn)
    assert not replay_running(postgres_dsn)


def test_no_replay_runs_once_it_has_been_stopped_or_is_done(postgres_dsn: str) -> None:
    assert not replay_running(postgres_dsn)
    for finish in (lambda session: session.stop(REPLAY.id), lambda session: session.end(REPLAY.id, [])):
        session = Replays(postgres_dsn)
        session.begin(REPLAY, 100, anew=False)
        finish(session)
        assert replay_running(postgres_dsn)
        session.close()
        assert not replay_running(postgres_dsn)


def test_the_same_replay_is_not_sent_by_two(replays: Replays, postgres_dsn: str) -> None:
    replays.hold(REPLAY.id)
    other = Replays(postgres_dsn)
    with pytest.raises(ReplayBusy, match="wait for its end"):
        other.hold(REPLAY.id)
    other.hold(uuid.UUID(int=8))
    other.close()


def test_a_lost_connection_is_made_again_with_what_it_held(replays: Replays, postgres_dsn: str) -> None:
    replays.hold(REPLAY.id)
    replays.begin(REPLAY, 100, anew=False)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    with pytest.raises(ServiceDown):
        replays.note(REPLAY.id, 10)
    replays.note(REPLAY.id, 20)
    forget_the_last_seconds(postgres_dsn)
    assert replay_running(postgres_dsn)
    other = Replays(postgres_dsn)
    with pytest.raises(ReplayBusy):
        other.hold(REPLAY.id)
    other.close()


def test_a_topic_that_got_more_partitions_is_refused(replays: Replays) -> None:
    replays.check(REPLAY.topic)
    replays.begin(REPLAY, 1, anew=False)
    replays.check(REPLAY.topic)
    replays.check(Topic(TOPIC, "another", 13))
    with pytest.raises(PartitionsChanged, match="13 partitions"):
        replays.check(Topic(TOPIC, "abc", 13))


def test_rows_that_file_rules_reject_are_quarantined_once_and_not_beside_a_file(
    replays: Replays, warehouse: Warehouse
) -> None:
    month = curated([raw_row(0), raw_row(1, pickup_at=None), raw_row(2), raw_row(3, total_amount=None)])
    table = month.quarantine
    assert replays.quarantine("yellow", MONTH, iter([table[:1], table[1:]])) == 2
    assert replays.quarantine("yellow", MONTH, iter([table])) == 0
    rows = ask(replays.dsn, "select source_row, source, reason, month from chillflow.quarantine order by 1")
    assert [(row["source_row"], row["source"]) for row in rows] == [(1, "stream"), (3, "stream")]
    assert {row["month"] for row in rows} == {MONTH.date}
    load(warehouse, month)
    assert replays.quarantine("yellow", MONTH, iter([table])) == 0
    assert ask(replays.dsn, "select count(*) as rows from chillflow.quarantine where source = 'stream'") == [
        {"rows": 0}
    ]
