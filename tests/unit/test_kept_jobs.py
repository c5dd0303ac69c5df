"""`chillflow submit --as ID`: the job of a RayJob is submitted again whenever its cluster begins anew."""

from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner

from chillflow.cli import chillflow
from chillflow.errors import JobUnknown, ServiceDown
from chillflow.jobs import following, jobserver
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

    def submit(self, work: Work, job_id: str) -> bool:
        if job_id in self.known:
            return False
        self.known.add(job_id)
        self.submitted.append((job_id, work.entrypoint))
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
        return Job(job_id, status, COMMAND, {}, "", None, None, code)

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        """A farewell at once, as a head that is deleted sends it."""
        yield "settled\n"

    def log(self, job_id: str) -> str:
        return "settled\n"


def kept(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> tuple[int, str]:
    monkeypatch.setattr(following, "POLL", 0.001)
    monkeypatch.setattr(jobserver, "reached", lambda settings, within: cluster)
    done = CliRunner().invoke(chillflow, ["submit", "--as", "kept-1", COMMAND])
    code = getattr(done.exception, "exit_code", 0) if done.exception else done.exit_code
    return code, done.output


def test_a_farewell_of_the_head_is_not_the_end_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(["RUNNING", "RUNNING", "AWAY", "AWAY"], ["PENDING", "RUNNING", "SUCCEEDED"])
    code, said = kept(monkeypatch, cluster)
    assert code == 0
    assert cluster.submitted == [("kept-1", COMMAND)] * 2
    assert said.count("settled") == 2
    assert "kept-1 is lost, since its cluster has begun anew: it is submitted again" in said


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
