"""Replay, from Parquet into the embedded broker: `python -m benchmarks.replay --rows 1000000`.

Services of its own, on the same cores; a synthetic month; the rate is that of the whole command but its import. The
peer is a bare producer loop over the same records, read from memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from chillflow.emission.faults import Faults
from chillflow.emission.order import merge
from chillflow.jobs.plan import plan_month, source_of
from chillflow.jobs.staging import stage
from chillflow.months import Month
from chillflow.synth import write_month

MONTH = Month(2019, 1)
FAULTS = ["--duplicate", "0.05", "--shuffle", "3600", "--late", "0.05", "--revise", "0.01"]


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(rows: int, rounds: int) -> None:
    """Measures replay plain and with faults, and a bare producer."""
    with tempfile.TemporaryDirectory() as name:
        home, months = Path(name) / "home", Path(name) / "months"
        env = os.environ | {
            "CHILLFLOW_HOME": str(home),
            "CHILLFLOW_RAY_ADDRESS": "none",
            "CHILLFLOW_REDIS_URL": "redis://none",
        }
        write_month("yellow", MONTH, rows, 7, months, 1_048_576)

        def run(*command: str) -> str:
            words = [sys.executable, "-m", "chillflow.cli", *command]
            return subprocess.run(
                words, env=env, stdout=subprocess.PIPE, text=True, check=command[0] != "status"
            ).stdout

        try:
            run("up")
            kafka = json.loads(run("status", "--json"))["kafka"]
            given = ["replay", "yellow", str(MONTH), "--source", str(months), "--json"]
            plain = [json.loads(run(*given, "--topic", f"plain-{number}"))[0] for number in range(rounds)]
            faulty = [json.loads(run(*given, *FAULTS, "--topic", f"faulty-{number}"))[0] for number in range(rounds)]
            bare = [_bare(kafka, months, Path(name) / f"runs-{number}") for number in range(rounds)]
        finally:
            run("down")
    best = max(plain, key=lambda row: row["events_per_second"])
    with_faults = max(row["events_per_second"] for row in faulty)
    staging = best["seconds"] - best["seconds_sending"]
    click.echo(
        f"replay: {best['events_per_second']:,} events/s from Parquet ({staging:.1f} s staging, "
        f"{best['seconds_sending']:.1f} s sending), {with_faults:,} with faults; a bare producer {max(bare):,.0f}, "
        f"ratio {best['events_per_second'] / max(bare):.2f}"
    )


def _bare(kafka: str, months: Path, folder: Path) -> float:
    """Events a second of a producer that does nothing else, over records that lie in memory."""
    from confluent_kafka import Producer

    plan = plan_month(str(months), "yellow", MONTH, source_of(str(months), "yellow", MONTH))
    runs = stage(plan, Faults(), folder).runs
    records = [row for frame in merge(runs) for row in frame.select("key", "value").iter_rows()]
    producer = Producer({
        "bootstrap.servers": kafka, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 20,
        "partitioner": "murmur2_random", "queue.buffering.max.messages": 400_000,
    })  # fmt: skip
    began = time.monotonic()
    for key, value in records:
        while True:
            try:
                producer.produce(folder.name, value, key)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()
    return len(records) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
