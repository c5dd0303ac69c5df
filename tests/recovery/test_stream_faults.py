"""Real processes, real faults: whatever is killed, frozen or emptied, the stream's rows are the batch path's."""

import random
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from chillflow.actors.loop import Loop
from chillflow.clock import SystemClock
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.stores.eventlog import KafkaReader, ensure_topic
from tests.fix_embedded import Cli
from tests.streams import Stream, curated, new_topic

MESS = ("--duplicate", "0.05", "--shuffle", "3600", "--late", "0.05", "--revise", "0.02", "--seed", "7")
SPEED = "300000"
"""A month in some 9 seconds."""
PARTITIONS = 12


@pytest.fixture(scope="module")
def prepared(embedded: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stream")
    return curated(lambda: embedded, folder)


@pytest.fixture
def stream(new_cli: Callable[[], Cli], prepared: tuple[Path, Path]) -> Stream:
    files, lake = prepared
    return Stream(new_cli().given(CHILLFLOW_LAKE=str(lake)), files, new_topic())


def test_assemblers_killed_again_and_again_and_redis_emptied(stream):
    dice, events = random.Random(3), 40_000 * 3
    store = redis.Redis.from_url(stream.cli.json("status")["redis"])
    replay = stream.replaying(*MESS)
    with stream.assembling() as driver:
        for round_ in range(5):
            stream.until(lambda target=events * round_ / 6: stream.settled() > target, f"round {round_}")
            victims = stream.some_assemblers()
            for victim in victims if round_ == 4 else [dice.choice(victims)]:
                victim.kill()
            if round_ in (1, 3):
                store.flushall()
        stream.await_sent(replay, driver)
    stream.finish()
    assert "no differences" in stream.reconcile()


def test_a_driver_that_is_killed_takes_its_assemblers_along_and_the_next_goes_on(stream):
    stream.replay(*MESS)
    driver = stream.cli.start("assemble", "--topic", stream.topic, "--workers", "2")
    stream.until(lambda: stream.settled() > 0, "the first records")
    old = stream.some_assemblers()
    driver.kill()
    driver.communicate()
    psutil.wait_procs(old, timeout=60)
    assert not [process for process in old if process.is_running()]
    stream.finish()
    assert "no differences" in stream.reconcile()


def test_a_frozen_assembler_is_replaced_and_lets_go_when_it_wakes_up(stream):
    stream.replay(*MESS)
    with stream.assembling():
        stream.until(lambda: stream.settled() > 0, "the first records")
        frozen = stream.some_assemblers()[0]
        frozen.send_signal(signal.SIGSTOP)
        before = {row["partition"]: row["epoch"] for row in stream.partitions()}
        try:
            stream.until(
                lambda: any(row["epoch"] > before[row["partition"]] for row in stream.partitions()), "a successor"
            )
            stream.until(lambda: stream.settled() >= 120_000 - 1_000, "the successor settles the rest")
        finally:
            if frozen.is_running():
                frozen.send_signal(signal.SIGCONT)
    stream.finish()
    assert "no differences" in stream.reconcile()


def test_a_second_coordinator_fences_the_first_out(stream):
    stream.replay(*MESS)
    first = stream.cli.start("assemble", "--topic", stream.topic, "--workers", "1")
    stream.until(lambda: stream.settled() > 0, "the first records")
    stream.finish()
    _, said = first.communicate(timeout=60)
    assert first.returncode == 1
    assert "taken over" in said
    assert "no differences" in stream.reconcile()


def test_sigterm_drains_and_nothing_is_processed_twice(stream):
    ensure_topic({"bootstrap.servers": stream.cli.json("status")["kafka"]}, stream.topic, PARTITIONS)
    with stream.assembling():
        stream.until(lambda: stream.owned() == PARTITIONS, "assemblers are there before the events are")
        replay = stream.replaying(*MESS, "--speed", SPEED)
        stream.until(lambda: stream.settled() > 0, "the first records")
    assert not stream.owners()
    rows = stream.partitions()
    assert any(row["rewind_offset"] < row["next_offset"] for row in rows), "trips are open"
    assert begun_by_the_next(stream) == {row["partition"]: row["next_offset"] for row in rows}
    stream.await_sent(replay)
    stream.finish()
    assert "no differences" in stream.reconcile()


def begun_by_the_next(stream: Stream) -> dict[int, int]:
    """Where another assembler, in this process, begins to read each partition: what lies below is not read again."""
    found: dict[int, int] = {}

    class Noting(KafkaReader):
        def assign(self, partition: int, offset: int) -> None:
            found.setdefault(partition, offset)
            super().assign(partition, offset)

    services = stream.cli.json("status")
    store = PostgresTripStore(stream.cli.dsn)
    with closing(store), closing(Noting({"bootstrap.servers": services["kafka"]}, stream.topic)) as reader:
        loop = Loop("next", reader, store, RedisCheckpoints(services["redis"]), SystemClock())
        group = store.group("chillflow")
        assert group is not None
        for partition in range(PARTITIONS):
            loop.assign(group, partition)
        while len(found) < PARTITIONS:
            list(loop.turn())
        loop.drain()
        while not loop.ended:
            list(loop.turn())
    return found


def test_poison_becomes_dead_letters_and_stops_nobody(stream):
    stream.replay("--corrupt", "0.01", "--drop", "0.005", "--seed", "3")
    stream.finish()
    assert "no differences" not in stream.reconcile(code=3)
    with psycopg.connect(stream.cli.dsn) as connection:
        [(letters,)] = connection.execute("select count(*) from chillflow.dead_letters").fetchall()
        [(incomplete,)] = connection.execute("select count(*) from chillflow.incomplete_trips").fetchall()
    assert letters > 500
    assert incomplete > 500
