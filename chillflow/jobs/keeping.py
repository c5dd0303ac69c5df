"""Keeping a job: it is submitted again whenever its cluster begins anew, until it has come to an end of its own."""

import time
from collections.abc import Callable
from dataclasses import replace

from chillflow.errors import JobUnknown, RayRefused, ServiceDown
from chillflow.jobs.jobserver import Job, JobServer
from chillflow.jobs.works import Work
from chillflow.settings import Settings

AWAY = 600.0
"""Seconds for which the cluster may not answer, or not take a job yet: its image may be on its way."""

DYING = 60.0
"""Seconds that a head may go on answering whose other parts have ended."""

POLL = 1.0


def as_it_is(work: Work) -> Work:
    """The work for any version of ChillFlow: the cluster may begin anew with the next one."""
    return replace(work, metadata={name: text for name, text in work.metadata.items() if name != "chillflow"})


def submitted(settings: Settings, work: Work, job_id: str, say: Callable[[str], None]) -> tuple[JobServer, bool]:
    """A cluster that has the job, and whether it has got it just now; raises what kept it from that for too long."""
    deadline, said = time.monotonic() + AWAY, False
    while True:
        try:
            server = JobServer(settings)
            return server, server.submit(work, job_id)
        except (ServiceDown, RayRefused) as trouble:
            if time.monotonic() > deadline:
                raise
            if not said:
                say(f"{trouble}; waiting for it")
            said = True
        time.sleep(POLL)


def was_lost_with_its_head(server: JobServer, job: Job) -> bool:
    """Whether a job of which its cluster says that it was lost is one that the cluster forgets now, too."""
    if job.status != "FAILED" or job.exit_code is not None:
        return False
    began, patience = time.monotonic(), DYING
    while time.monotonic() - began < patience:
        try:
            server.job(job.id)
        except JobUnknown:
            return True
        except (ServiceDown, RayRefused):
            patience = AWAY
        time.sleep(POLL)
    return False
