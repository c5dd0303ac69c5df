"""`chillflow submit --as ID`: the job of a RayJob is submitted again whenever its cluster begins anew."""

from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner

from chillflow.cli import chillflow
from chillflow.errors import JobUnknown, RayRefused, ServiceDown
from chillflow.jobs import following, keeping
from chillflow.jobs.jobserver import Job
from chillflow.jobs.works import Work

COMMAND = "python -m chillflow.jobs.assemble"


class Cluster:
    """A jobs API; what a job's status is at each look, and then, where the list ends, the head begins anew."""

    address = "http://head:8265"

    def __init__(self, *lives: list[str]) -> None:
        self.lives = [[*life] for life in lives]
        self.known: set[str] = set()
        self.submitted: list[tuple[str, str]] = []
        self.metadata: dict[str, str] = {}
        self.refusals = 0

    def submit(self, work: Work, job_id: str) -> bool:
        if self.refusals:
            self.refusals -= 1
            raise RayRefused(self.address, "No available agent to submit job")
        if job_id in self.known:
            return False
        self.known.add(job_id)
        self.submitted.append((job_id, work.entrypoint))
        self.metadata = work.metadata
        return True

    def job(self, job_id: str) -> Job:
        if not self.lives[0]:
            self.lives.pop(0)
            self.known.clear()
        if job_id not in self.known:
            raise JobUnknown(job_id)
        status = self.lives[0].pop(0)
        if status == "AWAY":
            raise ServiceDown("Ray's jobs API", self.address, "connection refused or lost")
        code = {"SUCCEEDED": 0, "FAILED": 3}.get(status)
        status = "FAILED" if status == "LOST" else status
        return Job(job_id, status, COMMAND, {}, "the job supervisor died", None, None, code)

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        """A farewell at once, as a head that is deleted sends it."""
        yield "settled\n"

    def log(self, job_id: str) -> str:
        return "settled\n"


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL", 0.001)
    monkeypatch.setattr(keeping, "POLL", 0.001)


def kept(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> tuple[int, str]:
    monkeypatch.setattr(keeping, "JobServer", lambda settings: cluster)
    done = CliRunner().invoke(chillflow, ["submit", "--as", "kept-1", COMMAND])
    return getattr(done.exception, "exit_code", done.exit_code), done.output


def test_a_farewell_of_the_head_is_not_the_end_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(["RUNNING", "RUNNING", "AWAY", "AWAY"], ["PENDING", "RUNNING", "SUCCEEDED"])
    code, said = kept(monkeypatch, cluster)
    assert code == 0
    assert cluster.submitted == [("kept-1", COMMAND)] * 2
    assert said.count("settled") == 2
    assert "kept-1 is lost, since its cluster has begun anew: it is submitted again" in said
    assert "kept-1: SUCCEEDED" in said


def test_a_job_that_a_dying_head_calls_lost_is_submitted_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(["RUNNING", "LOST", "LOST", "AWAY"], ["RUNNING", "SUCCEEDED"])
    assert kept(monkeypatch, cluster)[0] == 0
    assert len(cluster.submitted) == 2


def test_a_job_that_is_lost_while_its_head_lives_on_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "DYING", 0.01)
    cluster = Cluster(["RUNNING"] + ["LOST"] * 1_000)
    code, said = kept(monkeypatch, cluster)
    assert code == 0
    assert "job kept-1 was lost (the job supervisor died)" in said
    assert len(cluster.submitted) == 1


def test_its_own_end_is_the_end_and_following_it_has_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(["RUNNING", "FAILED"])
    code, said = kept(monkeypatch, cluster)
    assert code == 0
    assert "job kept-1 ended with exit code 3" in said
    assert len(cluster.submitted) == 1


def test_a_second_submitter_follows_the_job_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(["RUNNING", "SUCCEEDED"])
    cluster.known.add("kept-1")
    code, said = kept(monkeypatch, cluster)
    assert code == 0
    assert not cluster.submitted
    assert "kept-1: is there" in said


def test_a_head_that_takes_no_jobs_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(["SUCCEEDED"])
    cluster.refusals = 3
    code, said = kept(monkeypatch, cluster)
    assert code == 0
    assert said.count("waiting for it") == 1

    monkeypatch.setattr(keeping, "AWAY", 0.0)
    cluster.refusals = 1_000
    assert kept(monkeypatch, cluster)[0] == 1


def test_the_next_cluster_may_have_the_next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that says which version submitted it is refused by another one."""
    cluster = Cluster(["SUCCEEDED"])
    kept(monkeypatch, cluster)
    assert cluster.metadata["job"] == "assemble"
    assert "chillflow" not in cluster.metadata


@pytest.mark.parametrize("words", [["--as", ""], ["--as", "kept-1", "--detach"]])
def test_a_job_is_kept_under_an_id_and_by_somebody_who_stays(words: list[str]) -> None:
    done = CliRunner().invoke(chillflow, ["submit", *words, "assemble"])
    assert done.exit_code == 2
    assert "--as wants an id, and goes without --detach" in done.output


def test_a_command_line_of_others_is_no_job() -> None:
    done = CliRunner().invoke(chillflow, ["submit", "--as", "kept-1", "env A=1 " + COMMAND])
    assert "there is no job 'env A=1 python" in str(done.exception)
