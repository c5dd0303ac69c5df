"""The coordinator over the doubles: real assemblers in memory, which die, freeze and are fenced."""

from collections.abc import Callable
from dataclasses import asdict, replace

import msgspec
import pytest

from chillflow.actors.coordinator import Coordinator
from chillflow.actors.fetching import Inline
from chillflow.actors.lags import Ends
from chillflow.actors.loop import Loop, Options
from chillflow.assembly import Counts
from chillflow.clock import ManualClock
from chillflow.errors import OffsetGone, PartitionsChanged, Superseded, TopicMissing
from chillflow.events import key_of
from chillflow.metrics import METRICS
from chillflow.positions import Desired
from chillflow.testing.checkpoints import MemoryCheckpoints
from chillflow.testing.log import MemoryLog, MemoryReader
from chillflow.testing.pool import MemoryPool
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse
from tests.stream_samples import rides

TOPIC, GROUP, PARTITIONS = "trip-events", "chillflow", 4
OPTIONS = Options(batch=5, patience=0.05)


class Stage:
    def __init__(self) -> None:
        self.clock, self.log = ManualClock(), MemoryLog()
        self.warehouse, self.checkpoints = MemoryWarehouse(), MemoryCheckpoints()
        self.topic = self.log.create(TOPIC, PARTITIONS)
        self.pool = MemoryPool(self._make)
        self.said: list[str] = []
        self.sent: set[str] = set()

    def _make(self, name: str) -> tuple[Loop, MemoryTripStore]:
        store = MemoryTripStore(self.warehouse)
        return Loop(name, MemoryReader(self.log, TOPIC), store, self.checkpoints, self.clock, OPTIONS), store

    def coordinator(self, desired: Desired | None = None, quiet: Callable[[], bool] | None = None) -> Coordinator:
        store = MemoryTripStore(self.warehouse)
        group = store.take_group(GROUP, self.topic, desired)
        reader = MemoryReader(self.log, TOPIC)
        return Coordinator(group, store, self.pool, reader, self.clock, quiet=quiet, say=self.said.append)

    def send(self, seed: int, number: int = 40, slots: int = 3) -> None:
        for ride in rides(seed, number, spread=100_000):
            self.sent.add(ride.trip_id)
            for events in ride.events[:slots]:
                for event in events:
                    key = key_of(ride.trip_id).encode()
                    self.log.send(TOPIC, sum(key) % PARTITIONS, key, msgspec.json.encode(event))

    def until(self, reached: Callable[[], bool], *coordinators: Coordinator, seconds: float = 60.0) -> None:
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            for coordinator in coordinators:
                if not coordinator.ended:
                    list(coordinator.turn())
            for _ in range(20):
                self.pool.advance()
            self.clock.pause(0.1)
            if reached():
                return
        owners = {name: worker.loop.status() for name, worker in self.pool.workers.items()}
        raise AssertionError(f"never reached; {self.said}; {owners}")

    def owned(self) -> dict[str, list[int]]:
        return {name: sorted(worker.loop.held) for name, worker in self.pool.workers.items()}

    def caught_up(self) -> bool:
        rows = MemoryTripStore(self.warehouse).partitions(GROUP)
        ends = [len(records) for records in self.log.find(TOPIC).records]
        return [row["next_offset"] for row in rows] == ends

    def shared(self, *counts: int) -> bool:
        live = all(held.live for worker in self.pool.workers.values() for held in worker.loop.held.values())
        return live and sorted(map(len, self.owned().values())) == sorted(counts)

    def all_there(self) -> bool:
        return set(self.warehouse.rows()) == self.sent


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_assemblers_share_the_partitions_and_settle_what_was_sent(stage):
    stage.send(1)
    coordinator = stage.coordinator(Desired(2))

    stage.until(lambda: stage.shared(2, 2) and stage.caught_up() and sum(coordinator.lag.values()) == 0, coordinator)

    assert stage.all_there()
    assert [*stage.owned()] == ["assembler-1-1", "assembler-1-2"]


