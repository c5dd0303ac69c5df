"""Faults of the log on Apache Kafka itself: retention, a lost end, added partitions, a topic made again."""

from collections.abc import Callable, Iterator

import msgspec
import psycopg
import pytest

from chillflow.actors.coordinator import Coordinator, Rhythm
from chillflow.actors.loop import Loop, Options
from chillflow.clock import SystemClock
from chillflow.errors import LogTooShort, OffsetGone, PartitionsChanged, TopicReplaced
from chillflow.events import Event, key_of
from chillflow.heartbeats import PartitionStatus
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.eventlog import KafkaReader
from chillflow.testing.checkpoints import MemoryCheckpoints
from chillflow.testing.pool import MemoryPool
from tests.event_logs import InKafka
from tests.fix_brokers import Kafka
from tests.stream_samples import rides

GROUP, PARTITIONS = "chillflow", 2


class Stage:
    """A coordinator and its assemblers in this process, over Apache Kafka and PostgreSQL."""

    def __init__(self, broker: InKafka, dsn: str) -> None:
        self.broker, self.dsn, self.clock = broker, dsn, SystemClock()
        self.topic = broker.create(PARTITIONS)
        self.pool = MemoryPool(self._make)  # type: ignore[arg-type]
        self.store = PostgresTripStore(dsn)
        self.said: list[str] = []

    def _make(self, name: str) -> tuple[Loop, PostgresTripStore]:
        store = PostgresTripStore(self.dsn)
        options = Options(batch=50, patience=0.02)
        return Loop(name, self.broker.reader(self.topic.name), store, MemoryCheckpoints(), self.clock, options), store

    def coordinator(self) -> Coordinator:
        group = self.store.take_group(GROUP, self.topic, None)
        reader: KafkaReader = self.broker.reader(self.topic.name)
        return Coordinator(group, self.store, self.pool, reader, self.clock, Rhythm(0.2, 0.5), say=self.said.append)

    def send(self, events: list[Event]) -> None:
        for partition in range(PARTITIONS):
            mine = [(key_of(event.trip_id).encode(), msgspec.json.encode(event)) for event in events]
            self.broker.send(self.topic, partition, [one for one in mine if sum(one[0]) % PARTITIONS == partition])

    def until(self, reached: Callable[[], bool], coordinator: Coordinator, seconds: float = 60.0) -> None:
        deadline = self.clock.monotonic() + seconds
        while not reached():
            assert self.clock.monotonic() < deadline, (self.said, coordinator.error, self.rows())
            if not coordinator.ended:
                list(coordinator.turn())
            for _ in range(20):
                self.pool.advance()

    def rows(self) -> list[dict[str, object]]:
        return self.store.partitions(GROUP)

    def settled(self) -> bool:
        ends = self.broker.reader(self.topic.name).ranges(range(PARTITIONS))
        return [row["next_offset"] for row in self.rows()] == [ends[partition][1] for partition in range(PARTITIONS)]

    def told(self) -> dict[int, PartitionStatus]:
        statuses = [worker.loop.status() for worker in self.pool.workers.values()]
        return {one.partition: one for status in statuses for one in status.partitions}

    def close(self) -> None:
        for worker in self.pool.workers.values():
            worker.store.close()
        self.store.close()


@pytest.fixture
def stage(kafka: Kafka, postgres_dsn: str) -> Iterator[Stage]:
    """Half of the trips lack their payments, so that they are open and the log is still needed."""
    broker = InKafka(kafka.config)
    stage = Stage(broker, postgres_dsn)
    found = rides(5, number=40)
    stage.send([event for ride in found for slot in ride.events[: 3 if ride.trip_id < found[20].trip_id else 2]
                for event in slot])  # fmt: skip
    yield stage
    stage.close()
    broker.close()


@pytest.fixture
def half(stage: Stage) -> Stage:
    """What was sent is settled as far as it can be, and everybody is gone."""
    coordinator = stage.coordinator()
    stage.until(stage.settled, coordinator)
    coordinator.stop()
    stage.until(lambda: coordinator.ended, coordinator)
    return stage


def test_retention_that_passed_what_a_partition_needs_is_an_error_with_the_range(half: Stage) -> None:
    [row] = [row for row in half.rows() if row["partition"] == 0]
    assert row["rewind_offset"] < row["next_offset"]
    first = row["rewind_offset"] + 2
    half.broker.delete_records(half.topic, 0, first)
    coordinator = half.coordinator()
    half.until(lambda: {0, 1} <= half.told().keys() and half.told()[0].error and half.told()[1].state == "live",
               coordinator)  # fmt: skip
    error = half.told()[0].error
    assert isinstance(error, OffsetGone)
    assert (error.partition, error.needed, error.first) == (0, row["rewind_offset"], first)
    half.until(lambda: any(f"offsets {row['rewind_offset']} to {first - 1} are needed" in line for line in half.said),
               coordinator)  # fmt: skip
    assert half.rows()[0]["next_offset"] == row["next_offset"]


def test_a_log_that_ends_before_what_is_committed_is_an_error_with_both(half: Stage) -> None:
    end = half.rows()[1]["next_offset"]
    with psycopg.connect(half.dsn) as connection:
        connection.execute("update chillflow.assembly_partitions set next_offset = next_offset + 7 where partition = 1")
    coordinator = half.coordinator()
    half.until(lambda: 1 in half.told() and half.told()[1].error is not None, coordinator)
    error = half.told()[1].error
    assert isinstance(error, LogTooShort)
    assert (error.partition, error.committed, error.end) == (1, end + 7, end)


def test_a_topic_that_is_made_again_under_its_readers_ends_all(stage: Stage) -> None:
    coordinator = stage.coordinator()
    stage.until(stage.settled, coordinator)
    stage.broker.delete(stage.topic)
    again = stage.broker.create(PARTITIONS, stage.topic.name)
    stage.until(lambda: coordinator.error is not None, coordinator)
    assert isinstance(coordinator.error, TopicReplaced)
    assert (coordinator.error.expected, coordinator.error.found) == (stage.topic.topic_id, again.topic_id)
    with pytest.raises(TopicReplaced, match="--switch-topic --give-up"):
        stage.store.take_group(GROUP, again, None)


def test_partitions_that_are_added_end_all_and_nothing_is_lost(stage: Stage) -> None:
    coordinator = stage.coordinator()
    stage.until(stage.settled, coordinator)
    before = stage.rows()
    stage.broker.grow(stage.topic, PARTITIONS + 1)
    stage.until(lambda: coordinator.error is not None, coordinator)
    assert isinstance(coordinator.error, PartitionsChanged)
    assert (coordinator.error.expected, coordinator.error.found) == (PARTITIONS, PARTITIONS + 1)
    assert [row["next_offset"] for row in stage.rows()] == [row["next_offset"] for row in before]
