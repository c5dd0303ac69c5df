"""A work is known by what it does: however it is typed, wherever it is submitted."""

import os
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.cli import Commands, chillflow
from chillflow.errors import BadMonths, JobFailed, NoSuchJob
from chillflow.jobs.attempts import attempt_of
from chillflow.jobs.following import conclude
from chillflow.jobs.jobserver import Job
from chillflow.jobs.works import Work, words_of
from chillflow.months import Month, parse_months, spans


def work(*words: str) -> Work:
    assert isinstance(chillflow, Commands)
    return Work.of(chillflow.job(words[0]), words[1:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("backfill yellow 2019-01..2019-03", "backfill yellow 2019-03,2019-01,2019-02"),
        ("backfill yellow 2019-01 --force", "backfill --force yellow 2019-01"),
        ("replay yellow 2019-01 --speed 2", "replay yellow 2019-01 --speed=2.0 --seed 0"),
        ("assemble", "assemble --group chillflow"),
        ("backfill yellow 2019-01 --source months", f"backfill yellow 2019-01 --source {os.path.abspath('months')}/"),
    ],
)
def test_what_means_the_same_is_the_same_work(one: str, other: str) -> None:
    assert work(*one.split()).id == work(*other.split()).id


def test_what_means_something_else_is_another_work() -> None:
    told = [
        "backfill yellow 2019-01", "backfill green 2019-01", "backfill yellow 2019-02", "curate yellow 2019-01",
        "backfill yellow 2019-01 --force", "backfill yellow 2019-01 --source months", "assemble", "assemble --group a",
        "assemble --workers 2",
    ]  # fmt: skip
    assert len({work(*one.split()).id for one in told}) == len(told)


def test_the_id_is_the_same_for_ever() -> None:
    """Golden: a job submitted by an earlier version is found again."""
    assert work("backfill", "yellow", "2019-01..2019-06").id == "backfill-yellow-2019-01-to-2019-06-56d5c73b"


def test_the_entrypoint_is_the_job_with_absolute_places_and_reads_back_as_the_same_work() -> None:
    found = work("replay", "yellow", "2019-01", "--ledger", "planted faults.jsonl", "--speed", "10", "--force")
    here = Path("planted faults.jsonl").absolute()
    assert found.entrypoint == (f"python -m chillflow.jobs.replay yellow 2019-01 --speed=10 '--ledger={here}' --force")
    said = words_of(found.entrypoint)
    assert said is not None
    assert work(said[0], *said[1]) == found


def test_addresses_are_no_places_of_this_machine() -> None:
    assert "--source=s3://bucket/raw" in work("curate", "yellow", "2019-01", "--source", "s3://bucket/raw").entrypoint


def test_the_dashboard_is_told_what_it_is() -> None:
    assert work("backfill", "yellow", "2019-01..2019-02").metadata.items() >= {
        "job_name": "backfill yellow 2019-01..2019-02", "job": "backfill", "about": "yellow 2019-01..2019-02",
    }.items()  # fmt: skip
    assert work("assemble").metadata["group"] == "chillflow"


def test_wrong_arguments_are_told_before_anything_is_submitted() -> None:
    with pytest.raises(NoSuchJob, match="there is no job 'curat'; the jobs are backfill, curate"):
        work("curat", "yellow", "2019-01")
    with pytest.raises(BadMonths):
        work("curate", "yellow", "2019-13")
    for words in ["curate", "yellow"], ["curate", "red", "2019-01"], ["curate", "yellow", "2019-01", "--fource"]:
        with pytest.raises(click.UsageError):
            work(*words)


def test_only_jobs_are_submitted() -> None:
    for name in "up", "months", "submit":
        with pytest.raises(NoSuchJob):
            work(name)


def test_each_job_is_a_module_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSuchJob) as caught:
        work("")
    for name in caught.value.known:
        with pytest.raises(click.exceptions.Exit):
            work(name, "--help")
        assert f"Usage: chillflow submit {name}" in capsys.readouterr().out
        assert (Path("chillflow/jobs") / f"{name}.py").read_text().endswith('if __name__ == "__main__":\n    main()\n')


@pytest.mark.parametrize(
    ("job_id", "number"),
    [("", 1), ("-2", 2), ("-17", 17), ("-2x", 0), ("0", 0)],
    ids=["first", "2", "17", "x", "other"],
)
def test_attempts_are_numbered_behind_the_id(job_id: str, number: int) -> None:
    found = work("assemble")
    assert attempt_of(found.id + job_id, found) == number


@given(st.sets(st.builds(Month, st.integers(2009, 2100), st.integers(1, 12)), min_size=1))
def test_spans_are_read_back_as_the_same_months(months: set[Month]) -> None:
    assert parse_months(spans(months)) == tuple(sorted(months))


@pytest.mark.parametrize(
    ("status", "code", "ends", "told"),
    [
        ("FAILED", 3, 3, "ended with exit code 3"),
        ("FAILED", 2, 2, "ended with exit code 2"),
        ("FAILED", 1, 1, "ended with exit code 1"),
        ("FAILED", 77, 1, "ended with exit code 77"),
        ("FAILED", -9, 1, "was killed by SIGKILL, perhaps for want of memory"),
        ("FAILED", 137, 1, "was killed by SIGKILL, perhaps for want of memory"),
        ("FAILED", 127, 1, "has no `python` in its PATH"),
        ("FAILED", None, 1, "was lost (the actor died)"),
        ("STOPPED", None, 1, "was stopped"),
    ],
)
def test_every_end_but_success_is_a_failure(status: str, code: int | None, ends: int, told: str) -> None:
    with pytest.raises(JobFailed) as caught:
        conclude(Job("one", status, "", {}, "the actor died.\nat ..", None, None, code))
    assert caught.value.exit_code == ends
    assert told in str(caught.value)


def test_success_is_none() -> None:
    conclude(Job("one", "SUCCEEDED", "", {}, "", None, None, 0))
