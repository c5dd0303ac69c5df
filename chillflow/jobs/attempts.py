"""Attempts at a work: the one that runs is found again, one that has ended is followed by the next."""

import re
import time
from collections.abc import Callable

import click

from chillflow.errors import ChillFlowError, GroupBusy
from chillflow.jobs.jobserver import Job, JobServer
from chillflow.jobs.works import Work, words_of

Command = Callable[[str], click.Command]
"""The command of a job, by its name; raises NoSuchJob."""

POLL = 0.3


def begin(server: JobServer, work: Work, command: Command) -> tuple[str, bool]:
    """The id of the job that does the work, and whether it was submitted just now. Raises GroupBusy.

    A job that runs is found by what it does, also where it was submitted by hand. The first attempt has the work's id,
    the next ones a number behind it.
    """
    while True:
        known = server.jobs()
        for job in known:
            if job.active and (found := work_of(job, command)) is not None:
                if found.id == work.id:
                    return job.id, False
                if work.job == found.job == "assemble" and work.group == found.group:
                    raise GroupBusy(str(work.group), job.id)
        number = 1 + max((attempt_of(job.id, work) for job in known), default=0)
        job_id = work.id if number == 1 else f"{work.id}-{number}"
        if server.submit(work, job_id):
            return job_id, True  # else somebody else has submitted the same in between


def attempt_of(job_id: str, work: Work) -> int:
    """Which attempt at the work a job is; 0 if none."""
    found = re.fullmatch(re.escape(work.id) + r"(?:-(\d+))?", job_id)
    return int(found[1] or 1) if found else 0


def work_of(job: Job, command: Command) -> Work | None:
    """What a job does, where it is one of ChillFlow's; however it was submitted."""
    said = words_of(job.entrypoint)
    if said is None or "--help" in said[1]:
        return None
    try:
        return Work.of(command(said[0]), said[1])
    except (click.ClickException, click.exceptions.Exit, ChillFlowError):
        return None


def end(server: JobServer, job_id: str, say: Callable[[str], None]) -> Job:
    """Stops a job and waits until it has ended. Raises JobUnknown."""
    job = server.job(job_id)
    if not job.active:
        return job
    server.stop(job_id)
    say(f"{job_id}: stopping; it lets go of what it has begun")
    while job.active:
        time.sleep(POLL)
        job = server.job(job_id)
    return job
