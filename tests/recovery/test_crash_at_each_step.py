"""Fault 1: a real process that is gone after each numbered step, then another one: the rows are the batch path's."""

import json
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import psycopg
import pytest
import redis

from chillflow.events import key_of
from chillflow.stores.eventlog import ensure_topic
from chillflow.stores.log_writer import KafkaWriter
from chillflow.stores.warehouse import Warehouse
from tests.fix_brokers import Embedded
from tests.recovery.loop_process import CRASHED
from tests.simulated import expected
from tests.stream_samples import rides
from tests.streams import new_topic

REPO = Path(__file__).parents[2]
STEPS = ("R1", "R2", "R3", "R5", "2", "3a", "3b", "3c", "3d", "3e", "3f", "3", "4")
EVENTS = [event for ride in rides(21, number=60, spread=40_000) for event in ride.all()]
EVENTS.sort(
    key=lambda event: (event.event_at.timestamp() + zlib.crc32(event.event_id.encode()) % 5_000, event.event_id)
)


@pytest.fixture(scope="module")
def services(embedded_brokers: Embedded) -> dict[str, str]:
    return {"redis": embedded_brokers.redis, "kafka": embedded_brokers.kafka}


@pytest.fixture
def topic(services: dict[str, str]) -> str:
    kafka, name = {"bootstrap.servers": services["kafka"]}, new_topic()
    ensure_topic(kafka, name, 2)
    writer = KafkaWriter(kafka, name)
    writer.send_all([key_of(e.trip_id).encode() for e in EVENTS], [msgspec.json.encode(e) for e in EVENTS], 0)
    writer.flush()
    writer.close()
    return name


def assemble(services: dict[str, str], topic: str, dsn: str, **more: object) -> int:
    given = json.dumps({**services, "topic": topic, "dsn": dsn, **more})
    command = [sys.executable, "-m", "tests.recovery.loop_process", given]
    return subprocess.run(command, cwd=REPO, timeout=120, check=False).returncode


def tables(dsn: str) -> dict[str, str]:
    """Each trip's table."""
    found: dict[str, str] = {}
    with psycopg.connect(dsn) as connection:
        for table in ("trips", "quarantine", "adjustments", "incomplete_trips"):
            for (trip_id,) in connection.execute(f"select trip_id::text from chillflow.{table}").fetchall():
                assert trip_id not in found, f"{trip_id} is in {found[trip_id]} and in {table}"
                found[trip_id] = table
    return found


def test_after_a_crash_at_any_step_the_next_process_goes_on(services, topic, postgres_dsn):
    for times in (1, 3):
        for step in STEPS:
            code = assemble(services, topic, postgres_dsn, crash=step, times=times)
            assert code in (0, CRASHED), f"step {step}"
    assert assemble(services, topic, postgres_dsn) == 0
    true = {trip_id: row.table for trip_id, row in expected(EVENTS).items()}
    assert tables(postgres_dsn) == true
    with Warehouse(postgres_dsn) as warehouse:
        whole = {trip_id: warehouse.trip(trip_id)[0] for trip_id in list(true)[:10]}
    assert all(row["source"] == "stream" for row in whole.values())


def test_two_that_die_in_their_recovery_leave_it_to_the_third(services, topic, postgres_dsn):
    """Fault 5, without snapshots: the log is read again from rewind_offset each time."""
    assert assemble(services, topic, postgres_dsn, crash="3", times=6) == CRASHED
    for crash in ("R4", "R4", None):
        with redis.Redis.from_url(services["redis"]) as store:
            store.delete(*store.keys(f"*{topic}*"), "one at least")
        code = assemble(services, topic, postgres_dsn, crash=crash, times=1)
        assert code == (CRASHED if crash else 0)
    assert tables(postgres_dsn) == {trip_id: row.table for trip_id, row in expected(EVENTS).items()}
