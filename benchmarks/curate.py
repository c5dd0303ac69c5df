"""Curate + write + KPI partials of a big month: the curate job beside DuckDB, in one run on the same cores.

    python -m benchmarks.curate --rows 12000000 --file yellow_tripdata_2019-03.parquet

The file's rows are tiled, each tile a second later than the one before, so that keys stay distinct.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MONTH = "2019-03"
NAME = f"yellow_tripdata_{MONTH}.parquet"
TIMES = ("tpep_pickup_datetime", "tpep_dropoff_datetime")


@dataclass(frozen=True)
class Run:
    seconds: float
    counts: dict[str, int]
    peak_mb: float


def tile(source: Path, target: Path, rows: int, group: int = 1_048_576) -> None:
    """Writes `rows` rows made of the source's, in row groups as the TLC's."""
    table = pq.read_table(source)
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for number in range(-(-rows // table.num_rows)):
            waiting.append(_later(table, number))
            if sum(map(len, waiting)) + table.num_rows > group:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())


def _later(table: pa.Table, seconds: int) -> pa.Table:
    for name in TIMES:
        shifted = pc.add(table[name], pa.scalar(seconds * 1_000_000, pa.duration("us")))
        table = table.set_column(table.schema.get_field_index(name), name, shifted)
    return table


def duckdb_run(source: Path, output: Path, cpus: int) -> Run:
    """The query of curate_duckdb.sql, in a process of its own."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    code = (
        "import duckdb, json, sys, time, resource;"
        "sql, cpus = sys.stdin.read(), sys.argv[1];"
        "c = duckdb.connect(config={'threads': cpus, 'preserve_insertion_order': False});"
        "began = time.monotonic(); rows = c.execute(sql).fetchall();"
        "print(json.dumps([time.monotonic() - began, dict(rows), "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))"
    )
    text = (Path(__file__).parent / "curate_duckdb.sql").read_text()
    for name, value in {
        "input": source, "output": output, "start": f"{MONTH}-01", "end": "2019-04-01"
    }.items():  # fmt: skip
        text = text.replace("{" + name + "}", str(value))
    done = subprocess.run([sys.executable, "-c", code, str(cpus)], input=text, capture_output=True, text=True, check=True)
    import json

    return Run(*json.loads(done.stdout))


def chillflow_run(source: Path, lake_folder: Path) -> Run:
    """The curate job on the connected cluster."""
    from chillflow.jobs.curate import Curated, curate_from
    from chillflow.months import Month
    from chillflow.progress import Reporter
    from chillflow.stores.lake import Lake

    class Connected:
        def connect(self) -> None:
            pass

    shutil.rmtree(lake_folder, ignore_errors=True)
    began = time.monotonic()
    with Reporter() as reporter:
        (outcome,) = curate_from(
            str(source.parent), "yellow", [Month.parse(MONTH)], Lake(str(lake_folder)), reporter, Connected(), force=True
        )
    seconds = time.monotonic() - began
    if not isinstance(outcome, Curated):
        raise outcome.error
    return Run(seconds, dict(outcome.manifest.rules), peak_of_workers())


def peak_of_workers() -> float:
    """The greatest peak of resident memory, in MB, of this process and of Ray's workers on this machine."""
    import psutil

    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").startswith("ray::"):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


@click.command()
@click.option("--rows", default=12_000_000, show_default=True)
@click.option("--file", "file", type=click.Path(exists=True, path_type=Path), required=True, help=f"a real {NAME}")
@click.option("--runs", default=3, show_default=True)
@click.option("--cpus", default=2, show_default=True)
def main(rows: int, file: Path, runs: int, cpus: int) -> None:
    """Times both, turn by turn, and prints the ratio of the medians."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    import logging

    import ray
    import ray.data

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / NAME
        tile(file, source, rows)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        ray.init(num_cpus=cpus, logging_level=logging.WARNING, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        small = Path(folder) / "small"
        small.mkdir()
        tile(file, small / NAME, 20_000)
        chillflow_run(small / NAME, Path(folder) / "warm")
        ours, peers = [], []
        for _ in range(runs):
            ours.append(chillflow_run(source, Path(folder) / "lake"))
            peers.append(duckdb_run(source, Path(folder) / "duckdb", cpus))
            click.echo(f"chillflow {ours[-1].seconds:.2f} s, duckdb {peers[-1].seconds:.2f} s", err=True)
            if ours[-1].counts != peers[-1].counts:
                raise SystemExit(f"the counts differ: {ours[-1].counts} {peers[-1].counts}")
        ray.shutdown()
    mine = statistics.median(run.seconds for run in ours)
    theirs = statistics.median(run.seconds for run in peers)
    click.echo(
        f"curate {rows:,} rows, {cpus} cores: chillflow {mine:.2f} s ({rows / mine / 1e6:.2f} M rows/s, "
        f"peak {max(run.peak_mb for run in ours):.0f} MB a process), "
        f"duckdb {theirs:.2f} s (peak {max(run.peak_mb for run in peers):.0f} MB): ratio {mine / theirs:.2f}"
    )


if __name__ == "__main__":
    main()