def test_one_whose_machine_is_emptied_lets_go_of_all_and_keeps_its_slot_until_it_is_gone(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.send(1)
    stage.until(lambda: stage.shared(2, 2), coordinator)

    stage.pool.leaving = {"assembler-1-1"}
    stage.until(lambda: stage.shared(0, 2, 2), coordinator)

    assert [*stage.owned()] == ["assembler-1-1", "assembler-1-2", "assembler-1-3"]
    assert stage.pool.workers["assembler-1-1"].loop.ended
    assert [*coordinator.members] == ["assembler-1-2", "assembler-1-3"]

    stage.pool.crash("assembler-1-1")
    stage.send(2)
    stage.until(lambda: stage.shared(2, 2) and stage.caught_up(), coordinator)

    assert stage.all_there()
    assert stage.said.count("assembler-1-1 has left: its machine is being emptied") == 1
    assert not [line for line in stage.said if "died" in line]


def test_partitions_of_one_that_dies_go_to_the_others_and_it_is_replaced(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), coordinator)

    stage.pool.crash("assembler-1-1")
    stage.send(2)
    stage.until(lambda: stage.shared(2, 2) and stage.caught_up(), coordinator)

    assert [*stage.owned()] == ["assembler-1-2", "assembler-1-3"]
    assert stage.all_there()
    assert stage.said == ["assembler-1-1 died with partitions 0, 2"]


def test_one_that_freezes_is_replaced_and_lets_go_when_it_wakes_up(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), coordinator)
    frozen = stage.pool.workers["assembler-1-2"]
    frozen.frozen = True
    stage.send(3)
    stage.until(lambda: frozen in stage.pool.zombies and stage.shared(2, 2) and stage.caught_up(), coordinator)
    assert stage.said == ["assembler-1-2 is replaced: it has been silent for 10 s"]

    frozen.frozen = False
    stage.send(4)
    stage.until(lambda: stage.caught_up() and not frozen.loop.held, coordinator)

    assert stage.all_there()


def test_one_that_answers_but_gets_nowhere_is_replaced(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), coordinator)
    stage.pool.workers["assembler-1-1"].loop.turn = lambda: iter(())
    stage.send(5)

    stage.until(stage.caught_up, coordinator, seconds=100)

    assert any("assembler-1-1 is replaced: it has not got on for" in line for line in stage.said)


def test_the_pool_grows_and_shrinks_while_all_others_go_on(stage):
    coordinator = stage.coordinator(Desired(1))
    stage.until(lambda: stage.shared(4), coordinator)

    for size, counts in ((3, (1, 1, 2)), (2, (2, 2)), (9, (1, 1, 1, 1)), (1, (4,))):
        coordinator.store.set_desired(GROUP, Desired(size))
        stage.send(10 + size, 10)
        stage.until(lambda counts=counts: stage.shared(*counts) and stage.caught_up(), coordinator)

    assert stage.all_there()
    assert stage.said == []


def test_lag_makes_the_pool_grow_between_minimum_and_maximum(stage):
    coordinator = stage.coordinator(Desired(1, 1, 3, lag_target=100))
    stage.until(lambda: stage.shared(4), coordinator)
    stage.warehouse.away = True
    stage.send(6, 200)

    stage.until(lambda: len(stage.pool.workers) == 3, coordinator, seconds=1000)
    stage.warehouse.away = False
    stage.until(lambda: stage.shared(4) and stage.caught_up(), coordinator, seconds=300)

    assert stage.all_there()


def test_a_second_coordinator_fences_the_first_out(stage):
    first = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), first)
    stage.send(7)

    second = stage.coordinator()
    stage.until(lambda: first.ended and stage.shared(2, 2) and stage.caught_up(), first, second)

    assert isinstance(first.error, Superseded)
    assert [*stage.owned()] == ["assembler-2-1", "assembler-2-2"]
    assert stage.all_there()


def test_the_next_coordinator_claims_all_anew_after_the_first_was_killed(stage):
    first = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), first)
    for name in list(stage.pool.workers):
        stage.pool.kill(name)
    stage.send(8)

    second = stage.coordinator()
    stage.until(lambda: stage.shared(2, 2) and stage.caught_up(), second)

    assert stage.all_there()


