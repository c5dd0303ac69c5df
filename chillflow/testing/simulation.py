"""Assembly in one process, from a seed: the real loop over the doubles, with a scheduler that crashes and freezes it.

Every choice comes from the seed, so that a failing run replays exactly. Once the faults have healed, PostgreSQL must
hold what the batch path makes of the same trips.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from chillflow.actors.loop import Loop, Options
from chillflow.assembly import Limits
from chillflow.clock import ManualClock
from chillflow.errors import ServiceDown
from chillflow.events import Event, key_of
from chillflow.testing.checkpoints import MemoryCheckpoints
from chillflow.testing.log import MemoryLog, MemoryReader
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse

TOPIC = "trip-events"
GROUP = "chillflow"
OPTIONS = Options(batch=6, patience=0.0, snapshot_every=0.5, idle_every=5.0, limits=Limits(open_trips=5, written=4))
"""Tight, so that spills and evictions happen among few trips."""

Action = Callable[[], None]


@dataclass
class Process:
    """An assembler's process: its turns are advanced a step at a time, and it can be frozen between two of them."""

    loop: Loop
    store: MemoryTripStore
    running: Iterator[str] | None = None
    frozen: bool = False
    at: str = "rest"

    def advance(self) -> str | None:
        """One numbered step further; None where a turn has ended."""
        if self.running is None:
            self.running = self.loop.turn()
        step = next(self.running, None)
        if step is None:
            self.running = None
        self.at = step or "rest"
        return step


