"""PostgreSQL and the broker fail under real assemblers: a crash, cut connections, locks, a deadlock, a freeze."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.fix_embedded import Cli
from tests.fix_postgres import PostgresServer
from tests.services import only_embedded
from tests.streams import Stream, curated, new_topic

MESS = ("--duplicate", "0.05", "--shuffle", "3600", "--late", "0.05", "--revise", "0.02", "--seed", "7")
SPEED = "300000"
"""A month in some 9 seconds, so that faults come while events do."""


@pytest.fixture(scope="module")
def prepared(embedded: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return curated(lambda: embedded, tmp_path_factory.mktemp("stream"), rows=8_000)


@pytest.fixture
def stream(new_cli: Callable[[], Cli], prepared: tuple[Path, Path]) -> Stream:
    files, lake = prepared
    return Stream(new_cli().given(CHILLFLOW_LAKE=str(lake)), files, new_topic())


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own."""
    server = PostgresServer(deadlock_timeout="100ms")
    yield server
    server.close()


@contextmanager
def under_way(stream: Stream) -> Iterator[tuple[subprocess.Popen[str], Callable[[], None]]]:
    """A replay that is being assembled; what is given awaits that more is settled. Afterwards nothing may differ."""
    replay = stream.replaying(*MESS, "--speed", SPEED)

    def goes_on() -> None:
        at = stream.settled()
        stream.until(lambda: stream.settled() > at or replay.poll() is not None, "more is settled")

    with stream.assembling() as driver:
        stream.until(lambda: stream.settled() > 0, "the first records")
        yield driver, goes_on
        stream.await_sent(replay, driver)
    stream.finish()
    assert "no differences" in stream.reconcile()


def test_postgres_cuts_connections_locks_rows_and_crashes(stream: Stream, server: PostgresServer) -> None:
    own = replace(stream, cli=stream.cli.given(CHILLFLOW_POSTGRES_DSN=server.dsn))
    with under_way(own) as (_, goes_on):
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            assert connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'chillflow%'"
            ).fetchall()
        goes_on()
        with psycopg.connect(server.dsn) as connection:
            connection.execute("lock table chillflow.trips in exclusive mode")
            own.until(lambda: bool(waiting_for(connection, server.dsn)), "somebody waits for the lock")
            [first, *_] = waiting_for(connection, server.dsn)
            own.until(lambda: first not in waiting_for(connection, server.dsn), "nobody waits for it for long")
        goes_on()
        with psycopg.connect(server.dsn) as connection:
            deadlock(own, connection, server.dsn)
        goes_on()
        server.stop(signal.SIGQUIT)
        server.start()
        goes_on()


def waiting_for(holder: psycopg.Connection, dsn: str) -> list[int]:
    """The sessions that wait for this one."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity where %s = any(pg_blocking_pids(pid))", (holder.info.backend_pid,)
        )
        return [pid for (pid,) in rows]


def deadlock(stream: Stream, mine: psycopg.Connection, dsn: str) -> None:
    """An assembler's rows are locked in another order than it locks them."""
    lock = "select from chillflow.assembly_partitions where topic = %s and partition = any(%s) for update"
    rows = stream.partitions()
    *others, last = (row["partition"] for row in rows if row["owner"] == rows[-1]["owner"])
    mine.execute(lock, (stream.topic, [last]))
    stream.until(lambda: bool(waiting_for(mine, dsn)), "an assembler has locked others, and waits for this one")
    with suppress(psycopg.errors.DeadlockDetected):  # if it is not the assembler that is told
        mine.execute(lock, (stream.topic, others))


@only_embedded
def test_a_broker_that_freezes_is_waited_for(stream: Stream) -> None:
    """The embedded broker has its data in memory: it can be frozen, not killed."""
    [pid] = [one["pid"] for one in stream.cli.json("status")["services"] if one["service"] == "kafka"]
    broker = psutil.Process(pid)
    with under_way(stream) as (driver, goes_on):
        broker.send_signal(signal.SIGSTOP)
        try:
            stream.until(lambda: "Kafka" in stream.said(driver), "somebody notices")
        finally:
            broker.send_signal(signal.SIGCONT)
        goes_on()
