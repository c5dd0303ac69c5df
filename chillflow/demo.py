"""The demo of `make demo`: two synthetic months become curated trips in PostgreSQL, and are checked against the truth.

Every step is a command that the reader can type; each is shown before it runs.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import polars as pl
import pyarrow.compute as pc

from chillflow.curation import REJECTS
from chillflow.errors import ChillFlowError, DemoFailed
from chillflow.jobs import session
from chillflow.months import parse_months
from chillflow.settings import Settings
from chillflow.stores.lake import Lake
from chillflow.stores.warehouse import Warehouse

MONTHS = "2018-11,2019-03"
ROWS = 200_000
BUSIEST = """
select zone, borough, sum(pickups) as pickups, sum(dropoffs) as dropoffs, sum(total_sum) as dollars
from chillflow.kpi_zone_hourly join chillflow.zones using (zone_id)
group by zone_id, zone, borough order by pickups desc limit 5
"""
ACCOUNT = """
select to_char(month, 'YYYY-MM') as month, rows_in, trips, quarantined, adjustments,
    trips + quarantined + adjustments = rows_in as adds_up
from chillflow.months order by month
"""
EXTERNAL = ("CHILLFLOW_POSTGRES_DSN", "CHILLFLOW_REDIS_URL", "CHILLFLOW_KAFKA_BOOTSTRAP", "CHILLFLOW_RAY_ADDRESS",
            "CHILLFLOW_LAKE", "RAY_ADDRESS")  # fmt: skip


def main() -> None:
    home = Settings.read().home / "demo"
    for name in EXTERNAL:
        os.environ.pop(name, None)
    os.environ["CHILLFLOW_HOME"] = str(home)
    files = os.path.relpath(home / "tlc")
    if home.exists():
        _show("what an earlier demo left", "down")
        shutil.rmtree(home)
    began = time.monotonic()
    try:
        _show("the embedded services: PostgreSQL, Valkey, a Kafka-protocol broker and a Ray head", "up")
        _show("two months of trips with planted faults", "synth", "yellow", MONTHS,
              "--rows", str(ROWS), "--seed", "7", "--to", files)  # fmt: skip
        _show("curate, load and aggregate them as one Ray job", "backfill", "yellow", MONTHS, "--source", files)
        _show("what became of each row", "months")
        _show("law 1: rows in = trips + quarantine + adjustments", "psql", "-c", ACCOUNT)
        _show("the busiest zones", "psql", "-c", BUSIEST)
        _show("a trip that a reversal took back", "trip", _taken_back())
        _show("the same backfill again: nothing to do", "backfill", "yellow", MONTHS, "--source", files)
        _check(home / "tlc")
    finally:
        _show("the services stop; their data stays", "down")
    click.secho(f"\nDone in {time.monotonic() - began:.0f} s. To look around yourself:\n", bold=True)
    command = f"CHILLFLOW_HOME={os.path.relpath(home)} {os.path.relpath(Path(sys.executable).parent)}/chillflow"
    for example in ("up", "psql", "months", "down"):
        click.echo(f"    {command} {example}")


def _show(why: str, *command: str) -> None:
    click.secho(f"\n# {why}", fg="cyan", err=True)
    shown = (f'"{" ".join(word.split())}"' if " " in word else word for word in command)
    click.secho(f"$ chillflow {' '.join(shown)}", bold=True, err=True)
    done = subprocess.run([sys.executable, "-m", "chillflow.cli", *command], check=False)
    if done.returncode:
        raise DemoFailed(f"chillflow {command[0]} ended with exit code {done.returncode}")


def _taken_back() -> str:
    """The id of a trip in quarantine, from the lake."""
    lake, month = Lake(Settings.read().lake), parse_months(MONTHS)[0]
    for table in lake.read("yellow", month, "quarantine", ["trip_id", "reason"]):
        rows = table.filter(pc.field("reason") == "reversed_original")
        if len(rows):
            return str(rows["trip_id"][0].as_py())
    raise DemoFailed("no reversal was planted")


def _check(folder: Path) -> None:
    """The counts per rule against those of the truth files, which know them from the planting."""
    click.secho("\n# the ledger against the truth that was planted", fg="cyan", err=True)
    with Warehouse(session.postgres_dsn(Settings.read())) as warehouse:
        for month in parse_months(MONTHS):
            row = warehouse.month("yellow", month)
            truth = pl.read_parquet(folder / f"yellow_tripdata_{month}.truth.parquet")
            planted = dict(truth.drop_nulls("reason").group_by("reason").len().iter_rows())
            found = {rule.name: row["counts"].get(rule.name, 0) for rule in REJECTS} if row else {}
            if {name: count for name, count in found.items() if count} != planted:
                raise DemoFailed(f"yellow {month} has {found}, planted were {planted}")
            click.echo(f"yellow {month}: each of {len(planted)} reasons as often as planted", err=True)


if __name__ == "__main__":
    try:
        main()
    except ChillFlowError as error:
        sys.exit(f"demo: {error}")
