"""From SIGKILL to the next commit: `chillflow up`, then `python -m benchmarks.recovery --open 100000`.

`chillflow assemble` holds so many open trips while further events come at a steady rate. Again and again one of its
assemblers is killed: how long until PostgreSQL has a commit of each of its partitions by a new owner, with what Redis
holds, and with Redis emptied at that moment. `--bootstrap` names another broker than the embedded one.
"""

import argparse
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import polars as pl
import psutil
import psycopg
import redis
from confluent_kafka import Producer

from benchmarks.assembly import GROUP, PARTITIONS, Services, drop_database, new_database
from benchmarks.events import months_trips
from benchmarks.latency import KEYS
from chillflow import local
from chillflow.explosion import explode
from chillflow.settings import Settings
from chillflow.stores.eventlog import ensure_topic
from chillflow.stores.log_writer import KafkaWriter

Rows = dict[int, tuple[int, int, int]]
"""Of each partition its epoch, its next_offset and its owner's backend."""


def send(kafka: dict[str, str], topic: str, opened: int, rate: float, seconds: float) -> None:
    """The beginnings of `opened` trips at once, then later trips, whole ones, at a steady rate."""
    trips = months_trips(opened + int(rate * seconds / 3))
    events = explode(trips).sort("event_at").with_columns(row=pl.int_range(pl.len()))
    early = set(explode(trips.head(opened))["key"].to_list())
    first = events.filter(pl.col("key").is_in(early) & pl.col("value").bin.contains(b'"trip_started"'))
    rest = events.filter(~pl.col("key").is_in(early))
    writer = KafkaWriter(kafka, topic)
    writer.send_all(first["key"].to_list(), first["value"].to_list(), 0)
    writer.flush()
    writer.close()
    producer = Producer({**kafka, **KEYS})
    began = time.perf_counter()
    for number, (key, value) in enumerate(rest.select("key", "value").iter_rows()):
        while (wait := began + number / rate - time.perf_counter()) > 0:
            time.sleep(min(wait, 0.002))
            producer.poll(0)
        producer.produce(topic, key=key, value=value)
    producer.flush()


class Watch:
    """What PostgreSQL has of the partitions, looked at every few milliseconds."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def rows(self) -> Rows:
        found = self._connection.execute(
            "select partition, epoch, next_offset, coalesce(backend_pid, 0) from chillflow.assembly_partitions"
        )
        return {partition: (epoch, offset, backend) for partition, epoch, offset, backend in found}

    def open_trips(self) -> int:
        [(found,)] = self._connection.execute("select sum(open_trips) from chillflow.assembly_partitions").fetchall()
        return int(found or 0)

    def owner(self, backend: int) -> psutil.Process:
        """The process at the other end of a backend's connection."""
        [(port,)] = self._connection.execute(
            "select client_port from pg_stat_activity where pid = %s", [backend]
        ).fetchall()
        [pid] = {each.pid for each in psutil.net_connections("tcp") if each.laddr.port == port and each.raddr}
        return psutil.Process(pid)

    def until(self, reached: Callable[[Rows], bool], patience: float = 120.0) -> float:
        """Waits until it is so; returns when that was seen."""
        deadline = time.perf_counter() + patience
        while not reached(self.rows()):
            if time.perf_counter() > deadline:
                sys.exit(f"not within {patience:.0f} s: {self.rows()}")
            time.sleep(0.005)
        return time.perf_counter()

    def close(self) -> None:
        self._connection.close()


def kill_one(watch: Watch) -> float:
    """Kills an assembler; seconds until each of its partitions has a commit of a new owner."""
    before = watch.rows()
    victim = max(backend for _, _, backend in before.values())
    process = watch.owner(victim)
    lost = [partition for partition, (_, _, backend) in before.items() if backend == victim]
    began = time.perf_counter()
    process.send_signal(signal.SIGKILL)
    claimed: dict[int, int] = {}

    def committed(rows: Rows) -> bool:
        for partition in lost:
            epoch, offset, _ = rows[partition]
            if epoch > before[partition][0]:
                claimed.setdefault(partition, offset)
        return all(partition in claimed and rows[partition][1] > claimed[partition] for partition in lost)

    return watch.until(committed) - began


def settled(rows: Rows) -> bool:
    """Two assemblers have the same number of partitions each."""
    backends = [backend for _, _, backend in rows.values()]
    return len(set(backends)) == 2 and all(backends.count(each) == len(rows) // 2 for each in set(backends))


def measure(services: Services, topic: str, opened: int, rounds: int, pause: float) -> tuple[list[float], list[float]]:
    """Seconds of each kill: with snapshots, and with Redis emptied."""
    env = os.environ | {
        "CHILLFLOW_POSTGRES_DSN": services.dsn, "CHILLFLOW_KAFKA_BOOTSTRAP": services.kafka["bootstrap.servers"],
    }  # fmt: skip
    command = [sys.executable, "-m", "chillflow.cli", "assemble", "--group", GROUP, "--topic", topic, "--workers", "2"]
    running = subprocess.Popen(command, env=env)
    snapshots: Any = redis.Redis.from_url(services.redis)
    try:
        with closing(Watch(services.dsn)) as watch:
            watch.until(lambda rows: bool(rows) and watch.open_trips() >= opened)
            found: tuple[list[float], list[float]] = [], []
            for number in range(2 * rounds):
                watch.until(settled)
                time.sleep(pause)  # time for snapshots, and for commits after them
                if number % 2:
                    snapshots.delete(*snapshots.scan_iter(f"chillflow:{GROUP}:{topic}:*"))
                found[number % 2].append(kill_one(watch))
            print(f"{watch.open_trips():,} open trips at the end")
            return found
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, default=100_000, help="open trips")
    parser.add_argument("--rate", type=float, default=1_000, help="events a second meanwhile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=10, help="seconds between two kills")
    parser.add_argument("--bootstrap")
    given = parser.parse_args()
    settings = Settings.read()
    found = local.addresses(settings.home)
    dsn, url = settings.postgres_dsn or found.postgres, settings.redis_url or found.redis
    bootstrap = given.bootstrap or settings.kafka_bootstrap or found.kafka
    if not (dsn and url and bootstrap):
        sys.exit("run `chillflow up` first")
    kafka, topic = {"bootstrap.servers": bootstrap}, f"recovery-{time.time_ns()}"
    ensure_topic(kafka, topic, PARTITIONS)
    own = new_database(dsn)
    seconds = 60 + 2 * given.rounds * (given.pause + 15)
    sending = multiprocessing.get_context("spawn").Process(
        target=send, args=(kafka, topic, given.open, given.rate, seconds), daemon=True
    )
    sending.start()
    try:
        with_snapshots, without = measure(Services(kafka, url, own), topic, given.open, given.rounds, given.pause)
    finally:
        sending.kill()
        drop_database(dsn, own)
    for name, taken in (("with snapshots", with_snapshots), ("Redis emptied", without)):
        print(f"SIGKILL to the next commit of each partition, {name}: median {statistics.median(taken):.2f} s, "
              f"worst {max(taken):.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
