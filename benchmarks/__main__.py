"""All benchmarks, one after the other: `python -m benchmarks [--file yellow_tripdata_2019-03.parquet]`."""

import subprocess
import sys
import time
from pathlib import Path

import click


@click.command()
@click.option("--file", type=click.Path(exists=True, path_type=Path), help="a real month to tile for curation")
@click.option("--rows", default=12_000_000, show_default=True, help="rows to curate")
@click.option("--load-rows", default=1_000_000, show_default=True, help="rows to load")
def main(file: Path | None, rows: int, load_rows: int) -> None:
    """Measures each beside its peer, and prints a line of ratios for each."""
    given = ["--file", str(file)] if file else []
    commands = {
        "import of the command line": [sys.executable, "-c", "import chillflow.cli"],
        "curation": [sys.executable, "-m", "benchmarks.curate", "--rows", str(rows), *given],
        "load": [sys.executable, "-m", "benchmarks.load", "--rows", str(load_rows)],
    }
    for name, command in commands.items():
        began = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        click.echo(done.stdout.strip() or f"{name}: {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
