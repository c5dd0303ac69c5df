"""Ray's jobs API: what is asked of it, and its faults in sentences."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from chillflow.errors import JobUnknown, OtherRay, RayRefused, ServiceDown
from chillflow.jobs import access
from chillflow.jobs.works import Work
from chillflow.settings import Settings

PATIENCE = 30.0
"""Seconds for an answer."""

STOP_WAIT = 60
"""Seconds that a stopped job has to end by itself, where the cluster's own setting is not known to be as long."""

ACTIVE = ("PENDING", "RUNNING")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Job:
    """A submitted job as its cluster knows it; `exit_code` is that of its entrypoint, where one is known."""

    id: str
    status: str
    entrypoint: str
    metadata: dict[str, str]
    message: str
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


class _Client(JobSubmissionClient):
    """Ray's own waits for ever."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        return super()._do_request(method, endpoint, timeout=PATIENCE, **options)


class JobServer:
    """The jobs API of a cluster. Raises ServiceDown, RayRefused and OtherRay."""

    def __init__(self, settings: Settings) -> None:
        place = access.jobs_api(settings)
        self.address, self._embedded = place.address, place.embedded
        access.show_token(settings, place)
        os.environ["RAY_API_SERVER_ADDRESS"] = place.address  # the client takes it before what it is given
        logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)
        self._client: Any = self._ask(lambda: _Client(place.address))

    @property
    def version(self) -> str:
        """The cluster's Ray."""
        return str(self._client._server_ray_version)

    def check_version(self) -> None:
        """Raises OtherRay."""
        if self.version != ray.__version__:
            raise OtherRay(self.address, ray.__version__, self.version)

    def jobs(self) -> list[Job]:
        """Every job that was submitted to the cluster since it began, the latest first."""
        found = self._ask(self._client.list_jobs)
        jobs = [_job(details) for details in found if details.submission_id]
        return sorted(jobs, key=lambda job: job.started_at or datetime.min.replace(tzinfo=UTC), reverse=True)

    def job(self, job_id: str) -> Job:
        """Raises JobUnknown."""
        return _job(self._ask(lambda: self._client.get_job_info(job_id), job_id))

    def submit(self, work: Work, job_id: str) -> bool:
        """Submits a work under an id; False where the cluster has a job of this id already. Raises OtherRay."""
        self.check_version()
        wait = {} if self._embedded else {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT)}}
        try:
            self._client.submit_job(
                entrypoint=work.entrypoint, submission_id=job_id, metadata=work.metadata, runtime_env=wait
            )
        except RuntimeError as fault:
            if "already exists" in str(fault):
                return False
            raise RayRefused(self.address, _said(fault)) from fault
        except requests.RequestException as fault:
            raise ServiceDown("Ray's jobs API", self.address, _why(fault)) from fault
        return True

    def stop(self, job_id: str) -> None:
        """Asks a job to end; it has STOP_WAIT seconds, then it is killed. Raises JobUnknown."""
        self._ask(lambda: self._client.stop_job(job_id), job_id)

    def log(self, job_id: str) -> str:
        """All that a job has said. Raises JobUnknown."""
        return str(self._ask(lambda: self._client.get_job_logs(job_id), job_id))

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        """The same, as it is said; it may end while the job goes on, in one of many ways."""
        async for text in self._client.tail_job_logs(job_id):
            yield str(text)

    def _ask(self, question: Callable[[], Answer], job_id: str = "") -> Answer:
        try:
            return question()
        except AuthenticationError as fault:
            raise RayRefused(self.address, "it asks for another token, or for one at all") from fault
        except (ConnectionError, requests.RequestException) as fault:
            raise ServiceDown("Ray's jobs API", self.address, _why(fault)) from fault
        except RuntimeError as fault:
            if job_id and "status code 404" in str(fault):
                raise JobUnknown(job_id) from fault
            raise RayRefused(self.address, _said(fault)) from fault
        except (ValueError, KeyError) as fault:
            raise RayRefused(self.address, "what answers there is not Ray") from fault


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        entrypoint=details.entrypoint,
        metadata=dict(details.metadata or {}),
        message=details.message or "",
        started_at=_time(details.start_time),
        ended_at=_time(details.end_time),
        exit_code=details.driver_exit_code,
    )


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _why(fault: Exception) -> str:
    """Of a chain of faults that name each other the plain end."""
    if isinstance(fault, requests.Timeout):
        return f"no answer within {PATIENCE:.0f} s"
    if isinstance(fault, requests.HTTPError) and fault.response is not None:
        return f"HTTP {fault.response.status_code}"
    return "connection refused or lost"


def _said(fault: Exception) -> str:
    """The last line of what the server said, which may be a traceback."""
    lines: Sequence[str] = str(fault).strip().splitlines()
    return lines[-1].rstrip(".") if lines else type(fault).__name__
