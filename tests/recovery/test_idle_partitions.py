"""Fault 20: partitions that fall idle, on the embedded services: what is open times out once, also after a restart."""

import datetime as dt
from collections.abc import Callable

import msgspec
import psycopg

from chillflow.actors.loop import Loop, Options
from chillflow.clock import ManualClock
from chillflow.events import key_of
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.stores.eventlog import KafkaReader
from tests.event_logs import InKafka
from tests.fix_brokers import Embedded
from tests.stream_samples import Ride, rides

GROUP, PARTITIONS = "chillflow", 3
BUSY = 1


class Idle:
    """One assembler after the other, with a clock of ours."""

    def __init__(self, services: Embedded, dsn: str) -> None:
        self.services, self.dsn, self.clock = services, dsn, ManualClock()
        self.broker = InKafka(services.config)
        self.topic = self.broker.create(PARTITIONS)

    def send(self, found: list[Ride], slots: int) -> None:
        records = [
            (key_of(event.trip_id).encode(), msgspec.json.encode(event))
            for ride in found
            for slot in ride.events[:slots]
            for event in slot
        ]
        self.broker.send(self.topic, BUSY, records)

    def start(self) -> Loop:
        store = PostgresTripStore(self.dsn)
        group = store.take_group(GROUP, self.topic, None)
        loop = Loop(
            "me", KafkaReader(self.services.config, self.topic.name), store, RedisCheckpoints(self.services.redis),
            self.clock, Options(patience=0.05),
        )  # fmt: skip
        for partition in range(PARTITIONS):
            loop.assign(group, partition)
        return loop

    def until(self, loop: Loop, reached: Callable[[], bool]) -> None:
        for _ in range(1000):
            if reached():
                return
            list(loop.turn())
        raise AssertionError(f"never reached: {loop.status()}")

    def end(self, loop: Loop) -> None:
        loop.reader.close()
        loop.store.close()

    def incomplete(self) -> list[tuple[str, dt.datetime]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(
                "select trip_id::text, spilled_at from chillflow.incomplete_trips order by 1"
            ).fetchall()


def caught_up(loop: Loop) -> bool:
    partitions = loop.status().partitions
    return len(partitions) == PARTITIONS and all(one.caught_up for one in partitions)


def test_open_trips_of_an_idle_partition_time_out_once(embedded_brokers: Embedded, postgres_dsn: str) -> None:
    idle = Idle(embedded_brokers, postgres_dsn)
    found = rides(9, number=6)
    idle.send(found, slots=1)
    first = idle.start()
    idle.until(first, lambda: caught_up(first) and not any(held.rewinding for held in first.held.values()))
    assert sum(len(held.state.open) for held in first.held.values()) == len(found)
    assert idle.incomplete() == []
    idle.end(first)

    idle.clock.pause(26 * 3600.0)  # nobody was there: this counts for nothing
    second = idle.start()
    idle.until(second, lambda: caught_up(second))
    assert sum(len(held.state.open) for held in second.held.values()) == len(found)
    idle.clock.pause(50 * 3600.0)  # this time somebody was, and the broker says that nothing has come
    idle.until(second, lambda: len(idle.incomplete()) == len(found))
    spilled = idle.incomplete()
    idle.clock.pause(50 * 3600.0)
    idle.until(second, lambda: caught_up(second))
    idle.end(second)

    third = idle.start()
    idle.until(third, lambda: caught_up(third))
    idle.clock.pause(50 * 3600.0)
    for _ in range(5):
        list(third.turn())
    assert idle.incomplete() == spilled
    idle.send(found, slots=3)
    idle.until(third, lambda: idle.incomplete() == [])
    idle.end(third)
    idle.broker.close()
