"""Coordinators and their assemblers in one process, from a seed.

Drivers are killed, frozen, started beside each other and scaled, and so are their assemblers; services are away. Then
all heals, a last driver takes over, and must come to its end.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from chillflow.actors.coordinator import Coordinator
from chillflow.actors.loop import Loop
from chillflow.clock import ManualClock
from chillflow.errors import ServiceDown, Superseded
from chillflow.events import Event, key_of
from chillflow.positions import Desired
from chillflow.testing.checkpoints import MemoryCheckpoints
from chillflow.testing.log import MemoryLog, MemoryReader
from chillflow.testing.pool import MemoryPool, Worker
from chillflow.testing.simulation import GROUP, OPTIONS, TOPIC
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse


@dataclass
class Driver:
    """A coordinator with its pool; its assemblers die with it."""

    coordinator: Coordinator
    pool: MemoryPool
    store: MemoryTripStore
    frozen: bool = False
    running: Iterator[str] | None = None

    def advance(self) -> None:
        """One step further."""
        if self.coordinator.ended:
            return
        if self.running is None:
            self.running = self.coordinator.turn()
        if next(self.running, None) is None:
            self.running = None


class Coordinated:
    """`events` are sent in this order, each to its key's partition."""

    def __init__(self, seed: int, events: Sequence[Event], poison: Sequence[bytes] = (), partitions: int = 3) -> None:
        self.dice = random.Random(seed)
        self.clock, self.log = ManualClock(), MemoryLog()
        self.warehouse, self.checkpoints = MemoryWarehouse(), MemoryCheckpoints()
        self.told: list[str] = []
        self.topic = self.log.create(TOPIC, partitions)
        self.drivers: list[Driver] = []
        self._records = [(key_of(event.trip_id).encode(), msgspec.json.encode(event)) for event in events]
        for payload in poison:
            self._records.insert(self.dice.randrange(len(self._records) + 1), (b"poison", payload))
        self._sent = 0

    def run(self, steps: int = 600) -> None:
        """Faults for a while, then none until all is settled."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (240, self._advance), (120, self._turn), (20, self._send), (3, self._crash), (2, self._freeze),
            (1, self._thaw), (4, self._start), (1, self._kill), (1, self._freeze_driver), (3, self._scale),
            (1, self._lose_answer), (1, self._toggle_warehouse), (1, self._toggle_log), (1, self._harm),
            (2, self._wait),
        ]  # fmt: skip
        weights = [weight for weight, _ in actions]
        for _ in range(steps):
            [(_, action)] = self.dice.choices(actions, weights)
            action()
        self.settle()

    def settle(self) -> None:
        self.warehouse.away = self.log.away = self.checkpoints.away = False
        while self._sent < len(self._records):
            self._send()
        self._thaw()
        for driver in self.drivers:
            driver.frozen = False
        former = list(self.drivers)
        last = self._driver(lambda: True)
        for _ in range(4000):
            for driver in self.drivers:
                driver.advance()
            for worker in self._workers():
                worker.advance()
            self.clock.pause(0.05)
            if all(driver.coordinator.ended for driver in self.drivers):
                break
        assert last.coordinator.ended, f"never ended: {last.coordinator.members}"
        assert last.coordinator.error is None, last.coordinator.error
        for driver in former:
            assert isinstance(driver.coordinator.error, Superseded), "it was not fenced out"

    def _workers(self) -> list[Worker]:
        return [worker for driver in self.drivers for worker in [*driver.pool.workers.values(), *driver.pool.zombies]]

    def _advance(self) -> None:
        able = [worker for worker in self._workers() if not worker.frozen]
        if able:
            worker = self.dice.choice(able)
            for _ in range(self.dice.choice((1, 1, 2, 20))):
                step = worker.advance() or "turn"
                self.told.append(f"{self.clock.seconds:.2f} {worker.loop.name}: {step}")
            self.clock.pause(self.dice.choice((0.0, 0.01, 0.1)))

    def _turn(self) -> None:
        able = [driver for driver in self.drivers if not driver.frozen]
        if able:
            driver = self.dice.choice(able)
            for _ in range(self.dice.choice((1, 2, 9))):
                driver.advance()
            self.clock.pause(self.dice.choice((0.02, 0.5)))

    def _send(self) -> None:
        for key, value in self._records[self._sent : self._sent + self.dice.randrange(1, 4)]:
            if not self.log.away:
                self.log.send(TOPIC, sum(key) % self.topic.partitions, key, value)
                self._sent += 1

    def _start(self) -> None:
        if len(self.drivers) < 2:
            try:
                self._driver(None)
            except ServiceDown:
                return

    def _driver(self, quiet: Callable[[], bool] | None) -> Driver:
        store, pool = MemoryTripStore(self.warehouse), MemoryPool(self._make)
        group = store.take_group(GROUP, self.topic, Desired(self.dice.randrange(1, 4)))
        reader = MemoryReader(self.log, TOPIC)
        driver = Driver(
            Coordinator(group, store, pool, reader, self.clock, quiet=quiet, say=self.told.append), pool, store
        )
        self.drivers.append(driver)
        return driver

    def _make(self, name: str) -> tuple[Loop, MemoryTripStore]:
        store = MemoryTripStore(self.warehouse)
        return Loop(name, MemoryReader(self.log, TOPIC), store, self.checkpoints, self.clock, OPTIONS), store

    def _kill(self) -> None:
        """A driver is killed; Ray ends its assemblers, frozen ones included."""
        if self.drivers:
            driver = self.drivers.pop(self.dice.randrange(len(self.drivers)))
            for worker in [*driver.pool.workers.values(), *driver.pool.zombies]:
                worker.store.close()
            driver.store.close()

    def _crash(self) -> None:
        if (found := self._any()) is not None:
            driver, name = found
            driver.pool.crash(name)

    def _freeze(self) -> None:
        if (found := self._any()) is not None:
            driver, name = found
            driver.pool.workers[name].frozen = True

    def _any(self) -> tuple[Driver, str] | None:
        found = [(driver, name) for driver in self.drivers for name in driver.pool.workers]
        return self.dice.choice(found) if found else None

    def _thaw(self) -> None:
        for worker in self._workers():
            worker.frozen = False

    def _freeze_driver(self) -> None:
        for driver in self.drivers:
            driver.frozen = self.dice.random() < 0.5

    def _scale(self) -> None:
        if self.drivers and not self.warehouse.away:
            size = self.dice.randrange(1, 5)
            desired = Desired(size) if self.dice.random() < 0.7 else Desired(1, 1, size, lag_target=5)
            try:
                self.drivers[0].store.set_desired(GROUP, desired)
            except ServiceDown:
                return

    def _lose_answer(self) -> None:
        for worker in self._workers():
            worker.store.lose_commit_answer = self.dice.choice(("before", "after", "later"))

    def _toggle_warehouse(self) -> None:
        self.warehouse.away = not self.warehouse.away

    def _toggle_log(self) -> None:
        self.log.away = not self.log.away

    def _harm(self) -> None:
        if self.dice.random() < 0.5:
            self.checkpoints.flush()
        else:
            self.checkpoints.corrupt(self.dice)

    def _wait(self) -> None:
        self.clock.pause(self.dice.choice((1.0, 15.0)))
