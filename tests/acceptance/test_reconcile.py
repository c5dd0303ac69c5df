"""Reconciling and redriving as their users run them: a month that lost events on the way, and what is said of it."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fix_embedded import Cli
from tests.warehouse_samples import ask

MONTH = "2019-03"
ROWS = 6_000


class Month:
    """A synthetic month, curated into a lake, and a topic of its own."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli, self.files, self.topic = cli, folder / "months", "test-" + os.urandom(5).hex()
        cli.run("synth", "yellow", MONTH, "--rows", str(ROWS), "--seed", "5", "--to", str(self.files))

    def replay(self, *options: str) -> None:
        self.cli.run("replay", "yellow", MONTH, "--source", str(self.files), "--topic", self.topic, *options)

    def assemble(self) -> None:
        self.cli.run("assemble", "--topic", self.topic, "--until-caught-up")

    def refused(self) -> str:
        return self.cli.run("reconcile", "yellow", MONTH, code=1).stderr

    def judged(self, code: int) -> dict[str, Any]:
        [found] = json.loads(self.cli.run("reconcile", "yellow", MONTH, "--json", code=code).stdout)
        assert found["rows_in"] == found["lake_rows_in"] == ROWS
        assert found["adds_up"]
        return dict(found)


@pytest.fixture
def month(cli: Cli, tmp_path: Path) -> Month:
    return Month(cli, tmp_path)


def test_a_month_is_judged_when_it_has_settled_and_its_differences_are_named(month: Month, tmp_path: Path) -> None:
    cli = month.cli
    month.replay("--duplicate", "0.1", "--shuffle", "3600", "--late", "0.05", "--drop", "0.001", "--corrupt", "0.005")
    assert "nothing was ever assembled" in month.refused()
    month.assemble()
    cli.run("curate", "yellow", MONTH, "--source", str(month.files))

    wrong = "(select trip_id from chillflow.trips where tip_amount > 0 order by trip_id limit 1)"
    ask(cli.dsn, f"update chillflow.trips set tip_amount = tip_amount + 0.01 where trip_id = {wrong}")
    found = month.judged(3)
    assert found["differences"] == found["explained"] + 1 > 2
    assert found["incomplete"] > 0
    [first, *others] = found["sample"]
    assert (first["kind"], first["table"], first["explained"]) == ("different", "trips", None)
    assert list(first["columns"]) == ["tip_amount"]
    assert {one["explained"] for one in others} <= {"incomplete trip", "dead letter"}

    ask(cli.dsn, f"update chillflow.trips set tip_amount = tip_amount - 0.01 where trip_id = {wrong}")
    sent = repair(cli, tmp_path / "repaired.jsonl")
    assert f"{sent} records of {month.topic} are not assembled yet" in month.refused()
    month.assemble()
    done = cli.run("reconcile", "yellow", MONTH, code=3)
    left, explained = map(int, re.findall(r"\((\d+) differences, (\d+) of them explained\)", done.stderr)[0])
    assert left == explained < found["explained"]
    assert f"{ROWS:,} rows in = " in done.stdout


def repair(cli: Cli, file: Path) -> int:
    """Repairs what can be repaired, and sends it; returns how much."""
    cli.run("dead-letters", "--export", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    sent = 0
    for line in lines:
        try:
            event = json.loads(line["payload"])
        except ValueError:
            continue
        line["payload"] = event | {"schema_version": 1, "revision": 1, "service": "yellow"}
        sent += 1
    file.write_text("\n".join(map(json.dumps, lines)))
    done = cli.run("redrive", str(file), code=1 if sent < len(lines) else 0)
    assert f"{sent} letters sent, {sent} marked as redriven" in done.stderr
    return sent
