"""An assembler as a Ray actor: the commit loop in one thread, orders and heartbeats in another."""

import gc
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from chillflow.actors.loop import Loop, Options
from chillflow.clock import SystemClock
from chillflow.heartbeats import Status
from chillflow.positions import Group
from chillflow.roster import Roster
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.stores.eventlog import KafkaReader


@dataclass(frozen=True)
class Services:
    """What an assembler is made from: addresses, since clients do not pickle; `roster`: where it signs in."""

    postgres: str
    redis: str
    kafka: Mapping[str, str]
    topic: str
    group: str
    roster: Path
    options: Options = field(default_factory=Options)


def collect_rarely() -> None:
    """Has the garbage collector look for cycles once in a million new objects: the loop makes many, and hardly a cycle.

    Looked for as usual, they cost an assembler a fifth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)


class Assembler:
    """`consume` runs in a thread of its own until the loop has ended; what else is called returns at once."""

    def __init__(self, name: str, services: Services) -> None:
        self.name = name
        self._said: deque[str] = deque(maxlen=100)
        self._roster = Roster(services.roster)
        self._leaving = False
        self._loop = Loop(
            name,
            KafkaReader(services.kafka, services.topic, services.group),
            PostgresTripStore(services.postgres),
            RedisCheckpoints(services.redis, self._said.append),
            SystemClock(),
            services.options,
            ThreadPoolExecutor(1, "fetch"),
        )

    def __repr__(self) -> str:
        return self.name

    def consume(self) -> None:
        collect_rarely()
        self._roster.sign_in()
        try:
            while not self._loop.ended:
                for _ in self._loop.turn():
                    pass
        finally:
            self._roster.sign_off()

    def assign(self, group: Group, partition: int) -> None:
        self._loop.assign(group, partition)

    def release(self, partition: int) -> None:
        self._loop.release(partition)

    def drain(self, spill: bool) -> None:
        self._loop.drain(spill=spill)

    def status(self) -> tuple[Status, list[str]]:
        """A heartbeat, and what was said since the last one."""
        said = [self._said.popleft() for _ in range(len(self._said))]
        self._leaving = self._leaving or self._roster.leaving()
        return replace(self._loop.status(), leaving=self._leaving), said
