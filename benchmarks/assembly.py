"""Assembly end to end, durable commits: `chillflow up`, then `python -m benchmarks.assembly --file MONTH.parquet`.

Events of real trips are sent to a new topic of 12 partitions first; then assemblers in processes of their own, the
very loop of the actors, catch up with it: Kafka to rows in PostgreSQL. Says events/s from the first commit on, CPU
time, and in which steps the loop spends its time. `--bootstrap` names another broker than the embedded one. With
`--ray`, the same once more by `chillflow assemble`, and what that costs over the plain loop. With `--watch`, each round
once more while `chillflow aggregate --watch` keeps the KPIs fresh. With `--open N`, each round twice more with so many
trips open, which nothing completes: without snapshots, and with one of each partition every `--every` seconds.
"""

import argparse
import datetime as dt
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from benchmarks.open_trips import fill
from chillflow import local, tlc
from chillflow.actors.assembler import collect_rarely
from chillflow.actors.loop import Loop, Options
from chillflow.clock import SystemClock
from chillflow.explosion import explode
from chillflow.local.ray_head import ENVIRONMENT
from chillflow.settings import Settings
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.stores.eventlog import KafkaReader, describe, ensure_topic
from chillflow.stores.log_writer import KafkaWriter
from chillflow.stores.sources import open_input
from chillflow.stores.warehouse import Warehouse
from chillflow.trips import trip_id

PARTITIONS = 12
A_DAY = 250_000
"""Trips of yellow taxis on a day of March 2019."""
GROUP = "benchmark"
FOR_EVER = dt.timedelta(days=36_500)
NEVER = 1e9
"""Seconds."""


@dataclass(frozen=True)
class Services:
    kafka: dict[str, str]
    redis: str
    dsn: str


@dataclass(frozen=True)
class Ran:
    """What a process did: events, wall time between its first and last commit, CPU seconds, seconds by step."""

    events: int
    began: float
    ended: float
    cpu: float
    steps: dict[str, float]
    memory: int


def send(kafka: dict[str, str], file: str, trips: int) -> tuple[str, int]:
    """Events of the file's first trips in event-time order on a new topic; returns the topic and how many."""
    topic = f"benchmark-{time.time_ns()}"
    ensure_topic(kafka, topic, PARTITIONS)
    raw = tiled(file, trips)
    events = explode(raw.with_columns(trip_id(raw)).unique("trip_id")).sort("event_at")
    writer = KafkaWriter(kafka, topic)
    for start in range(0, len(events), 20_000):
        part = events.slice(start, 20_000)
        writer.send_all(part["key"].to_list(), part["value"].to_list(), start)
    writer.flush()
    writer.close()
    return topic, len(events)


