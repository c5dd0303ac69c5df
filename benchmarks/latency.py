"""From produce() to committed: `chillflow up`, then `python -m benchmarks.latency --rate 5000 --seconds 30`.

Events of synthetic trips are sent at a steady rate, one at a time, while the very loop of the actors assembles them in
this process. An event's latency ends when PostgreSQL has confirmed the transaction that holds it. Says where a turn of
the loop spends its time: step 2 is the wait for what is fetched, the numbers are those of docs/assembly.md.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import psutil
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.assembly import GROUP, drop_database, new_database
from chillflow import local, tlc
from chillflow.actors.assembler import collect_rarely
from chillflow.actors.loop import Loop, Options
from chillflow.clock import SystemClock
from chillflow.events import Polled
from chillflow.explosion import explode
from chillflow.local.ray_head import ENVIRONMENT
from chillflow.months import Month
from chillflow.settings import Settings
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.checkpoints import RedisCheckpoints
from chillflow.stores.eventlog import KafkaReader, ensure_topic
from chillflow.stores.sources import open_input
from chillflow.synth import write_month
from chillflow.trips import trip_id

PARTITIONS = 12
WARM_UP = 10.0
"""Seconds that do not count: a broker that has just started compiles what it runs."""
KEYS = {"partitioner": "murmur2_random", "acks": "all"}
"""How whoever sends events has to send them."""

Sent = dict[tuple[int, int], tuple[float, float]]


class Watched(KafkaReader):
    """Notes when each record was fetched."""

    def __init__(self, kafka: dict[str, str], topic: str) -> None:
        super().__init__(kafka, topic)
        self.fetched: dict[tuple[int, int], float] = {}

    def poll(self, limit: int, timeout: float) -> list[Polled]:
        found = super().poll(limit, timeout)
        now = time.perf_counter()
        for polled in found:
            self.fetched |= {(polled.partition, offset): now for offset in polled.offsets}
        return found


def send(kafka: dict[str, str], topic: str, rate: float, seconds: float, results: Any) -> None:
    """Sends at a rate; tells when each record was handed to the producer, by partition and offset, and acknowledged.

    The clock is the machine's own, the same in all processes.
    """
    sent: Sent = {}
    given = records(int(rate * seconds / 2.9))[: int(rate * seconds)]
    producer = Producer({**kafka, **KEYS})
    began = time.perf_counter()
    for number, (key, value) in enumerate(given):
        while (wait := began + number / rate - time.perf_counter()) > 0:
            time.sleep(min(wait, 0.001))
            producer.poll(0)  # a wait of less than a millisecond in there is a busy one
        at = time.perf_counter()

        def delivered(error: KafkaError | None, message: Message, at: float = at) -> None:
            assert error is None, error
            sent[message.partition() or 0, message.offset() or 0] = at, time.perf_counter()

        producer.produce(topic, key=key, value=value, on_delivery=delivered)
    producer.flush()
    results.put((began, sent))


def records(trips: int) -> list[tuple[bytes, bytes]]:
    with TemporaryDirectory() as folder:
        write_month("yellow", Month(2019, 3), trips, 3, Path(folder), 262_144)
        path = f"{folder}/{tlc.file_name('yellow', Month(2019, 3))}"
        with open_input(path) as file:
            facts = tlc.inspect(file, path, "yellow")
            raw = pl.concat([tlc.read(file, block) for block in facts.blocks])
    month = pl.col("pickup_at").is_between(Month(2019, 3).start, Month(2019, 4).start, closed="left")
    raw = raw.filter(month, pl.col("dropoff_at").is_not_null(), pl.col("unrepresentable").is_null())
    raw = raw.filter(pl.col("total_amount").is_not_null(), pl.col("trip_distance").is_finite())
    events = explode(raw.with_columns(trip_id(raw)).unique("trip_id")).sort("event_at")
    return list(zip(events["key"].to_list(), events["value"].to_list(), strict=True))


def cpu_of_all() -> Counter[str]:
    """CPU seconds of the machine's processes so far, by name."""
    found: Counter[str] = Counter()
    for process in psutil.process_iter(["name", "cpu_times"]):
        if (times := process.info["cpu_times"]) is not None:
            found[process.info["name"]] += times.user + times.system
    return found