class Simulation:
    """`events` are sent in this order, each to its key's partition; then faults heal, and all is caught up with."""

    def __init__(self, seed: int, events: Sequence[Event], poison: Sequence[bytes] = (), partitions: int = 2) -> None:
        self.dice = random.Random(seed)
        self.clock, self.log = ManualClock(), MemoryLog()
        self.warehouse, self.checkpoints = MemoryWarehouse(), MemoryCheckpoints()
        self.told: list[str] = []
        """What happened, for whoever looks at a failing seed."""
        self.processes: dict[str, Process] = {}
        self.gone: list[Process] = []
        self.topic = self.log.create(TOPIC, partitions)
        self._records = [(key_of(event.trip_id).encode(), msgspec.json.encode(event)) for event in events]
        for payload in poison:
            self._records.insert(self.dice.randrange(len(self._records) + 1), (b"poison", payload))
        self._sent = 0
        self._stores = 0
        self._admin = self._store()
        self._group = self._admin.take_group(GROUP, self.topic, None)
        self._owners: dict[int, str] = {}
        self._old: dict[tuple[str, str, int], bytes] = {}
        self.faults: set[str] = set()
        """The kinds of faults that were committed."""

    def run(self, steps: int = 150) -> None:
        """Faults for a while, then none until all is settled."""
        actions: list[tuple[int, Action]] = [
            (60, self._advance), (14, self._send), (6, self._own), (3, self._crash), (3, self._freeze), (3, self._thaw),
            (2, self._move), (1, self._take_group), (1, self._lose_answer), (1, self._toggle_warehouse),
            (1, self._toggle_log), (1, self._harm_checkpoints), (2, self._pass_time), (2, self._retain),
        ]  # fmt: skip
        weights = [weight for weight, _ in actions]
        for _ in range(steps):
            [(_, action)] = self.dice.choices(actions, weights)
            action()
        self.settle()

    def settle(self) -> None:
        """All faults heal; everything is sent, caught up with, and what is still open is spilled."""
        self.warehouse.away = self.log.away = self.checkpoints.away = False
        while self._sent < len(self._records):
            self._send()
        for process in [*self.processes.values(), *self.gone]:
            process.frozen = False
        self._until(self._caught_up, "caught up")
        for process in self.processes.values():
            process.loop.drain(spill=True)
        self._until(lambda: all(process.loop.ended for process in self.processes.values()), "drained")

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        for _ in range(2000):
            if reached():
                return
            for process in [*self.gone, *self.processes.values()]:
                if not process.loop.ended:
                    process.advance()
            self.clock.pause(0.01)
        raise AssertionError(f"never {what}: {self._owners} {[p.loop.status() for p in self.processes.values()]}")

    def _caught_up(self) -> bool:
        self._own()
        ends = {partition: len(records) for partition, records in enumerate(self.log.find(TOPIC).records)}
        try:
            rows = self._admin.partitions(GROUP)
        except ServiceDown:
            return False
        live = {
            held.partition for process in self.processes.values() for held in process.loop.held.values() if held.live
        }
        return {row["partition"]: row["next_offset"] for row in rows} == ends and live == set(ends)

    def _advance(self) -> None:
        """A step of any process, also of one that was given up but still runs: a zombie."""
        able = [process for process in [*self.processes.values(), *self.gone] if not process.frozen]
        if able:
            process = self.dice.choice(able)
            self._say(process, process.advance() or "turn")
            self.clock.pause(self.dice.choice((0.0, 0.01, 0.2)))

    def _send(self) -> None:
        for key, value in self._records[self._sent : self._sent + self.dice.randrange(1, 8)]:
            if self.log.away:
                return
            number = sum(key) % self.topic.partitions
            self.log.send(TOPIC, number, key, value)
            self._sent += 1

    def _own(self) -> None:
        """Hands out partitions that nobody has, as a coordinator would."""
        while len(self.processes) < 2:
            self._start()
        for partition in range(self.topic.partitions):
            owner = self.processes.get(self._owners.get(partition, ""))
            stuck = owner is None or not self._has(owner, partition)
            if stuck:
                name = self.dice.choice(sorted(self.processes))
                self._owners[partition] = name
                if any(partition in zombie.loop.held for zombie in self.gone):
                    self.faults.add("two owners")
                self.processes[name].loop.assign(self._group, partition)

    def _has(self, process: Process, partition: int) -> bool:
        """Whether the process holds the partition or is about to."""
        status = {found.partition: found.state for found in process.loop.status().partitions}
        asked = not process.loop._orders.empty() or partition in process.loop._waiting or partition in process.loop.held
        return asked or status.get(partition) in ("live", "recovering")

    def _start(self) -> None:
        store = self._store()
        reader, name = MemoryReader(self.log, TOPIC), f"assembler-{self._stores}"
        loop = Loop(name, reader, store, self.checkpoints, self.clock, OPTIONS, say=self.told.append)
        self.processes[name] = Process(loop, store)

    def _crash(self) -> None:
        """A process ends, its connection with it; nothing in it survives."""
        if self.processes:
            name = self.dice.choice(sorted(self.processes))
            process = self.processes.pop(name)
            self.faults.add(f"crash after {process.at}")
            self._say(process, "crashes")
            process.store.close()

    def _freeze(self) -> None:
        """A process stops between two steps; it is given up, and runs on later."""
        if self.processes:
            name = self.dice.choice(sorted(self.processes))
            process = self.processes.pop(name)
            process.frozen = True
            self.gone.append(process)
            self.faults.add(f"freeze after {process.at}")
            self._say(process, "freezes")

    def _thaw(self) -> None:
        for process in self.gone:
            if process.frozen and process.loop.held:
                self.faults.add("zombie")
            process.frozen = False

    def _move(self) -> None:
        if not self._owners:
            return
        partition = self.dice.choice(sorted(self._owners))
        process = self.processes.get(self._owners[partition])
        if process is not None:
            if partition in process.loop.held:
                self.faults.add("move")
            process.loop.release(partition)
            del self._owners[partition]

    def _take_group(self) -> None:
        """Another coordinator takes the group: the former one's claims fail from now on."""
        if self._retry(lambda: setattr(self, "_group", self._admin.take_group(GROUP, self.topic, None))):
            self.faults.add("another coordinator")

    def _lose_answer(self) -> None:
        for process in self.processes.values():
            process.store.lose_commit_answer = self.dice.choice(("before", "after", "later"))
            process.store.lost_answers = self.faults

    def _toggle_warehouse(self) -> None:
        self.warehouse.away = not self.warehouse.away
        self.faults.add("PostgreSQL away")

    def _toggle_log(self) -> None:
        self.log.away = not self.log.away
        self.faults.add("Kafka away")

    def _harm_checkpoints(self) -> None:
        harm = self.dice.randrange(4)
        if self.checkpoints.saved:
            self.faults.add(("snapshots missing", "snapshots corrupt", "Redis away", "snapshots stale")[harm])
        if harm == 0:
            self.checkpoints.flush()
        elif harm == 1:
            self.checkpoints.corrupt(self.dice)
        elif harm == 2:
            self.checkpoints.away = not self.checkpoints.away
        else:
            self._old = self._old or dict(self.checkpoints.saved)
            self.checkpoints.saved |= self._old

    def _pass_time(self) -> None:
        self.clock.pause(self.dice.choice((1.0, 30.0)))

    def _retain(self) -> None:
        """Retention takes all that no open trip needs, as PostgreSQL says."""
        if self.log.away:
            return
        for (name, partition), row in self.warehouse.partitions.items():
            first = row.position.rewind_offset
            if first > self.log.find(name).first[partition]:
                self.log.delete_records(name, partition, first)
                self.faults.add("retention")

    def _retry(self, action: Action) -> bool:
        try:
            action()
        except ServiceDown:
            return False
        return True

    def _store(self) -> MemoryTripStore:
        self._stores += 1
        return MemoryTripStore(self.warehouse)

    def _say(self, process: Process, what: str) -> None:
        self.told.append(f"{self.clock.seconds:.2f} {process.loop.name}: {what}")
