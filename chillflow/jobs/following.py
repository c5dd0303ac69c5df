"""Following a submitted job to its end: its log as it is written, and how it ended."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable

import aiohttp

from chillflow.errors import ChillFlowError, JobFailed, JobLeft, JobLost, JobUnknown, RayRefused, ServiceDown
from chillflow.jobs.jobserver import Job, JobServer

POLL = 1.0
"""Seconds between looks at a job's status."""

AWAY = 60.0
"""Seconds for which a cluster may not answer: its head may be starting anew."""

LAST_WORDS = 5.0
"""Seconds that the log of an ended job has to arrive."""


class Follower:
    """Follows one job. `write` gets the log, in order and each part once, whatever becomes of the connection.

    The cluster may be `away` for so many seconds.
    """

    def __init__(self, server: JobServer, job_id: str, write: Callable[[str], None], away: float = AWAY) -> None:
        self._server, self._id, self._write, self._away = server, job_id, write, away
        self._written = 0

    def run(self) -> Job:
        """Returns the job once it has ended. Raises JobLost, and JobLeft where the cluster stays away."""
        return asyncio.run(self._run())

    async def _run(self) -> Job:
        answered = time.monotonic()
        tail = asyncio.create_task(self._tail())
        try:
            while True:
                try:
                    job = await asyncio.to_thread(self._server.job, self._id)
                    answered = time.monotonic()
                except JobUnknown as error:
                    raise JobLost(self._id) from error
                except (ServiceDown, RayRefused) as error:
                    if time.monotonic() - answered > self._away:
                        raise JobLeft(self._id, f"for all that is known ({error})") from error
                else:
                    if not job.active:
                        await asyncio.wait([tail], timeout=LAST_WORDS)
                        if tail.done():
                            tail.result()
                        await self._rest()
                        return job
                    if tail.done():
                        tail.result()
                        tail = asyncio.create_task(self._tail())
                await asyncio.sleep(POLL)
        finally:
            tail.cancel()

    async def _tail(self) -> None:
        """The log from its beginning, of which what was written before is passed over."""
        read, tail = 0, self._server.tail(self._id)
        while True:
            try:
                text = await anext(tail)
            except (StopAsyncIteration, aiohttp.ClientError, RuntimeError, OSError):
                return
            read += len(text)
            self._write_up_to(read, text)

    async def _rest(self) -> None:
        with contextlib.suppress(ChillFlowError):
            text = await asyncio.to_thread(self._server.log, self._id)
            self._write_up_to(len(text), text)

    def _write_up_to(self, end: int, text: str) -> None:
        """Writes what is new of `text`, which ends at `end` of the log."""
        if end > self._written:
            self._write(text[-(end - self._written) :])
            self._written = end


def conclude(job: Job) -> None:
    """Raises JobFailed unless the job succeeded, with its own exit code where it is one of ChillFlow's."""
    if job.status == "SUCCEEDED":
        return
    if job.status == "STOPPED":
        raise JobFailed(job.id, "was stopped; what it did stays done, submit it again to go on")
    if job.exit_code is None:
        raise JobFailed(job.id, f"was lost ({_first_line(job.message)}); submit it again: it goes on where it was")
    if job.exit_code in (1, 2, 3):
        raise JobFailed(job.id, f"ended with exit code {job.exit_code}, as its last line says", job.exit_code)
    if job.exit_code == 127:
        raise JobFailed(job.id, "did not start: its cluster has no `python` in its PATH; see docs/jobs.md")
    number = -job.exit_code if job.exit_code < 0 else job.exit_code - 128
    with contextlib.suppress(ValueError):
        by = signal.Signals(number).name
        why = ", perhaps for want of memory" if by == "SIGKILL" else ""
        raise JobFailed(job.id, f"was killed by {by}{why}; submit it again: it goes on where it was")
    raise JobFailed(job.id, f"ended with exit code {job.exit_code}")


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else "nobody knows why"
