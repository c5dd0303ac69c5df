"""A backfill whose driver or worker is killed at any moment, then run again, ends as an undisturbed one (law 5)."""

import os
import random
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from chillflow.months import parse_months
from chillflow.synth import write_month
from tests.fix_embedded import Cli
from tests.warehouse_dump import dump

MONTHS = "2018-11,2018-12,2019-01"
AT_WORK = ("ray::Map(", "ray::load ")
"""How Ray names the processes of tasks; its own actors and agents are named otherwise."""
KILLS = int(os.environ.get("CHILLFLOW_TEST_KILLS", "2"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for month in parse_months(MONTHS):
        write_month("yellow", month, 20_000, 5, folder, 5_000)
    return folder


def test_after_kills_at_random_moments_the_tables_are_those_of_an_undisturbed_run(new_cli, files):
    command = ("backfill", "yellow", MONTHS, "--source", str(files))
    cli = new_cli()
    began = time.monotonic()
    cli.run(*command)
    length = time.monotonic() - began
    undisturbed = dump(cli.dsn)

    killed: set[str] = set()
    for seed in range(KILLS):
        cli = new_cli()
        victim, latest = [("worker", length / 3), ("driver", length)][seed % 2]
        moment = random.Random(seed).uniform(0, latest)
        run = cli.start(*command)
        if _kill(victim, run, cli, moment):
            killed.add(victim)
        run.communicate()
        assert_nothing_is_half_visible(cli.dsn)

        cli.run(*command)

        assert dump(cli.dsn) == undisturbed, f"seed {seed}: {victim} killed after {moment:.2f} s"
    assert killed == {"driver", "worker"}


def _kill(victim: str, run, cli: Cli, moment: float) -> bool:
    """Kills the driver, or the first of the cluster's workers at work, once the run is `moment` seconds old.

    False if the run ended before.
    """
    deadline = time.monotonic() + moment
    while run.poll() is None:
        if time.monotonic() >= deadline:
            if victim == "driver":
                run.kill()
                return True
            busy = [process for process in _workers(cli) if process.info["name"].startswith(AT_WORK)]
            if busy:
                busy[0].kill()
                return True
        time.sleep(0.01)  # the moment is the point of the test, nothing is awaited
    return False


def _workers(cli: Cli) -> list[psutil.Process]:
    """Ray's workers of this cluster: those that know its home."""
    home = cli.env["CHILLFLOW_HOME"]
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"].startswith("ray::"):
            try:
                if home in str(process.environ()):
                    found.append(process)
            except psutil.Error:
                continue
    return found


def assert_nothing_is_half_visible(dsn: str) -> None:
    """Every month that the ledger has is whole; a month that it has not has no rows."""
    with psycopg.connect(dsn) as connection:
        if connection.execute("select to_regclass('chillflow.months')").fetchone() == (None,):
            return
        counted = connection.execute(
            """
            select month, sum(rows) from (
                select date_trunc('month', pickup_at)::date as month, count(*) as rows from chillflow.trips group by 1
                union all
                select date_trunc('month', pickup_at)::date, count(*) from chillflow.adjustments group by 1
                union all
                select month, count(*) from chillflow.quarantine group by 1
            ) as parts group by month order by month
            """
        ).fetchall()
        ledger = connection.execute("select month, rows_in from chillflow.months order by month").fetchall()
    assert counted == ledger
