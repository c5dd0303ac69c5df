"""A pool of assemblers in one process: the real loop over the doubles, advanced a step at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from chillflow.actors.loop import Loop
from chillflow.heartbeats import Status
from chillflow.positions import Group
from chillflow.testing.warehouse import MemoryTripStore


@dataclass
class Worker:
    """An assembler's process; while `frozen`, it does nothing and hears nothing, but what it was told waits for it."""

    loop: Loop
    store: MemoryTripStore
    frozen: bool = False
    running: Iterator[str] | None = None
    answers: bool = False

    def advance(self) -> str | None:
        """One numbered step further; None where a turn has ended."""
        if self.frozen or self.loop.ended:
            return None
        if self.running is None:
            self.running = self.loop.turn()
        step = next(self.running, None)
        if step is None:
            self.running, self.answers = None, True
        return step


@dataclass
class MemoryPool:
    """See members.Pool. `make` makes an assembler of that name; a frozen one that is killed lives on as a zombie."""

    make: Callable[[str], tuple[Loop, MemoryTripStore]]
    workers: dict[str, Worker] = field(default_factory=dict)
    zombies: list[Worker] = field(default_factory=list)
    slots: int = 99
    """How many are up at a time; others wait."""
    leaving: set[str] = field(default_factory=set)
    """Those whose machine is being emptied."""
    _waiting: list[str] = field(default_factory=list)
    _dead: list[str] = field(default_factory=list)

    def start(self, name: str) -> None:
        self._waiting.append(name)

    def status(self) -> dict[str, Status | None]:
        while self._waiting and len(self.workers) < self.slots:
            name = self._waiting.pop(0)
            self.workers[name] = Worker(*self.make(name))
        said: dict[str, Status | None] = dict.fromkeys(self._dead)
        self._dead = []
        for name, worker in self.workers.items():
            if worker.answers and not worker.frozen:
                said[name] = replace(worker.loop.status(), leaving=name in self.leaving)
        return said

    def assign(self, name: str, group: Group, partition: int) -> None:
        if name in self.workers:
            self.workers[name].loop.assign(group, partition)

    def release(self, name: str, partition: int) -> None:
        if name in self.workers:
            self.workers[name].loop.release(partition)

    def stop(self, name: str, *, spill: bool = False) -> None:
        if name in self.workers:
            self.workers[name].loop.drain(spill=spill)

    def kill(self, name: str) -> None:
        if name in self._waiting:
            self._waiting.remove(name)
        worker = self.workers.pop(name, None)
        if worker is not None and worker.frozen:
            self.zombies.append(worker)
        elif worker is not None:
            worker.store.close()

    def crash(self, name: str) -> None:
        """A process ends, its connection with it."""
        self.workers.pop(name).store.close()
        self._dead.append(name)

    def advance(self) -> None:
        """A step of each that can take one, zombies included."""
        for worker in [*self.workers.values(), *self.zombies]:
            worker.advance()
