"""`chillflow submit` and `chillflow jobs`: jobs on a Ray cluster, found again, followed and stopped."""

import os
import sys
from datetime import datetime
from typing import Any

import click
from rich.table import Table

from chillflow import console
from chillflow.errors import JobFailed, JobLeft, JobLost
from chillflow.jobs import options
from chillflow.settings import Settings

_NOT_PASSED = "CHILLFLOW_LAKE", "CHILLFLOW_POSTGRES_DSN", "CHILLFLOW_REDIS_URL", "CHILLFLOW_KAFKA_BOOTSTRAP"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--detach", is_flag=True, help="submit, say the id, and leave")
@click.option("--as", "given_id", metavar="ID", help="under this id, and again whenever the cluster begins anew")
@click.argument("job")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def submit(context: click.Context, detach: bool, given_id: str | None, job: str, arguments: tuple[str, ...]) -> None:
    """Run JOB with its ARGUMENTS on a Ray cluster, and follow it to its end.

    The same as `ray job submit -- python -m chillflow.jobs.JOB ARGUMENTS`, but: the job is known by what it does, so
    that a second submit follows the one that runs; arguments are checked before; the exit code is the job's own. Ctrl-C
    asks whether to stop it. The job reads its settings (CHILLFLOW_..) on the cluster, not here.

    With --as, as RayJobs are submitted, the exit code is 0 once the job has ended: its status tells how. JOB can be a
    whole command line in one word then: 'python -m chillflow.jobs.JOB ARGUMENTS'.
    """
    from chillflow.jobs.works import Work, words_of

    root: Any = context.find_root().command
    if job.startswith("python -m ") and (said := words_of(job)) is not None:
        job, arguments = said[0], (*said[1], *arguments)
    command = root.job(job)
    wanted = [one for one in arguments if one != "--detach"]

    from chillflow.jobs.attempts import begin
    from chillflow.jobs.jobserver import JobServer

    work = Work.of(command, wanted)
    if given_id is not None:
        if not given_id or detach or len(wanted) < len(arguments):
            raise click.UsageError("--as wants an id, and goes without --detach")
        _keep(work, given_id)
        return
    server = JobServer(Settings.read())
    for name in _NOT_PASSED:
        if os.environ.get(name):
            console.say(f"{name} is not passed on: the job uses what is set on the cluster")
    job_id, fresh = begin(server, work, root.job)
    console.say(f"{job_id}: {'submitted' if fresh else 'runs already'} at {server.address}: {work.entrypoint}")
    if detach or len(wanted) < len(arguments):
        click.echo(job_id)
        return
    _follow(server, job_id)


@click.group(invoke_without_command=True)
@options.as_json
@click.pass_context
def jobs(context: click.Context, as_json: bool) -> None:
    """The jobs that were submitted to the cluster, the latest first."""
    if context.invoked_subcommand is not None:
        return
    from chillflow.jobs.jobserver import JobServer

    found = JobServer(Settings.read()).jobs()
    if as_json:
        console.show_json(_plain(job) for job in found)
        return
    if not found:
        console.say("no job was submitted yet; begin with `chillflow submit JOB ..`")
        return
    table = Table("id", "status", "exit code", "started", "seconds", "what")
    for job in map(_plain, found):
        started = job["started_at"].astimezone().strftime("%Y-%m-%d %H:%M:%S") if job["started_at"] else ""
        seconds, code = job["seconds"], job["exit_code"]
        table.add_row(
            job["id"], job["status"], "" if code is None else str(code), started,
            "" if seconds is None else f"{seconds:,.0f}", job["what"],
        )  # fmt: skip
    console.screen().print(table)


@jobs.command()
@click.argument("job_id", metavar="ID")
def follow(job_id: str) -> None:
    """Show the log of a job from its beginning, to its end; the exit code is the job's own."""
    from chillflow.jobs.jobserver import JobServer

    server = JobServer(Settings.read())
    server.job(job_id)
    _follow(server, job_id)


@jobs.command()
@click.argument("job_id", metavar="ID")
def stop(job_id: str) -> None:
    """End a job: it lets go of what it has begun, which stays done, and is killed only if that takes too long."""
    from chillflow.jobs.attempts import end
    from chillflow.jobs.jobserver import JobServer

    ended = end(JobServer(Settings.read()), job_id, console.say)
    console.say(f"{job_id}: {ended.status}")


def _keep(work: Any, job_id: str) -> None:
    """That the job failed is no failure of who follows it, or Kubernetes would have it followed again."""
    from chillflow.jobs import following, keeping

    work = keeping.as_it_is(work)
    while True:
        server, fresh = keeping.submitted(Settings.read(), work, job_id, console.say)
        console.say(f"{job_id}: {'submitted' if fresh else 'is there'} at {server.address}: {work.entrypoint}")
        try:
            ended = _followed(server, job_id, keeping.AWAY)
            if not keeping.was_lost_with_its_head(server, ended):
                following.conclude(ended)
                console.say(f"{job_id}: {ended.status}")
                return
        except JobLost:
            pass
        except JobFailed as failed:
            console.say(str(failed))
            return
        console.say(f"{job_id} is lost, since its cluster has begun anew: it is submitted again")


def _follow(server: Any, job_id: str) -> None:
    from chillflow.jobs import following

    ended = _followed(server, job_id, following.AWAY)
    following.conclude(ended)
    console.say(f"{job_id}: {ended.status}")


def _followed(server: Any, job_id: str, away: float) -> Any:
    """The job, once it has ended; Ctrl-C asks whether to stop it."""
    from chillflow.jobs.following import Follower

    follower = Follower(server, job_id, lambda text: click.echo(text, nl=False), away)
    try:
        return follower.run()
    except KeyboardInterrupt as interrupt:
        if not (sys.stdin.isatty() and click.confirm(f"\nstop the job {job_id}?", err=True)):
            raise JobLeft(job_id) from interrupt
        server.stop(job_id)
        console.say("stopping: it lets go of what it has begun")
        try:
            return follower.run()
        except KeyboardInterrupt as again:
            raise JobLeft(job_id, "on its way to its end") from again


def _plain(job: Any) -> dict[str, Any]:
    end: datetime | None = job.ended_at
    seconds = (end - job.started_at).total_seconds() if end and job.started_at else None
    return {
        "id": job.id,
        "status": job.status,
        "exit_code": job.exit_code,
        "started_at": job.started_at,
        "ended_at": end,
        "seconds": seconds,
        "what": job.metadata.get("job_name", job.entrypoint) if "chillflow" in job.metadata else job.entrypoint,
        "job": job.metadata.get("job"),
        "about": job.metadata.get("about"),
        "group": job.metadata.get("group"),
        "chillflow": job.metadata.get("chillflow"),
        "entrypoint": job.entrypoint,
    }