def told(seconds: list[float]) -> str:
    p50, p90, p99, most = (1000 * float(np.quantile(seconds, share)) for share in (0.5, 0.9, 0.99, 1))
    return f"p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms, greatest {most:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=5_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--linger", default="5", help="ms in which the producer gathers records; 5 is Kafka's default")
    parser.add_argument("--bootstrap")
    given = parser.parse_args()
    if "POLARS_MAX_THREADS" not in os.environ:  # as the local head starts its workers; Polars has read it by now
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.latency", *sys.argv[1:]], os.environ | ENVIRONMENT)
    settings = Settings.read()
    found = local.addresses(settings.home)
    dsn, redis = settings.postgres_dsn or found.postgres, settings.redis_url or found.redis
    bootstrap = given.bootstrap or settings.kafka_bootstrap or found.kafka
    if not (dsn and redis and bootstrap):
        sys.exit("run `chillflow up` first")
    kafka = {"bootstrap.servers": bootstrap}
    topic = f"latency-{time.time_ns()}"
    known = ensure_topic(kafka, topic, PARTITIONS)
    own = new_database(dsn)
    store = PostgresTripStore(own)
    group = store.take_group(GROUP, known, None)
    collect_rarely()
    options, thread = Options(), ThreadPoolExecutor(1)
    reader = Watched(kafka, topic)
    loop = Loop("a", reader, store, RedisCheckpoints(redis), SystemClock(), options, thread, print)
    for partition in range(PARTITIONS):
        loop.assign(group, partition)
    while len(loop.held) < PARTITIONS:
        for _ in loop.turn():
            pass
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    sender = {**kafka, "linger.ms": given.linger}
    context.Process(target=send, args=(sender, topic, given.rate, given.seconds, results), daemon=True).start()
    committed: list[tuple[int, int, int, float]] = []
    done: tuple[float, Sent] | None = None
    deadline = time.perf_counter() + given.seconds * 3 + 30
    steps: dict[str, float] = defaultdict(float)
    turns, cpu, at = 0, cpu_of_all(), time.perf_counter()
    first = at
    while done is None or sum(end - begin for _, begin, end, _ in committed) < len(done[1]):
        before = {partition: held.next_offset for partition, held in loop.held.items()}
        for step in loop.turn():
            last, at = at, time.perf_counter()
            steps[step] += at - last
        now = time.perf_counter()
        new = [(p, before[p], held.next_offset, now) for p, held in loop.held.items() if held.next_offset > before[p]]
        committed += new
        turns += bool(new)
        if done is None and not results.empty():
            done = results.get()
        if now > deadline:
            sys.exit("it did not keep up")
    began, sent = done
    ends = {(part, offset): at for part, begin, end, at in committed for offset in range(begin, end)}
    counted = {place: times for place, times in sent.items() if times[0] - began > WARM_UP}
    print(f"{len(counted):,} events at {given.rate:,.0f}/s")
    print(f"until committed: {told([ends[place] - at for place, (at, _) in counted.items()])}")
    used, passed = cpu_of_all() - cpu, at - first
    print(f"{turns:,} transactions, {len(sent) / turns:.0f} events each, one in {1000 * passed / turns:.1f} ms:")
    print(", ".join(f"step {step} {1000 * seconds / turns:.1f} ms" for step, seconds in sorted(steps.items())))
    print("CPU: " + ", ".join(f"{name} {seconds / passed:.0%}" for name, seconds in used.most_common(6)))
    print(f"of it until the broker acknowledged: {told([acknowledged - at for at, acknowledged in counted.values()])}")
    print(f"of it until fetched: {told([reader.fetched[place] - at for place, (at, _) in counted.items()])}")
    print(f"from then on: {told([ends[place] - reader.fetched[place] for place in counted])}")
    loop.drain()
    while not loop.ended:
        for _ in loop.turn():
            pass
    store.close()
    drop_database(dsn, own)


if __name__ == "__main__":
    main()
