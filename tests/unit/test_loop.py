"""The commit loop over the doubles: what a log does that is not as it was, and a clock that jumps."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise

import msgspec
import pytest

from chillflow.actors.loop import Loop, Options
from chillflow.clock import ManualClock
from chillflow.errors import LogTooShort, OffsetGone, ServiceDown, TopicReplaced
from chillflow.events import key_of
from chillflow.testing.checkpoints import MemoryCheckpoints
from chillflow.testing.log import MemoryLog, MemoryReader
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse
from tests.stream_samples import DAY, rides

TOPIC, GROUP, PARTITIONS = "trip-events", "chillflow", 2


class Stage:
    """One assembler that holds all partitions."""

    def __init__(self) -> None:
        self.log, self.clock, self.warehouse = MemoryLog(), ManualClock(), MemoryWarehouse()
        self.topic = self.log.create(TOPIC, PARTITIONS)
        self.said: list[str] = []
        self.store, self.checkpoints = MemoryTripStore(self.warehouse), MemoryCheckpoints()
        self.group = self.store.take_group(GROUP, self.topic, None)
        self.reader = MemoryReader(self.log, TOPIC)
        self.loop = Loop(
            "me", self.reader, self.store, self.checkpoints, self.clock, Options(batch=5, patience=0.0),
            say=self.said.append,
        )  # fmt: skip
        for partition in range(PARTITIONS):
            self.loop.assign(self.group, partition)

    def send(self, seed: int, slots: int = 3) -> set[str]:
        found = rides(seed, number=10)
        for ride in found:
            key = key_of(ride.trip_id).encode()
            for event in (event for slot in ride.events[:slots] for event in slot):
                self.log.send(TOPIC, sum(key) % PARTITIONS, key, msgspec.json.encode(event))
        return {ride.trip_id for ride in found}

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(500):
            if reached():
                return
            list(self.loop.turn())
            self.clock.pause(0.01)
        raise AssertionError(f"never reached: {self.loop.status()} {self.said}")

    def settled(self) -> bool:
        rows = MemoryTripStore(self.warehouse).partitions(GROUP)
        ends = [len(records) for records in self.log.find(TOPIC).records]
        return [row["next_offset"] for row in rows] == ends

    def epochs(self) -> list[object]:
        return [row["epoch"] for row in MemoryTripStore(self.warehouse).partitions(GROUP)]

    def open(self) -> set[str]:
        return {trip_id for held in self.loop.held.values() for trip_id in held.state.open}

    def errors(self) -> dict[int, Exception | None]:
        return {one.partition: one.error for one in self.loop.status().partitions if one.error}


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.send(1)
    stage.until(stage.settled)
    return stage


def test_a_topic_that_is_missing_for_a_moment_is_waited_for_and_looked_at_again(stage):
    found = stage.log.topics.pop(TOPIC)
    stage.until(lambda: stage.loop.status().trouble is not None)
    for _ in range(5):
        list(stage.loop.turn())
    assert "there is no topic" in str(stage.loop.status().trouble)
    assert stage.epochs() == [1, 1]
    stage.log.topics[TOPIC] = found
    sent = stage.send(2)
    stage.until(lambda: sent <= set(stage.warehouse.rows()) and stage.settled())
    assert stage.epochs() == [2, 2]
    assert not stage.errors()
    assert stage.said[-1] == "it answers again; going on"
    assert sum("no topic" in line for line in stage.said) == 1


def test_a_topic_that_was_made_again_meanwhile_is_not_read(stage):
    before = set(stage.warehouse.rows())
    del stage.log.topics[TOPIC]
    stage.until(lambda: stage.loop.status().trouble is not None)
    again = stage.log.create(TOPIC, PARTITIONS)
    for seed in range(2, 6):
        stage.send(seed)
    stage.until(lambda: len(stage.errors()) == PARTITIONS)
    for error in stage.errors().values():
        assert isinstance(error, TopicReplaced)
        assert (error.expected, error.found) == (stage.topic.topic_id, again.topic_id)
    assert set(stage.warehouse.rows()) == before


def test_a_log_that_lost_its_end_is_an_error_and_the_other_partition_goes_on(stage):
    end = len(stage.log.find(TOPIC).records[0])
    del stage.log.find(TOPIC).records[0][-3:]
    stage.until(lambda: 0 in stage.errors())
    error = stage.errors()[0]
    assert isinstance(error, LogTooShort)
    assert (error.partition, error.committed, error.end) == (0, end, end - 3)
    assert set(stage.loop.held) == {1}


def test_retention_that_passes_a_reader_is_an_error_and_the_other_partition_goes_on(stage):
    at = len(stage.log.find(TOPIC).records[1])
    stage.send(3)
    stage.log.delete_records(TOPIC, 1, at + 2)
    stage.until(lambda: 1 in stage.errors())
    error = stage.errors()[1]
    assert isinstance(error, OffsetGone)
    assert (error.partition, error.needed, error.first) == (1, at, at + 2)
    assert set(stage.loop.held) == {0}


def test_what_was_committed_is_kept_where_the_log_fails_at_that_very_moment(stage):
    """One partition is fenced in the transaction, and the batch that was fetched beside it cannot be had."""
    sent = stage.send(4)
    stage.loop._begin_fetching()
    stage.loop._take()
    MemoryTripStore(stage.warehouse).claim(stage.group, 0, "another")
    stage.loop._fetching._coming = failed(ServiceDown("Kafka", "memory", "it is away"))
    stage.until(lambda: 0 not in stage.loop.held)
    stage.until(lambda: stage.loop.held[1].next_offset == len(stage.log.find(TOPIC).records[1]))
    assert stage.epochs() == [2, 1]
    assert {trip_id for trip_id in sent if sum(key_of(trip_id).encode()) % PARTITIONS} <= set(stage.warehouse.rows())


def test_a_partition_is_released_once_the_warehouse_is_back(stage):
    stage.loop.release(0)
    stage.warehouse.away = True
    list(stage.loop.turn())
    stage.warehouse.away = False
    stage.until(lambda: 0 not in stage.loop.held)
    owners = [row["owner"] for row in MemoryTripStore(stage.warehouse).partitions(GROUP)]
    assert owners == [None, "me"]


def test_nothing_is_claimed_while_the_log_is_away_so_that_the_snapshot_stays_good(stage):
    """A claim replaces the token that a snapshot bears: one that comes to nothing would spoil it for the next."""
    sent = stage.send(2, slots=2)
    stage.until(stage.settled)
    assert stage.open() == sent
    for partition in range(PARTITIONS):
        stage.loop.release(partition)
    stage.until(lambda: not stage.loop.held)
    stage.log.away = True
    for partition in range(PARTITIONS):
        stage.loop.assign(stage.group, partition)
    for _ in range(5):
        list(stage.loop.turn())
    assert stage.epochs() == [1, 1]
    stage.log.away = False
    steps = [step for _ in range(5) for step in stage.loop.turn()]
    assert steps.count("R5") == PARTITIONS
    assert "R4" not in steps
    assert stage.open() == sent


@pytest.mark.parametrize("hours", [1, -1, 24 * 40])
def test_a_wall_clock_that_jumps_neither_ends_trips_nor_makes_dead_letters(stage, hours):
    stage.clock.begin = DAY + dt.timedelta(hours=6)
    sent = stage.send(2, slots=2)
    stage.until(stage.settled)
    stage.clock.begin += dt.timedelta(hours=hours)
    stage.clock.pause(60.0)
    for _ in range(20):
        list(stage.loop.turn())
    assert stage.open() == sent
    sent |= stage.send(3)
    stage.until(stage.settled)
    assert sent <= stage.open() | set(stage.warehouse.rows())
    assert not stage.warehouse.dead
    assert not [row for row in stage.warehouse.rows().values() if row.table == "incomplete_trips"]


def failed(error: Exception) -> "Future[object]":
    done: Future[object] = Future()
    done.set_exception(error)
    return done


def test_lag_tools_are_told_once_a_second_and_of_all_when_a_partition_is_let_go(stage, monkeypatch):
    told: list[tuple[float, dict[int, int]]] = []
    tell = stage.reader.commit
    monkeypatch.setattr(
        stage.reader, "commit", lambda offsets: (told.append((stage.clock.monotonic(), dict(offsets))), tell(offsets))
    )
    for seed in range(2, 12):
        stage.send(seed)
        stage.until(stage.settled)
        stage.clock.pause(0.4)
    assert len(told) > 1
    assert all(after - before >= 1 for (before, _), (after, _) in pairwise(told))

    for seed in (12, 13):
        stage.send(seed)
        stage.until(stage.settled)
    before = len(told)
    stage.loop.release(0)
    stage.until(lambda: 0 not in stage.loop.held)
    assert [offsets for _, offsets in told[before:]] == [{0: len(stage.log.find(TOPIC).records[0])}]
    stage.clock.pause(2)
    stage.until(lambda: len(told) > before + 1)
    assert told[-1][1].keys() == {1}, "who has it now tells of it"
