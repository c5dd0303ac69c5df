"""`chillflow kpis` and `chillflow aggregate` as their users run them: real processes, stopped and killed."""

import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chillflow.kpis import KEY, NAMES
from chillflow.stores.warehouse import Warehouse
from tests.fix_brokers import Embedded
from tests.fix_embedded import GIVEN, REPO, Cli
from tests.kpi_fold import fold
from tests.warehouse_samples import ask, curated, load, raw_row

PATIENCE = 120
COLUMNS = ", ".join([*KEY, *NAMES])
NOTE_ALL = (
    "insert into chillflow.kpi_dirty (service, hour) "
    "select distinct service, date_trunc('hour', pickup_at) from chillflow.trips"
)


@pytest.fixture
def filled(warehouse: Warehouse) -> Warehouse:
    """Trips of both services that are noted, and not in the KPIs yet."""
    warehouse.load_zones([(100, "Manhattan", "Garment District", "Yellow Zone"), (132, "Queens", "JFK Airport", "")])
    load(warehouse, curated([raw_row(number * 13) for number in range(2_000)]))
    load(warehouse, curated([raw_row(number * 17) for number in range(30)], "green"))
    return warehouse


@pytest.fixture
def cli(filled: Warehouse, embedded_brokers: Embedded, tmp_path: Path) -> Cli:
    env = {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}
    env |= {"CHILLFLOW_POSTGRES_DSN": filled.dsn, "CHILLFLOW_REDIS_URL": embedded_brokers.redis}
    return Cli(env | {"CHILLFLOW_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPO)})


@pytest.fixture
def started(cli: Cli) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands, which end with the test."""
    running = []

    def start(*command: str) -> subprocess.Popen[str]:
        running.append(cli.start(*command))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def zone_hours(dsn: str) -> list[dict[str, Any]]:
    return ask(dsn, f"select {COLUMNS} from chillflow.kpi_zone_hourly order by service, zone_id, hour")


def await_that(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_kpis_are_shown_and_remembered(cli: Cli, filled: Warehouse) -> None:
    cli.run("aggregate")
    first = cli.run("kpis", "--by", "borough")
    again = cli.run("kpis", "--by", "borough")
    assert first.stdout == again.stdout
    assert ("from PostgreSQL" in first.stderr, "from Redis" in again.stderr) == (True, True)
    [yellow, *_] = [line for line in first.stdout.splitlines() if "Manhattan" in line and "yellow" in line]
    assert yellow.replace("│", " ").split()[:5] == ["yellow", "Manhattan", "2018-11-01", "2,000", "0"]
    rows = cli.json(
        "kpis", "--by", "zone", "--service", "green", "--zone", "JFK Airport", "--per", "hour", "--months", "2018-11"
    )
    assert sum(row["dropoffs"] for row in rows) == 30
    assert {row["zone"] for row in rows} == {"JFK Airport"}
    assert cli.given(CHILLFLOW_REDIS_URL="redis://127.0.0.1:1/0").run("kpis", "--by", "borough").stdout == first.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--zone", "La Guardia"), 2, "no zone is called 'La Guardia'; did you mean LaGuardia Airport"),
        (("--months", "2031-01"), 1, "2031-01"),
        (("--months", "January"), 2, "a month is written YYYY-MM"),
    ],
)
def test_bad_questions_end_in_a_sentence(cli: Cli, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = cli.run("kpis", *arguments, code=code)
    assert done.stdout == ""
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def reads_counted(port: int) -> Counter[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    found = re.findall(r'^chillflow_kpi_reads_total\{answered="(\w+)"\} (\S+)$', text, re.M)
    return Counter({answered: int(float(count)) for answered, count in found})


def test_a_port_that_is_taken_is_named(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = cli.run("aggregate", "--watch", "--metrics", str(port), code=1)
    assert f"cannot answer Prometheus at 127.0.0.1:{port}" in " ".join(done.stderr.split())
    assert "--metrics is for --watch" in cli.run("aggregate", "--metrics", "9105", code=2).stderr
    assert "'9105x' is no [HOST:]PORT" in cli.run("aggregate", "--watch", "--metrics", "9105x", code=2).stderr


def test_watching_keeps_kpis_fresh_until_sigterm(
    cli: Cli, filled: Warehouse, started: Callable[..., subprocess.Popen[str]]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = started("aggregate", "--watch", "--metrics", str(port))
    notes = "select 1 from chillflow.kpi_dirty limit 1"
    await_that(lambda: not ask(filled.dsn, notes), process)
    assert zone_hours(filled.dsn) == fold(filled.dsn)
    load(filled, curated([raw_row(number * 11) for number in range(500)]))
    await_that(lambda: not ask(filled.dsn, notes), process)
    assert zone_hours(filled.dsn) == fold(filled.dsn)
    before = reads_counted(port)
    for _ in range(3):
        cli.run("kpis", "--by", "zone", "--per", "day")
    assert reads_counted(port) - before == Counter(redis=2, postgresql=1)
    load(filled, curated([raw_row(number * 7) for number in range(400)]))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, ""), err
    assert "refreshed" in err
    assert zone_hours(filled.dsn) == fold(filled.dsn), "what was noted before the signal is in"
    assert not cli.json("kpis", "--service", "yellow")[0]["pickups"] - 400


@pytest.mark.parametrize("way", [(), ("--watch",)])
def test_killed_at_any_moment_it_makes_the_same_tables_the_next_time(
    way: tuple[str, ...], cli: Cli, filled: Warehouse, started: Callable[..., subprocess.Popen[str]]
) -> None:
    seed = random.randrange(10**6)
    dice, expected = random.Random(seed), fold(filled.dsn)
    half_done = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    for _ in range(3):
        ask(filled.dsn, NOTE_ALL)
        process = started("aggregate", *way)
        await_that(lambda: ask(filled.dsn, half_done), process)
        time.sleep(dice.uniform(0, 0.4))  # the moment of the kill is what is random
        process.kill()
        process.wait()
        shown = zone_hours(filled.dsn)
        assert all(row in expected for row in shown), f"seed {seed}"
        revisions = {row["slice"]: row for row in ask(filled.dsn, "select * from chillflow.kpi_revisions")}
        assert bool(shown) <= bool(revisions), f"seed {seed}"
    cli.run("aggregate")
    assert zone_hours(filled.dsn) == expected, f"seed {seed}"
    assert not ask(filled.dsn, "select 1 from chillflow.kpi_dirty")


def test_a_report_says_which_kpis_are_older_than_their_trips(cli: Cli, filled: Warehouse, tmp_path: Path) -> None:
    cli.run("aggregate")
    page = tmp_path / "report.html"
    fresh = cli.run("report", "--to", str(page))
    assert "older" not in fresh.stderr
    assert "KPIs are older than its trips" not in page.read_text()
    ask(filled.dsn, "insert into chillflow.kpi_dirty (service, hour) values ('green', '2018-11-17 08:00')")
    stale = cli.run("report", "--to", str(page))
    assert re.findall(r"(\w+ [\d-]+): its KPIs are older than its trips", stale.stderr) == ["green 2018-11"]
    assert "green 2018-11: its KPIs are older than its trips" in page.read_text()
