"""The Ray cluster and its jobs."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError, UsageError


@dataclass(eq=False)
class ClusterFailed(ChillFlowError):
    """Ray itself failed during a job."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} failed ({self.why}); nothing is half-visible: "
            "see `chillflow status`, start what is missing with `chillflow up`, and run the same command again"
        )


@dataclass(eq=False)
class RayRefused(ChillFlowError):
    """A cluster that is there, and does not let this user, this version or this request in."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} refuses: {self.why}; check the token (RAY_AUTH_TOKEN, "
            "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token), the address, and that both sides have the same Ray"
        )


@dataclass(eq=False)
class OtherRay(ChillFlowError):
    address: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return (
            f"the cluster at {self.address} runs Ray {self.theirs}, this is Ray {self.ours}; submit from an "
            f"installation with Ray {self.theirs}, or start the cluster from ChillFlow's image"
        )


@dataclass(eq=False)
class OtherChillFlow(ChillFlowError):
    """A job that was submitted by another version than the one that is to run it."""

    ours: str
    theirs: str

    def __str__(self) -> str:
        return (
            f"this job was submitted by ChillFlow {self.theirs}, the cluster has {self.ours}: their arguments may mean "
            f"different things; submit it with {self.ours}, or bring the cluster to {self.theirs}"
        )


@dataclass(eq=False)
class NoSuchJob(UsageError):
    """A name that is no job's."""

    name: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"there is no job {self.name!r}; the jobs are {', '.join(self.known)}"


@dataclass(eq=False)
class JobUnknown(UsageError):
    """An id that the cluster has no job of."""

    job_id: str

    def __str__(self) -> str:
        return (
            f"the cluster knows no job {self.job_id}: it forgets them when its head starts anew; "
            "see `chillflow jobs`, and submit it again: what it did stays done"
        )


@dataclass(eq=False)
class GroupBusy(ChillFlowError):
    """A second assembly job of a group."""

    group: str
    job_id: str

    def __str__(self) -> str:
        return (
            f"group {self.group} is assembled by the job {self.job_id} already: follow it with `chillflow jobs follow "
            f"{self.job_id}`, change its size with `chillflow scale`, or end it first with `chillflow jobs stop "
            f"{self.job_id}`"
        )


@dataclass(eq=False)
class JobFailed(ChillFlowError):
    """A job that ended badly; `code` is its own exit code where that is known."""

    job_id: str
    how: str
    code: int = 1

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self.code

    def __str__(self) -> str:
        return f"job {self.job_id} {self.how}"


@dataclass(eq=False)
class JobLost(JobFailed):
    """A job that its cluster does not know any longer."""

    how: str = "is lost: its cluster has begun anew; submit it again"


@dataclass(eq=False)
class JobLeft(ChillFlowError):
    """Somebody stopped following a job, which goes on."""

    job_id: str
    why: str = "not followed any longer"

    def __str__(self) -> str:
        return (
            f"job {self.job_id} goes on, {self.why}: follow it again with `chillflow jobs follow {self.job_id}`, "
            f"end it with `chillflow jobs stop {self.job_id}`"
        )


@dataclass(eq=False)
class MonthsFailed(ChillFlowError):
    """Some months of a job failed, each with a line of its own before this one."""

    failed: int
    asked: int

    def __str__(self) -> str:
        return (
            f"{self.failed} of {self.asked} months failed, the others are done; "
            "mend what the lines above name and run the same command again"
        )
