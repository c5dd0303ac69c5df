"""compose.yaml carries both paths, and each of its containers may be killed while trips stream."""

import json
import os
from collections.abc import Iterator

import pytest

from tests.compose.stack import Stack, missing, until

pytestmark = pytest.mark.timeout(3600)
ROWS = 60_000
SETTLED = "select coalesce(sum(next_offset), 0) from chillflow.assembly_partitions"
REPLAYED = "select coalesce(bool_and(ended_at is not null), false) from chillflow.replays"
ASSEMBLE = ("assemble", "--workers", "2")
REPLAY = ("replay", "yellow", "2018-12", "--source", "/data/months", "--duplicate", "0.05", "--shuffle", "3600",
          "--late", "0.05", "--revise", "0.02", "--seed", "7")  # fmt: skip
SLOWLY = ("--speed", "3000")
"""A month in a quarter of an hour: long enough for all that is killed meanwhile; the rest is sent at once."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if why := missing():
        pytest.skip(why)
    made = Stack(tmp_path_factory.mktemp("stack"), f"chillflow-test-{os.getpid()}")
    try:
        made.up()
        made.chillflow("synth", "yellow", "2018-11,2018-12", "--rows", str(ROWS), "--seed", "7", "--to", "/data/months")
        yield made
    finally:
        made.down()
    assert made.left() == []


def test_there_is_no_volume_without_a_name(stack: Stack) -> None:
    assert stack.volumes() == {f"{stack.name}_{name}" for name in ("data", "kafka", "postgres")}


def test_a_backfill(stack: Stack) -> None:
    stack.chillflow("backfill", "yellow", "2018-11", "--source", "/data/months")
    [month] = json.loads(stack.chillflow("months", "--json"))
    assert month["rows_in"] == ROWS
    assert month["rows_in"] == month["trips"] + month["quarantined"] + month["adjustments"]
    assert int(stack.query("select count(*) from chillflow.trips")) == month["trips"]
    stack.chillflow("report", "--months", "2018-11", "--to", "/data/report.html")


def test_a_stream_while_each_container_is_killed(stack: Stack) -> None:
    stack.chillflow("curate", "yellow", "2018-12", "--source", "/data/months")
    _start(stack)
    for service in ("valkey", "kafka", "postgres", "ray-worker", "ray-head"):
        _await_progress(stack)
        victim = stack.containers(service)[0]
        restarts = stack.restarts(victim)
        stack.kill(victim)
        stack.await_well(victim, restarts + 1)
        if service == "ray-head":
            # It took its jobs and its nodes with it: these join it again by themselves, the jobs go on where they were.
            stack.await_nodes(3)
            _start(stack)
    _await_progress(stack)
    _stop(stack, "replay")
    stack.chillflow(*REPLAY)
    assert stack.query(REPLAYED) == "t"
    _stop(stack, "assemble")
    stack.chillflow(*ASSEMBLE, "--until-caught-up")
    assert "no differences" in stack.chillflow("reconcile", "yellow", "2018-12")


def _start(stack: Stack) -> None:
    stack.chillflow("submit", "--detach", *ASSEMBLE)
    stack.chillflow("submit", "--detach", *REPLAY, *SLOWLY)


def _stop(stack: Stack, kind: str) -> None:
    listed = stack.chillflow("jobs", "--json")
    found = json.loads(listed[listed.index("[") :])
    for job in found:
        if job["status"] == "RUNNING" and kind in job["id"]:
            stack.chillflow("jobs", "stop", job["id"])


def _await_progress(stack: Stack) -> None:
    before = _settled(stack)
    until(lambda: _settled(stack) > before, "events are assembled", stack.said)


def _settled(stack: Stack) -> int:
    """How many events have been committed; what is there while PostgreSQL does not answer is asked again."""
    found = stack.query(SETTLED)
    return int(found) if found.isdecimal() else -1