def test_a_stop_commits_saves_and_lets_go(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.send(9, slots=2)
    stage.until(lambda: stage.shared(2, 2) and stage.caught_up(), coordinator)

    coordinator.stop()
    stage.until(lambda: coordinator.ended, coordinator)

    rows = MemoryTripStore(stage.warehouse).partitions(GROUP)
    assert [row["owner"] for row in rows] == [None] * PARTITIONS
    assert coordinator.error is None
    assert len(stage.checkpoints.saved) == PARTITIONS
    assert not stage.all_there()


def test_until_caught_up_waits_for_replays_and_spills_what_is_open(stage):
    replaying = True
    coordinator = stage.coordinator(Desired(2), quiet=lambda: not replaying)
    stage.send(11, slots=2)
    stage.until(stage.caught_up, coordinator)
    with pytest.raises(AssertionError, match="never reached"):
        stage.until(lambda: coordinator.ended, coordinator, seconds=20)
    replaying = False
    stage.send(12)

    stage.until(lambda: coordinator.ended, coordinator)

    assert stage.all_there()
    assert coordinator.error is None


def test_who_dies_before_it_has_spilled_leaves_that_to_another(stage):
    quiet = False
    coordinator = stage.coordinator(Desired(2), quiet=lambda: quiet)
    stage.send(13, slots=2)
    stage.until(lambda: stage.shared(2, 2) and stage.caught_up(), coordinator)
    assert not stage.all_there()
    quiet = True
    while not any(member.stopping for member in coordinator.members.values()):
        list(coordinator.turn())
        stage.clock.pause(0.1)
    stage.pool.crash("assembler-1-1")

    stage.until(lambda: coordinator.ended, coordinator)

    assert len(coordinator.statuses()) == 4
    assert stage.all_there()


def test_a_partition_that_fails_stands_still_and_the_others_go_on(stage):
    stage.send(14)
    stage.log.delete_records(TOPIC, 1, 3)
    coordinator = stage.coordinator(Desired(2))

    ends = [len(records) for records in stage.log.find(TOPIC).records]
    stage.until(
        lambda: [row["next_offset"] for row in coordinator.store.partitions(GROUP)] == [ends[0], 0, *ends[2:]],
        coordinator,
    )

    assert len(stage.said) == 1
    assert "partition 1 stands still, the others go on" in stage.said[0]
    assert coordinator.error is None


def test_a_partition_that_fails_ends_a_run_that_was_to_end(stage):
    stage.send(14)
    stage.log.delete_records(TOPIC, 1, 3)
    coordinator = stage.coordinator(Desired(2), quiet=lambda: True)

    stage.until(lambda: coordinator.ended, coordinator)

    assert isinstance(coordinator.error, OffsetGone)


def test_a_partition_count_that_changes_ends_all(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), coordinator)
    found = stage.log.find(TOPIC)
    found.topic = replace(found.topic, partitions=5)

    stage.until(lambda: coordinator.ended, coordinator)

    assert isinstance(coordinator.error, PartitionsChanged)


def test_services_that_are_away_are_waited_for_with_one_line_each(stage):
    coordinator = stage.coordinator(Desired(2))
    stage.until(lambda: stage.shared(2, 2), coordinator)

    for service in (stage.warehouse, stage.log):
        stage.said.clear()
        service.away = True
        with pytest.raises(AssertionError, match="never reached"):
            stage.until(lambda: False, coordinator, seconds=90)
        service.away = False
        stage.send(15 + len(stage.sent))
        stage.until(lambda: stage.shared(2, 2) and stage.caught_up(), coordinator)
        assert len(stage.said) == 2, stage.said
        assert "waiting for it" in stage.said[0]
        assert stage.said[1] == "all services answer; going on"

    assert stage.all_there()


def test_a_topic_that_is_missing_once_may_come_back(stage):
    clock, ends = stage.clock, Ends(MemoryReader(stage.log, TOPIC), stage.topic, stage.clock, Inline(), 1.0)
    found = stage.log.topics.pop(TOPIC)
    for _ in range(2):
        ends.look()
        clock.pause(1.0)
        assert isinstance(ends.trouble, TopicMissing)
    stage.log.topics[TOPIC] = found
    ends.look()
    assert ends.trouble is None
    del stage.log.topics[TOPIC]
    for _ in range(2):
        clock.pause(1.0)
        ends.look()
    clock.pause(1.0)
    with pytest.raises(TopicMissing):
        ends.look()


def test_every_count_of_assembly_has_its_metric():
    from chillflow.actors.publishing import COUNTED

    assert set(COUNTED) == set(asdict(Counts()))
    assert set(COUNTED.values()) <= {each.name for each in METRICS}


def test_assemblers_that_die_at_once_are_started_ever_more_slowly(stage):
    coordinator = stage.coordinator(Desired(1))
    for _ in range(600):
        list(coordinator.turn())
        stage.pool.status()
        for name in list(stage.pool.workers):
            stage.pool.crash(name)
        stage.clock.pause(0.1)

    assert 5 <= coordinator._started <= 12
