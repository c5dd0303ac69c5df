"""Curate + write + KPI partials of a big month: the curate job beside DuckDB, in one run on the same cores.

    python -m benchmarks.curate --rows 12000000 --file yellow_tripdata_2019-03.parquet

The file's rows are tiled, each tile a second later than the one before, so that keys stay distinct.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import click
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.outcome import Outcome, show
from chillflow import kpis, local
from chillflow.jobs.curate import Curated, curate_from
from chillflow.jobs.session import Cluster
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.lake import Lake
from chillflow.synth import write_month

MONTH = "2019-03"
NAME = f"yellow_tripdata_{MONTH}.parquet"
LITTLE = 1_000_000
"""Rows of the month whose peak memory the large one's is compared with."""
TIMES = ("tpep_pickup_datetime", "tpep_dropoff_datetime")


@dataclass(frozen=True)
class Run:
    """What a run took and found: rows by rule, and the sum of each measure over all zones and hours."""

    seconds: float
    counts: dict[str, int]
    peak_mb: float
    sums: dict[str, Decimal]


def sample(folder: Path) -> pa.Table:
    """A synthetic month without the planted numbers that no DECIMAL(9, 2) holds: DuckDB would stop at them."""
    write_month("yellow", Month.parse(MONTH), 10_000, 1, folder, 10_000)
    table = pq.read_table(folder / NAME)
    for name in [field.name for field in table.schema if pa.types.is_floating(field.type)]:
        table = table.filter(pc.fill_null(pc.less(pc.abs(table[name]), 1e7), True))
    return table


def tile(source: Path, target: Path, rows: int, group: int = 1_048_576) -> None:
    """Writes `rows` rows made of the source's, in row groups as the TLC's."""
    target.parent.mkdir()
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
        "c.execute('set enable_progress_bar = false');"
        "began = time.monotonic(); rows = c.execute(sql).fetchall();"
        "print(json.dumps([time.monotonic() - began, dict(rows), "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))"
    )
    text = (Path(__file__).parent / "curate_duckdb.sql").read_text()
    for name, value in {
        "input": source, "output": output, "start": f"{MONTH}-01", "end": "2019-04-01"
    }.items():  # fmt: skip
        text = text.replace("{" + name + "}", str(value))
    command = [sys.executable, "-c", code, str(cpus)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return Run(*json.loads(done.stdout), measured(output / "kpis.parquet"))


def chillflow_run(source: Path, lake_folder: Path, cluster: Cluster) -> Run:
    """The curate job on a warm cluster."""
    shutil.rmtree(lake_folder, ignore_errors=True)
    began = time.monotonic()
    with Reporter() as reporter:
        months, lake = [Month.parse(MONTH)], Lake(str(lake_folder))
        (outcome,) = curate_from(str(source.parent), "yellow", months, lake, reporter, cluster, force=True)
    seconds = time.monotonic() - began
    if not isinstance(outcome, Curated):
        raise outcome.error
    (file,) = outcome.manifest.of("kpis")
    return Run(seconds, dict(outcome.manifest.rules), peak_of_workers(), measured(lake_folder / file.path))


def measured(file: Path) -> dict[str, Decimal]:
    """The sums of all measures in a file of zone-hours."""
    sums = pq.read_table(file, columns=list(kpis.NAMES))
    return {name: Decimal(pc.sum(sums[name]).as_py() or 0).quantize(Decimal("0.01")) for name in kpis.NAMES}


def peak_of_workers() -> float:
    """The greatest peak of resident memory, in MB, of this process and of Ray's workers on this machine."""
    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").startswith("ray::"):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            peaks += [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


@contextmanager
def own_cluster(folder: Path, cpus: int) -> Iterator[Cluster]:
    """A local Ray head of its own."""
    home = folder / "home"
    found = local.up(home, cpus, frozenset({"ray"}), os.environ, lambda line: None)
    try:
        with Cluster(Settings.read({"CHILLFLOW_HOME": str(home), "CHILLFLOW_RAY_ADDRESS": found.ray or ""})) as cluster:
            yield cluster
    finally:
        local.down(home, lambda line: None)


@click.command()
@click.option("--rows", default=12_000_000, show_default=True)
@click.option(
    "--file", "file", type=click.Path(exists=True, path_type=Path), help=f"a real {NAME} [default: synthetic]"
)
@click.option("--runs", default=3, show_default=True)
@click.option("--cpus", default=2, show_default=True)
def main(rows: int, file: Path | None, runs: int, cpus: int) -> None:
    """Times both, turn by turn, and prints the ratio of the medians."""
    show(measure(rows, file, runs, cpus))


def measure(rows: int, file: Path | None, runs: int, cpus: int) -> list[Outcome]:
    """Time and memory of both, turn by turn; their counts and measures must be the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if file is None:
            file = folder / "sample.parquet"
            pq.write_table(sample(folder), file)
        source, small, warm = (folder / name / NAME for name in ("large", "small", "warm"))
        tile(file, source, rows)
        tile(file, small, LITTLE)
        tile(file, warm, 2 * cpus * LITTLE)
        ours, peers = [], []
        with own_cluster(folder, cpus) as cluster:
            for _ in range(2):  # as within a backfill: every worker has begun, and has had row groups as large
                chillflow_run(warm, folder / "lake", cluster)
            duckdb_run(warm, folder / "duckdb", cpus)
            little = chillflow_run(small, folder / "lake", cluster)
            for _ in range(runs):
                ours.append(chillflow_run(source, folder / "lake", cluster))
                peers.append(duckdb_run(source, folder / "duckdb", cpus))
                click.echo(f"chillflow {ours[-1].seconds:.2f} s, duckdb {peers[-1].seconds:.2f} s", err=True)
                if ours[-1].counts != peers[-1].counts:
                    raise SystemExit(f"the counts differ: {ours[-1].counts} {peers[-1].counts}")
                if ours[-1].sums != peers[-1].sums:
                    raise SystemExit(f"the measures differ: {ours[-1].sums} {peers[-1].sums}")
    mine, theirs = (statistics.median(run.seconds for run in each) for each in (ours, peers))
    most, most_of_peer = (max(run.peak_mb for run in each) for each in (ours, peers))
    what, ratio = f"curate {rows:,} rows, {cpus} cores", mine / theirs
    return [
        Outcome(what, f"{mine:.2f} s", "<= 0.8 x the time", f"DuckDB {theirs:.2f} s", ratio),
        Outcome("  its greatest process", f"{most:.0f} MB", "< 1,500 MB", f"DuckDB {most_of_peer:.0f} MB"),
        Outcome(f"  the same for {LITTLE:,} rows", f"{little.peak_mb:.0f} MB", ""),
    ]


if __name__ == "__main__":
    main()
