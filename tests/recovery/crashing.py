"""Assemblers without Ray, each a process of its own over the embedded services, and what they must come to."""

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg

from chillflow.events import key_of
from chillflow.stores.eventlog import ensure_topic
from chillflow.stores.log_writer import KafkaWriter
from tests.fix_brokers import Embedded
from tests.recovery.loop_process import CRASHED
from tests.simulated import expected
from tests.stream_samples import rides
from tests.streams import new_topic

REPO = Path(__file__).parents[2]
EVENTS = [event for ride in rides(21, number=60, spread=40_000) for event in ride.all()]
EVENTS.sort(
    key=lambda event: (event.event_at.timestamp() + zlib.crc32(event.event_id.encode()) % 5_000, event.event_id)
)


@dataclass
class Crashing:
    """Events on a topic of two partitions, and a database for their trips."""

    kafka: str
    redis: str
    dsn: str
    topic: str

    @classmethod
    def of(cls, services: Embedded, dsn: str) -> "Crashing":
        topic = new_topic()
        ensure_topic(services.config, topic, 2)
        writer = KafkaWriter(services.config, topic)
        writer.send_all([key_of(e.trip_id).encode() for e in EVENTS], [msgspec.json.encode(e) for e in EVENTS], 0)
        writer.flush()
        writer.close()
        return cls(services.kafka, services.redis, dsn, topic)

    def assemble(self, step: str | None = None, times: int = 1) -> bool:
        """Whether an assembler was gone after doing `step` so many times; else it has settled all."""
        with self.running(step, times) as running:
            code = running.wait(120)
        assert code in (0, CRASHED), f"it ended with {code} (step {step})"
        return code == CRASHED

    @contextmanager
    def running(self, step: str | None = None, times: int = 1) -> "Iterator[subprocess.Popen[bytes]]":
        """An assembler's process; it does not outlive the block."""
        given = {"redis": self.redis, "kafka": self.kafka, "topic": self.topic, "dsn": self.dsn}
        given_step = {"crash": step, "times": times}
        command = [sys.executable, "-m", "tests.recovery.loop_process", json.dumps(given | given_step)]
        with subprocess.Popen(command, cwd=REPO) as running:
            try:
                yield running
            finally:
                running.kill()

    def tables(self) -> dict[str, str]:
        """Each trip's table."""
        found: dict[str, str] = {}
        with psycopg.connect(self.dsn) as connection:
            for table in ("trips", "quarantine", "adjustments", "incomplete_trips"):
                for (trip_id,) in connection.execute(f"select trip_id::text from chillflow.{table}").fetchall():
                    assert trip_id not in found, f"{trip_id} is in {found[trip_id]} and in {table}"
                    found[trip_id] = table
        return found


def true_tables() -> dict[str, str]:
    return {trip_id: row.table for trip_id, row in expected(EVENTS).items()}
