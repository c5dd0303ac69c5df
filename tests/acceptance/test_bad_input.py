"""Bad months beside good ones: each bad one ends in one sentence with its remedy, the good ones are done (law 8)."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chillflow.months import Month
from chillflow.synth import write_month
from tests.fix_embedded import REPO, Cli

GOOD = "2018-11"


def _bytes(data: bytes) -> Callable[[Path, Path], None]:
    return lambda good, bad: bad.write_bytes(data)  # type: ignore[return-value]


def _changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path, Path], None]:
    return lambda good, bad: pq.write_table(change(pq.read_table(good)), bad)


def _truncated(good: Path, bad: Path) -> None:
    bad.write_bytes(good.read_bytes()[:-1000])


def _corrupt(good: Path, bad: Path) -> None:
    """Breaks the pages of a row group in the middle."""
    group = pq.ParquetFile(good).metadata.row_group(1)
    data = bytearray(good.read_bytes())
    for number in range(group.num_columns):
        column = group.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    bad.write_bytes(data)


def _without_zones(table: pa.Table) -> pa.Table:
    names = {"tpep_pickup_datetime": "Trip_Pickup_DateTime", "PULocationID": "Start_Lon", "DOLocationID": "Start_Lat"}
    return table.rename_columns([names.get(name, name) for name in table.schema.names])


def _text_fares(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index("fare_amount")
    return table.set_column(place, "fare_amount", table["fare_amount"].cast(pa.string()))


FAULTS: dict[str, tuple[Callable[[Path, Path], None] | None, str]] = {
    "2018-12": (_truncated, "no whole Parquet file"),
    "2019-01": (_bytes(b""), "it is empty"),
    "2019-02": (_bytes(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), "no whole Parquet file"),
    "2019-03": (_changed(_without_zones), "instead of taxi zones"),
    "2019-04": (_changed(lambda table: table.drop_columns(["fare_amount"])), "no column fare_amount"),
    "2019-05": (_changed(_text_fares), "column fare_amount holds string"),
    "2019-06": (_corrupt, "damaged"),
    "2019-07": (None, "does not exist"),
}


def test_the_other_months_go_on(cli, tmp_path):
    write_month("yellow", Month.parse(GOOD), 3_000, 3, tmp_path, 1_000)
    good = tmp_path / f"yellow_tripdata_{GOOD}.parquet"
    for month, (make, _) in FAULTS.items():
        if make is not None:
            make(good, tmp_path / f"yellow_tripdata_{month}.parquet")

    done = cli.run("backfill", "yellow", f"{GOOD}..2019-07", "--source", str(tmp_path), code=1)

    said = {line.partition(": ")[0]: line for line in done.stderr.splitlines() if ": failed: " in line}
    for month, (_, sentence) in FAULTS.items():
        assert sentence in said[f"yellow {month}"], said
        assert ";" in said[f"yellow {month}"], "a remedy follows the fault"
    assert len(said) == len(FAULTS)
    assert done.stderr.splitlines()[-1].startswith("chillflow: 8 of 9 months failed")
    assert "Traceback" not in done.stderr
    assert [row["month"] for row in cli.json("months")] == [GOOD]
    with psycopg.connect(cli.dsn) as connection:
        months = "select distinct to_char(month, 'YYYY-MM') from chillflow.quarantine"
        assert connection.execute(months).fetchall() == [(GOOD,)]


@pytest.mark.parametrize(
    ("months", "sentence"),
    [
        ("2019-13", "there is no month 13"),
        ("2019-06..2019-01", "2019-01 comes before 2019-06"),
        ("june", "a month is written YYYY-MM"),
    ],
)
def test_wrong_months_are_wrong_usage(cli, months, sentence):
    done = cli.run("backfill", "yellow", months, code=2)

    assert sentence in done.stderr
    assert "write 2019-01" in done.stderr


def test_a_folder_that_is_not_there(cli, tmp_path):
    done = cli.run("backfill", "yellow", GOOD, "--source", str(tmp_path / "nowhere"), code=1)

    assert "nowhere does not exist" in done.stderr
    assert len(done.stderr.strip().splitlines()[-1].split(";")) == 2


def test_without_postgresql_nothing_is_begun(cli, tmp_path):
    away = cli.given(CHILLFLOW_POSTGRES_DSN="postgresql://somebody:secret@127.0.0.1:1/nothing")

    done = away.run("backfill", "yellow", GOOD, "--source", str(tmp_path), code=1)

    assert "PostgreSQL at 127.0.0.1:1/nothing does not answer" in done.stderr
    assert "chillflow up" in done.stderr
    assert "secret" not in done.stderr


def test_without_ray_the_command_says_so(cli, tmp_path):
    write_month("yellow", Month.parse(GOOD), 3_000, 3, tmp_path)
    away = cli.given(CHILLFLOW_RAY_ADDRESS="127.0.0.1:1")

    said = away.run("curate", "yellow", GOOD, "--source", str(tmp_path), code=1).stderr

    assert "Ray at 127.0.0.1:1 does not answer" in said.splitlines()[-1]


def test_without_services_the_command_that_starts_them_is_named(cli, tmp_path):
    bare = Cli({name: value for name, value in cli.env.items() if not name.startswith("CHILLFLOW_")})
    bare = bare.given(CHILLFLOW_HOME=str(tmp_path))

    for command in (("months",), ("backfill", "yellow", GOOD), ("load", "yellow", GOOD)):
        assert "start it with `chillflow up`" in bare.run(*command, code=1).stderr
    assert "Ray is not running" in bare.run("curate", "yellow", GOOD, code=1).stderr


def test_a_database_without_tables_is_an_empty_warehouse(cli):
    assert "no month is loaded yet; begin with `chillflow backfill" in cli.run("months").stderr
    assert cli.json("months") == []
    said = cli.run("trip", "0168a2d2-e2b8-84e8-a3ef-1114b6b15aaa", code=1).stderr
    assert "is empty; begin with `chillflow backfill SERVICE MONTHS`" in said


def test_postgresql_gone_in_the_middle_fails_the_month_and_a_second_run_loads_it(cli, tmp_path):
    write_month("yellow", Month.parse(GOOD), 60_000, 3, tmp_path)
    cli.run("curate", "yellow", GOOD, "--source", str(tmp_path))

    run = cli.start("load", "yellow", GOOD)
    ended = _terminate_copy(cli.dsn, run)
    said = run.communicate(timeout=120)[1]

    assert ended
    assert run.returncode == 1
    assert "failed: PostgreSQL at" in said
    with psycopg.connect(cli.dsn) as connection:
        assert connection.execute("select count(*) from chillflow.months").fetchone() == (0,)
        assert connection.execute("select count(*) from chillflow.quarantine").fetchone() == (0,)
    cli.run("load", "yellow", GOOD)
    assert [row["status"] for row in cli.json("months")] == ["loaded"]


def _terminate_copy(dsn: str, run: subprocess.Popen[str]) -> bool:
    """Ends the backend that copies, as an administrator or a crash would; False if the run ended before."""
    deadline = time.monotonic() + 120
    with psycopg.connect(dsn, autocommit=True) as connection:
        while run.poll() is None and time.monotonic() < deadline:
            ended = connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and query ilike 'copy%trips%' and pid <> pg_backend_pid()"
            ).fetchall()
            if ended:
                return True
    return False


def test_a_full_disk_fails_the_month_and_leaves_the_lake_as_it_was(cli, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted by this user")
    try:
        write_month("yellow", Month.parse(GOOD), 20_000, 3, tmp_path)
        done = cli.given(CHILLFLOW_LAKE=str(small)).run("curate", "yellow", GOOD, "--source", str(tmp_path), code=1)
        assert "no space is left on the disk" in done.stderr
        assert "make room" in done.stderr
        assert not list(small.glob("**/manifest.json"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    shutil.rmtree(small)


REPLACED = """
import sys
from pathlib import Path
from chillflow.jobs.curate import curate_months
from chillflow.jobs.plan import plan_month, source_of
from chillflow.jobs.session import Cluster
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.lake import Lake
from chillflow.synth import write_month

