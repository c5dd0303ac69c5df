"""`chillflow replay` against the embedded services: killed, interrupted, run again."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from chillflow.months import Month
from chillflow.stores.eventlog import KafkaReader
from chillflow.stores.replays import replay_running
from chillflow.synth import write_month
from tests.fix_embedded import Cli
from tests.warehouse_samples import ask

ROWS = 6_000
FAULTS = ["--duplicate", "0.1", "--shuffle", "600", "--late", "0.1", "--drop", "0.02", "--corrupt", "0.02",
          "--revise", "0.05", "--seed", "7"]  # fmt: skip
SLOWLY = ["--speed", "100000"]
"""A month of event time in half a minute."""


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("months")
    for month in (Month(2018, 11), Month(2018, 12)):
        write_month("yellow", month, ROWS, 3, folder, 1_000)
    return folder


@pytest.fixture
def topic() -> str:
    return "replayed-" + os.urandom(4).hex()


def records(cli: Cli, topic: str) -> list[tuple[bytes, bytes]]:
    """All records of a topic, partition by partition."""
    bootstrap = json.loads(cli.run("status", "--json", code=None).stdout)["kafka"]
    reader = KafkaReader({"bootstrap.servers": bootstrap}, topic)
    found: list[tuple[bytes, bytes]] = []
    try:
        left = dict.fromkeys(range(reader.topic().partitions), 0)
        for partition in left:
            reader.assign(partition, 0)
        deadline = time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline
            for polled in reader.poll(10_000, 0.2):
                found += zip(polled.keys, polled.values, strict=True)  # type: ignore[arg-type]
                if polled.at_end:
                    left.pop(polled.partition, None)
    finally:
        reader.close()
    return found


def begun(cli: Cli, process: subprocess.Popen[str]) -> Iterator[int]:
    """How many events are noted as acknowledged, again and again."""
    while process.poll() is None:
        there = ask(cli.dsn, "select to_regclass('chillflow.replays') is not null as there")[0]["there"]
        rows = ask(cli.dsn, "select acknowledged from chillflow.replays") if there else []
        yield rows[0]["acknowledged"] if rows else 0
        time.sleep(0.1)
    raise AssertionError(process.communicate()[1])


def interrupted(cli: Cli, command: list[str], end: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
    """A replay that is ended after its first noted events: its exit code and what it said."""
    with cli.start(*command) as process:
        next(at for at in begun(cli, process) if at)
        end(process)
        said = process.communicate(timeout=30)[1]
    return process.returncode, said


def test_a_killed_replay_goes_on_without_a_gap(new_cli: Callable[[], Cli], months: Path, topic: str) -> None:
    cli, ledger = new_cli(), months / "planted.parquet"
    command = ["replay", "yellow", "2018-11,2018-12", "--source", str(months), *FAULTS, "--ledger", str(ledger)]
    code, _ = interrupted(cli, [*command, "--topic", topic, *SLOWLY], subprocess.Popen.kill)
    assert code == -signal.SIGKILL
    [before] = ask(cli.dsn, "select * from chillflow.replays")
    assert 0 < before["acknowledged"] < before["total"]
    planted = pl.read_parquet(ledger)

    done = cli.run(*command, "--topic", topic, "--json")
    assert f"goes on at event {before['acknowledged']:,}" in done.stderr
    [summary] = json.loads(done.stdout)
    assert summary["total"] == before["total"]
    assert summary["sent"] == before["total"] - before["acknowledged"]
    assert not replay_running(cli.dsn)

    other = new_cli()
    whole = "whole-" + topic
    other.run(*command, "--topic", whole, "--partitions", "5")
    expected, found = Counter(records(cli, whole)), Counter(records(cli, topic))
    assert expected.total() == before["total"]
    assert found >= expected
    assert set(found) == set(expected)
    assert pl.read_parquet(ledger).equals(planted)
    kinds = dict(planted["fault"].value_counts().iter_rows())
    assert summary["planted"] == kinds
    assert set(kinds) == {"duplicate", "late", "drop", "corrupt", "revise"}

    [row, _] = [row for row in cli.json("months") if row["path"] == "stream"]
    assert (row["month"], row["status"], row["rows_in"]) == ("2018-11", "replayed", ROWS)
    quarantined = ask(cli.dsn, "select reason, source, count(*) as rows from chillflow.quarantine group by 1, 2")
    assert {row["source"] for row in quarantined} == {"stream"}
    assert {row["reason"]: row["rows"] for row in quarantined} == summary["quarantined"]
    truth = pl.concat(pl.read_parquet(path) for path in months.glob("*.truth.parquet"))
    file_rules = truth.filter(pl.col("reason").is_in(list(summary["quarantined"])))["reason"].value_counts()
    assert dict(file_rules.iter_rows()) == summary["quarantined"]
    assert summary["total"] == 3 * (2 * ROWS - sum(summary["quarantined"].values())) - kinds["drop"] + kinds[
        "revise"] + kinds["duplicate"]  # fmt: skip

    again = cli.run(*command, "--topic", topic)
    assert "sent already" in again.stderr
    assert len(records(cli, topic)) == found.total()


def test_a_replay_that_is_told_to_stop_says_how_far_it_is(cli: Cli, months: Path, topic: str) -> None:
    command = ["replay", "yellow", "2018-11", "--source", str(months), "--topic", topic]
    code, said = interrupted(cli, [*command, *SLOWLY], subprocess.Popen.terminate)
    assert code == 1
    last = said.splitlines()[-1]
    assert "the same command goes on from there" in last
    assert not replay_running(cli.dsn)
    [noted] = ask(cli.dsn, "select * from chillflow.replays")
    assert f"stopped at {noted['acknowledged']:,} of {noted['total']:,} events" in last
    assert not list((Path(cli.env["CHILLFLOW_HOME"]) / "replays").iterdir())
    cli.run(*command)
    assert len(set(records(cli, topic))) == noted["total"]


def test_months_that_cannot_be_sent_do_not_stop_the_others(cli: Cli, months: Path, topic: str) -> None:
    folder = months.parent / "bad"
    folder.mkdir()
    (folder / "yellow_tripdata_2018-11.parquet").symlink_to(months / "yellow_tripdata_2018-11.parquet")
    (folder / "yellow_tripdata_2018-12.parquet").write_text("<?xml version='1.0'?>")
    command = ["replay", "yellow", "2018-11..2019-01", "--source", str(folder), "--topic", topic, "--json"]
    done = cli.run(*command, code=1)
    assert "yellow 2018-12: failed" in done.stderr
    assert "no whole Parquet file" in done.stderr
    assert "yellow 2019-01: failed" in done.stderr
    assert "2 of 3 months failed" in done.stderr
    [summary] = json.loads(done.stdout)
    assert summary["months"] == ["2018-11"]
    assert "Traceback" not in done.stderr
    refused = cli.run(*command[:2], "2018-11", *command[3:], "--partitions", "3", code=2)
    assert "has 12 partitions, not 3" in refused.stderr


@pytest.mark.parametrize(
    "wrong",
    [["--drop", "1.5"], ["--late", "-0.1"], ["--duplicate", "nan"], ["--shuffle", "inf"], ["--speed", "0"],
     ["--speed", "fast"], ["--partitions", "0"], ["--seed", "-1"]],
    ids=" ".join,
)  # fmt: skip
def test_nonsense_is_refused_as_wrong_usage(embedded: Cli, months: Path, wrong: list[str]) -> None:
    done = embedded.run("replay", "yellow", "2018-11", "--source", str(months), *wrong, code=2)
    assert "Invalid value" in done.stderr