def tiled(file: str, trips: int) -> pl.DataFrame:
    """So many trips of the file's month, from its beginning, as dense as the city's: a sample is repeated, a second
    later each time.
    """
    with open_input(file) as opened:
        facts = tlc.inspect(opened, file, "yellow")
        raw = pl.concat([tlc.read(opened, block) for block in facts.blocks[: 1 + trips // 400_000]])
    month = pl.col("pickup_at").dt.truncate("1mo")
    raw = raw.filter(month == month.mode().first()).sort("pickup_at")
    if len(raw) < trips:
        raw = raw.filter(pl.col("pickup_at") < month + dt.timedelta(days=trips / A_DAY))
    times = pl.col("pickup_at", "dropoff_at")
    tiles = [raw.with_columns(times + dt.timedelta(seconds=tile)) for tile in range(-(-trips // len(raw)))]
    return pl.concat(tiles).head(trips)


@dataclass(frozen=True)
class Load:
    """What a partition's state holds from the beginning, and the seconds between its snapshots."""

    open_trips: int = 0
    snapshot_every: float = Options().snapshot_every


def assemble(name: str, services: Services, topic: str, partitions: list[int], load: Load, results: Any) -> None:
    """One assembler without Ray, until it has caught up."""
    store = PostgresTripStore(services.dsn)
    reader = KafkaReader(services.kafka, topic)
    options = Options(snapshot_every=load.snapshot_every)
    loop = Loop(
        name, reader, store, RedisCheckpoints(services.redis), SystemClock(), options, ThreadPoolExecutor(1), print
    )
    group = store.group(GROUP)
    assert group is not None
    collect_rarely()
    for partition in partitions:
        loop.assign(group, partition)
    while load.open_trips and len(loop.held) < len(partitions):
        for _ in loop.turn():
            pass
    for held in loop.held.values():
        fill(held.state, load.open_trips, FOR_EVER)
    steps: dict[str, float] = defaultdict(float)
    began = ended = 0.0
    committed, cpu = 0, time.process_time()
    while not (loop.held and all(status.caught_up for status in loop.status().partitions)):
        before = time.perf_counter()
        for step in loop.turn():
            now = time.perf_counter()
            steps[step] += now - before
            before = now
        if loop.status().committed > committed:
            committed, ended = loop.status().committed, time.time()
            began = began or ended
    used = time.process_time() - cpu
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    loop.drain()
    while not loop.ended:
        for _ in loop.turn():
            pass
    results.put(Ran(committed, began, ended, used, dict(steps), memory // 1024))


def new_database(dsn: str) -> str:
    name = f"benchmark_{time.time_ns()}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    own = psycopg.conninfo.make_conninfo(dsn, dbname=name)
    with Warehouse(own) as warehouse:
        warehouse.migrate()
    return own


def drop_database(dsn: str, own: str) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(own)["dbname"])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def database(dsn: str) -> Iterator[str]:
    own = new_database(dsn)
    try:
        yield own
    finally:
        drop_database(dsn, own)


def plain(services: Services, topic: str, workers: int, load: Load = Load()) -> list[Ran]:
    store = PostgresTripStore(services.dsn)
    store.take_group(GROUP, describe(services.kafka, topic), None)
    store.close()
    os.environ.update(ENVIRONMENT)  # as the local head starts its workers
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(
            target=assemble,
            args=(f"a{number}", services, topic, list(range(number, PARTITIONS, workers)), load, results),
        )
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


@contextmanager
def watched(dsn: str) -> Iterator[None]:
    """`chillflow aggregate --watch` beside the block, from when it is connected on."""
    command = [sys.executable, "-m", "chillflow.cli", "aggregate", "--watch"]
    running = subprocess.Popen(command, env=os.environ | {"CHILLFLOW_POSTGRES_DSN": dsn})
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while connection.execute(others + " and backend_type = 'client backend'").fetchone() == (0,):
                assert running.poll() is None
                time.sleep(0.1)
        yield
    finally:
        running.terminate()
        ended = running.wait()
    assert ended == 0, ended


def by_ray(services: Services, topic: str, workers: int) -> float:
    """`chillflow assemble --until-caught-up`; returns events/s between first and last commit."""
    env = os.environ | {
        "CHILLFLOW_POSTGRES_DSN": services.dsn, "CHILLFLOW_KAFKA_BOOTSTRAP": services.kafka["bootstrap.servers"],
    }  # fmt: skip
    command = [sys.executable, "-m", "chillflow.cli", "assemble", "--group", GROUP, "--topic", topic]
    running = subprocess.Popen([*command, "--workers", str(workers), "--until-caught-up"], env=env)
    seen: list[tuple[float, int]] = []
    with psycopg.connect(services.dsn, autocommit=True) as connection:
        while running.poll() is None:
            [(read,)] = connection.execute("select sum(next_offset) from chillflow.assembly_partitions").fetchall()
            if read and (not seen or read > seen[-1][1]):
                seen.append((time.time(), int(read)))
            time.sleep(0.02)
    assert running.returncode == 0, running.returncode
    (first, before), (last, after) = seen[0], seen[-1]
    return (after - before) / (last - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True)
    parser.add_argument("--trips", type=int, default=400_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="the median counts; the first finds all of it cold")
    parser.add_argument("--bootstrap")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--open", type=int, default=0)
    parser.add_argument("--every", type=float, default=Options().snapshot_every)
    given = parser.parse_args()
    settings = Settings.read()
    found = local.addresses(settings.home)
    dsn, redis = settings.postgres_dsn or found.postgres, settings.redis_url or found.redis
    bootstrap = given.bootstrap or settings.kafka_bootstrap or found.kafka
    if not (dsn and redis and bootstrap):
        sys.exit("run `chillflow up` first")
    kafka = {"bootstrap.servers": bootstrap}
    topic, events = send(kafka, given.file, given.trips)
    print(f"{events:,} events on {topic}")
    rounds, beside, without, snapshots = [], [], [], []
    for _ in range(given.rounds):
        with database(dsn) as own:
            rounds.append(plain(Services(kafka, redis, own), topic, given.workers))
        if given.watch:
            with database(dsn) as own, watched(own):
                beside.append(rate_of(plain(Services(kafka, redis, own), topic, given.workers)))
        if given.open:
            each = given.open // PARTITIONS
            with database(dsn) as own:
                without.append(rate_of(plain(Services(kafka, redis, own), topic, given.workers, Load(each, NEVER))))
            with database(dsn) as own:
                load = Load(each, given.every)
                snapshots.append(rate_of(plain(Services(kafka, redis, own), topic, given.workers, load)))
    rates = [rate_of(ran) for ran in rounds]
    rate = statistics.median_low(rates)
    ran = rounds[rates.index(rate)]
    cpu = sum(one.cpu for one in ran) / events * 1e6
    print(f"plain loop, {given.workers} processes: {told(rates)} events/s, {cpu:.1f} us of CPU an event, "
          f"{max(one.memory for one in ran)} MB")  # fmt: skip
    total = sum(sum(one.steps.values()) for one in ran)
    for step in sorted({step for one in ran for step in one.steps}):
        share = sum(one.steps.get(step, 0) for one in ran) / total
        print(f"  step {step:3} {share:6.1%}")
    if given.watch:
        print(f"beside aggregate --watch: {told(beside)} events/s, {statistics.median_low(beside) / rate:.2f} x")
    if given.open:
        print(f"{given.open:,} trips open, no snapshots: {told(without)} events/s")
        ratios = statistics.median(one / other for one, other in zip(snapshots, without, strict=True))
        print(f"one of each partition every {given.every:g} s: {told(snapshots)} events/s, {ratios:.3f} x")
    if given.ray:
        by = []
        for _ in range(given.rounds):
            with database(dsn) as own:
                by.append(by_ray(Services(kafka, redis, own), topic, given.workers))
        print(f"chillflow assemble: {told(by)} events/s, {statistics.median_low(by) / rate:.2f} x plain")


def rate_of(ran: list[Ran]) -> float:
    """Events/s of all processes together, from the first commit to the last."""
    seconds = max(one.ended for one in ran) - min(one.began for one in ran)
    return sum(one.events for one in ran) / seconds


def told(rates: list[float]) -> str:
    return f"{statistics.median_low(rates):,.0f} ({', '.join(f'{rate:,.0f}' for rate in rates)})"


if __name__ == "__main__":
    main()