folder, month, settings = Path(sys.argv[1]), Month.parse(sys.argv[2]), Settings.read()
lake = Lake(settings.lake)
plan = plan_month(str(folder), "yellow", month, source_of(str(folder), "yellow", month))
write_month("yellow", month, 3_000, 4, folder, 1_000)
with Reporter() as reporter, Cluster(settings) as cluster:
    cluster.connect()
    (outcome,) = curate_months([plan], lake, reporter)
print(outcome.error)
print(lake.manifest("yellow", month))
"""


def test_a_file_that_is_replaced_while_it_is_curated_fails_the_month(cli, tmp_path):
    write_month("yellow", Month.parse(GOOD), 3_000, 3, tmp_path, 1_000)

    command = [sys.executable, "-c", REPLACED, str(tmp_path), GOOD]
    done = subprocess.run(command, env=cli.env, cwd=REPO, capture_output=True, text=True, timeout=120, check=False)

    error, manifest = done.stdout.splitlines() or [done.stderr, ""]
    assert "it was replaced while it was read; run again once nothing replaces it" in error
    assert manifest == "None"
    cli.run("curate", "yellow", GOOD, "--source", str(tmp_path))


def test_ctrl_c_ends_the_run_at_once(cli, tmp_path):
    write_month("yellow", Month.parse(GOOD), 60_000, 3, tmp_path)
    run = cli.start("backfill", "yellow", GOOD, "--source", str(tmp_path))
    deadline = time.monotonic() + 60
    lake = Path(cli.env["CHILLFLOW_LAKE"])
    while not lake.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)

    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)

    assert run.returncode == 1
    assert "Traceback" not in said
