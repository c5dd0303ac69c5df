"""The commit loop over the doubles: what a log does that is not as it was."""

from collections.abc import Callable
from concurrent.futures import Future

import msgspec
import pytest

from chillflow.actors.loop import Loop, Options
from chillflow.clock import ManualClock
from chillflow.errors import LogTooShort, OffsetGone, ServiceDown, TopicReplaced
from chillflow.events import key_of
from chillflow.testing.checkpoints import MemoryCheckpoints
from chillflow.testing.log import MemoryLog, MemoryReader
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse
from tests.stream_samples import rides

TOPIC, GROUP, PARTITIONS = "trip-events", "chillflow", 2


class Stage:
    """One assembler that holds all partitions."""

    def __init__(self) -> None:
        self.log, self.clock, self.warehouse = MemoryLog(), ManualClock(), MemoryWarehouse()
        self.topic = self.log.create(TOPIC, PARTITIONS)
        self.said: list[str] = []
        self.store = MemoryTripStore(self.warehouse)
        self.group = self.store.take_group(GROUP, self.topic, None)
        self.reader = MemoryReader(self.log, TOPIC)
        self.loop = Loop(
            "me", self.reader, self.store, MemoryCheckpoints(), self.clock, Options(batch=5, patience=0.0),
            say=self.said.append,
        )  # fmt: skip
        for partition in range(PARTITIONS):
            self.loop.assign(self.group, partition)

    def send(self, seed: int) -> set[str]:
        found = rides(seed, number=10)
        for ride in found:
            key = key_of(ride.trip_id).encode()
            for event in ride.all():
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


def failed(error: Exception) -> "Future[object]":
    done: Future[object] = Future()
    done.set_exception(error)
    return done
