"""The batch path's benchmarks, one after the other: `make bench`, or `python -m benchmarks --file MONTH.parquet`."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks import curate, load
from benchmarks.outcome import Outcome, show
from chillflow import local

STREAM = ("events", "open_trips", "replay", "assembly", "latency", "recovery")
"""Each a module of its own; what each needs is in docs/benchmarks.md."""

KPIS = ("aggregate", "report")
"""The same, of what is made of the trips."""


@click.command()
@click.option("--file", type=click.Path(exists=True, path_type=Path), help="a real month to tile for curation")
@click.option("--rows", default=12_000_000, show_default=True, help="rows to curate")
@click.option("--load-rows", default=1_000_000, show_default=True, help="rows to load")
@click.option("--cpus", default=2, show_default=True)
def main(file: Path | None, rows: int, load_rows: int, cpus: int) -> None:
    """Measures each beside its peer on the same cores, and prints a table."""
    found = [importing(), up(cpus), *curate.measure(rows, file, runs=3, cpus=cpus), *load.measure(load_rows, rounds=2)]
    show(found)
    for what, names in (("the stream's", STREAM), ("of KPIs", KPIS)):
        click.echo(f"{what}: " + ", ".join(f"python -m benchmarks.{name}" for name in names), err=True)


def importing() -> Outcome:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import chillflow.cli"], check=True)
    return Outcome("import chillflow.cli", f"{time.monotonic() - began:.2f} s", "< 0.3 s")


def up(cpus: int) -> Outcome:
    """All services in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        home, began = Path(folder) / "home", time.monotonic()
        try:
            local.up(home, cpus, frozenset(local.SERVICES), os.environ, lambda line: None)
            seconds = time.monotonic() - began
        finally:
            local.down(home, lambda line: None)
    return Outcome("chillflow up", f"{seconds:.1f} s", "< 15 s")


if __name__ == "__main__":
    main()
