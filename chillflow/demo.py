"""The demo of `make demo`: a synthetic month comes as a file, the next as events while an assembler is killed.

Both are checked: the first against the truth that was planted, the second against its own curated month. Every step is
a command that the reader can type; each is shown before it runs.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, LiteralString

import click
import polars as pl
import psutil
import pyarrow.compute as pc

from chillflow.curation import REJECTS
from chillflow.errors import ChillFlowError, DemoFailed
from chillflow.jobs import session
from chillflow.months import Month
from chillflow.settings import Settings
from chillflow.stores.lake import Lake
from chillflow.stores.postgres import connect
from chillflow.stores.warehouse import Warehouse

BATCH, STREAM = "2018-11", "2018-12"
ROWS = 120_000
MESS = ("--duplicate", "0.05", "--shuffle", "3600", "--late", "0.05", "--revise", "0.02", "--seed", "7")
MARK = "made-by-chillflow-demo"
PATIENCE = 120.0
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


SETTLED = "select coalesce(sum(next_offset), 0) as events from chillflow.assembly_partitions"
CORRECTED = """
select trip_id from chillflow.trips
where source = 'stream' and started_revision + ended_revision + paid_revision > 3 order by trip_id limit 1
"""


def main() -> None:
    home = Settings.read().home / "demo"
    for name in EXTERNAL:
        os.environ.pop(name, None)
    os.environ["CHILLFLOW_HOME"] = str(home)
    files, report = os.path.relpath(home / "tlc"), os.path.relpath(home / "report.html")
    _make_room(home)
    began = time.monotonic()
    try:
        _show("the embedded services: PostgreSQL, Valkey, a Kafka-protocol broker and a Ray head", "up")
        _show("two months of trips with planted faults", "synth", "yellow", f"{BATCH},{STREAM}",
              "--rows", str(ROWS), "--seed", "7", "--to", files)  # fmt: skip
        _show("the first by file: curate, load and aggregate as one Ray job", "backfill", "yellow", BATCH,
              "--source", files)  # fmt: skip
        _show("the busiest zones", "psql", "-c", BUSIEST)
        _show("a trip that a reversal took back", "trip", _taken_back())
        _check(home / "tlc")
        _show("the second is only curated, to compare with", "curate", "yellow", STREAM, "--source", files)
        _stream(files)
        _show("a trip that later events corrected", "trip", _corrected())
        _show("law 2: the stream's rows are the batch path's, field by field", "reconcile", "yellow", STREAM)
        _show("what became of each row", "months")
        _show("law 1: rows in = trips + quarantine + adjustments", "psql", "-c", ACCOUNT)
        headline = _report(report)
    finally:
        _show("the services stop; their data stays", "down")
    click.secho(f"\nDone in {time.monotonic() - began:.0f} s. To look around yourself:\n", bold=True)
    command = f"CHILLFLOW_HOME={os.path.relpath(home)} {os.path.relpath(Path(sys.executable).parent)}/chillflow"
    for example in ("up", "psql", "months", "partitions", "down"):
        click.echo(f"    {command} {example}")
    click.secho(f"\nThe report, to be opened in a browser: {report}", bold=True)
    click.echo(f"yellow {BATCH}: {headline}")


def _report(path: str) -> str:
    """Makes the report of the month that came by file; returns its headline figures in a line."""
    command = ("report", "--months", BATCH, "--to", path)
    _tell("its KPIs as a page of maps, charts and tables", command)
    done = subprocess.run(
        [sys.executable, "-m", "chillflow.cli", *command], check=False, stderr=subprocess.PIPE, text=True
    )
    click.echo(done.stderr, err=True, nl=False)
    if done.returncode:
        raise DemoFailed(f"chillflow report ended with exit code {done.returncode}")
    return done.stderr.splitlines()[-1]


def _make_room(home: Path) -> None:
    """Removes what an earlier demo left, and nothing that somebody else put there."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARK).exists():
            raise DemoFailed(f"{home} holds files that are not the demo's: name another folder in CHILLFLOW_HOME")
        _show("what an earlier demo left", "down")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARK).touch()


def _stream(files: str) -> None:
    """The second month as events, in disorder; an assembler is killed on the way."""
    why = "the second as events: twice, late, out of order, some wrong at first; and two assemblers"
    replay = _start(why, "replay", "yellow", STREAM, "--source", files, *MESS)
    try:
        _await(lambda: bool(_rows("select 1 from chillflow.replays")), replay)
        assemble = _start("", "assemble", "--workers", "2", "--until-caught-up")
    except BaseException:
        replay.kill()
        raise
    try:
        _await(lambda: _rows(SETTLED)[0]["events"] > ROWS, assemble)
        victim = _assembler()
        click.secho("\n# in the middle, one of them is killed", fg="red", err=True)
        click.secho(f"$ kill -9 {victim.pid}  # {victim.name()}", bold=True, err=True)
        victim.kill()
        for name, process in (("replay", replay), ("assemble", assemble)):
            if process.wait(PATIENCE):
                raise DemoFailed(f"chillflow {name} ended with exit code {process.returncode}")
    finally:
        for process in (replay, assemble):
            process.kill()


def _assembler() -> psutil.Process:
    """The process of an assembler of this demo's cluster."""
    home = str(Settings.read().home)
    for process in psutil.process_iter(["name"]):
        if process.info["name"].lower().startswith("ray::assembler") and home in process.environ().values():
            return process
    raise DemoFailed("no assembler runs")


def _rows(query: LiteralString) -> list[dict[str, Any]]:
    with connect(session.postgres_dsn(Settings.read())) as connection:
        return connection.execute(query).fetchall()


def _await(reached: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None and not reached():
            raise DemoFailed(f"a command ended with exit code {process.returncode} before its time")
        if time.monotonic() > deadline:
            raise DemoFailed(f"nothing happened for {PATIENCE:.0f} s")
        time.sleep(0.05)


def _corrected() -> str:
    rows = _rows(CORRECTED)
    if not rows:
        raise DemoFailed("no trip was corrected")
    return str(rows[0]["trip_id"])


def _start(why: str, *command: str) -> "subprocess.Popen[bytes]":
    _tell(why, command)
    return subprocess.Popen([sys.executable, "-m", "chillflow.cli", *command], stdin=subprocess.DEVNULL)


def _show(why: str, *command: str) -> None:
    _tell(why, command)
    done = subprocess.run([sys.executable, "-m", "chillflow.cli", *command], check=False)
    if done.returncode:
        raise DemoFailed(f"chillflow {command[0]} ended with exit code {done.returncode}")


def _tell(why: str, command: Sequence[str]) -> None:
    if why:
        click.secho(f"\n# {why}", fg="cyan", err=True)
    shown = (f'"{" ".join(word.split())}"' if " " in word else word for word in command)
    click.secho(f"$ chillflow {' '.join(shown)}", bold=True, err=True)


def _taken_back() -> str:
    """The id of a trip in quarantine, from the lake."""
    lake, month = Lake(Settings.read().lake), Month.parse(BATCH)
    for table in lake.read("yellow", month, "quarantine", ["trip_id", "reason"]):
        rows = table.filter(pc.field("reason") == "reversed_original")
        if len(rows):
            return str(rows["trip_id"][0].as_py())
    raise DemoFailed("no reversal was planted")


def _check(folder: Path) -> None:
    """The counts per rule against those of the truth files, which know them from the planting."""
    click.secho("\n# the ledger against the truth that was planted", fg="cyan", err=True)
    month = Month.parse(BATCH)
    with Warehouse(session.postgres_dsn(Settings.read())) as warehouse:
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
