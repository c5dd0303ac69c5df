"""`chillflow assemble`, `scale` and `partitions` as their users run them."""

import signal
from pathlib import Path

import pytest

from tests.streams import Stream, curated, new_topic

MESS = ("--duplicate", "0.05", "--shuffle", "3600", "--revise", "0.01", "--seed", "5")
ROWS = 12_000


@pytest.fixture(scope="module")
def prepared(embedded, tmp_path_factory) -> tuple[Path, Path]:
    return curated(lambda: embedded, tmp_path_factory.mktemp("assemble"), rows=ROWS)


@pytest.fixture
def stream(new_cli, prepared) -> Stream:
    files, lake = prepared
    return Stream(new_cli().given(CHILLFLOW_LAKE=str(lake)), files, new_topic())


def test_the_pool_follows_scale_while_it_assembles(stream):
    with stream.assembling(workers=1):
        stream.replay(*MESS)
        stream.until(lambda: stream.settled() > 0, "the first records")
        assert "3 assemblers" in stream.cli.run("scale", "3").stderr
        stream.until(lambda: shares(stream) == [4, 4, 4], "three share the partitions")
        stream.cli.run("scale", "--min", "1", "--max", "2")
        stream.until(lambda: shares(stream) in ([12], [6, 6]), "one or two have all")
        stream.until(lambda: sum(row["lag"] for row in stream.cli.json("partitions")) == 0, "no lag")
        lines = stream.cli.run("partitions").stdout
        assert "1 to 2 assemblers" in lines
        assert "assembler-1-" in lines

    rows = stream.cli.json("partitions")
    assert [row["partition"] for row in rows] == [*range(12)]
    assert {row["owner"] for row in rows} == {None}
    assert all(row["rewind_offset"] <= row["next_offset"] and row["lag"] == 0 for row in rows)

    stream.finish()
    assert sum(row["open_trips"] for row in stream.cli.json("partitions")) == 0
    assert "no differences" in stream.reconcile()


def test_a_machine_that_is_emptied_has_let_go_of_all_before_it_goes(stream):
    with stream.assembling(workers=2) as running:
        stream.replay("--seed", "2")
        stream.until(lambda: stream.settled() > 0, "the first records")
        said = stream.cli.module("chillflow.jobs.leave").stderr
        assert said.startswith("3 asked to leave: ")
        assert stream.owners() == set()
        assert running.poll() is None
    assert stream.cli.module("chillflow.jobs.leave").stderr == ""
    stream.finish()
    assert "no differences" in stream.reconcile()


def test_a_topic_that_is_not_there_yet_is_waited_for(stream):
    running = stream.cli.start("assemble", "--topic", stream.topic, "--workers", "2")
    try:
        said = running.stderr.readline()
        while "there is no topic" not in said:
            assert said, "it ended"
            said = running.stderr.readline()
        stream.replay("--seed", "1")
        stream.until(lambda: stream.settled() > 3 * ROWS * 0.9, "most records")
    finally:
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert "events settled in" in said


def test_a_group_goes_to_another_topic_when_its_own_is_done_with(stream):
    stream.replay("--drop", "0.01", "--seed", "1")
    other = Stream(stream.cli, stream.files, new_topic())
    said = stream.cli.run("assemble", "--topic", stream.topic, "--until-caught-up", "--workers", "2").stderr
    assert "spilled" in said
    other.replay("--seed", "1")

    assert "takes topic" in stream.cli.run("assemble", "--topic", other.topic, "--until-caught-up", code=1).stderr
    stream.cli.run("assemble", "--topic", other.topic, "--switch-topic", "--until-caught-up")

    assert {row["topic"] for row in stream.cli.json("partitions")} == {other.topic}
    assert "no differences" in stream.reconcile()


def test_what_is_asked_wrongly_is_refused_with_the_remedy(stream):
    assert "either N, or --min A and --max B" in stream.cli.run("scale", "2", "--min", "1", code=2).stderr
    assert "either N, or --min A and --max B" in stream.cli.run("scale", code=2).stderr
    assert "is more than --max" in stream.cli.run("scale", "--min", "3", "--max", "2", code=2).stderr
    missing = stream.cli.run("assemble", "--topic", stream.topic, "--until-caught-up", code=1).stderr
    assert "there is no topic" in missing
    assert "there is no group other" in stream.cli.run("partitions", "--group", "other", code=2).stderr


def shares(stream: Stream) -> list[int]:
    owners = [row["owner"] for row in stream.partitions()]
    return sorted(owners.count(owner) for owner in {*owners})
