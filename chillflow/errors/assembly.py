"""Groups of assemblers, and what they own."""

from dataclasses import dataclass

from chillflow.errors.base import UsageError
from chillflow.errors.stream import LEAVE, StreamError


@dataclass(eq=False)
class Superseded(StreamError):
    """Another coordinator has taken the group."""

    group: str
    epoch: int

    def __str__(self) -> str:
        return (
            f"group {self.group} was taken over by another `chillflow assemble` (epoch {self.epoch}): this one "
            "lets go; run one of them at a time"
        )


@dataclass(eq=False)
class Fenced(StreamError):
    """A partition belongs to a newer claim; what its former owner held is discarded."""

    partition: int

    def __str__(self) -> str:
        return f"partition {self.partition} was claimed by another assembler; this one lets go of it"


@dataclass(eq=False)
class OutcomeUnknown(StreamError):
    """The connection was lost while PostgreSQL was committing."""

    address: str

    def __str__(self) -> str:
        return f"PostgreSQL at {self.address} did not say whether it committed; the partitions' rows tell"


@dataclass(eq=False)
class NoSuchGroup(UsageError):
    group: str

    def __str__(self) -> str:
        return f"there is no group {self.group}; start it with `chillflow assemble --group {self.group}`"


@dataclass(eq=False)
class OpenTrips(StreamError):
    """A topic that cannot be left yet."""

    topic: str
    partitions: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"topic {self.topic} cannot be left: partitions {', '.join(map(str, self.partitions))} have open trips; "
            f"let `chillflow assemble --until-caught-up` finish it first, or run `{LEAVE}`, which counts what is lost"
        )


@dataclass(eq=False)
class NotDrained(StreamError):
    """Assemblers that did not let go in time."""

    seconds: float

    def __str__(self) -> str:
        return (
            f"the assemblers did not let go within {self.seconds:g} s and were killed; nothing is lost, the next "
            "`chillflow assemble` reads again what was not committed: see whether all services answer"
        )


@dataclass(eq=False)
class StillThere(StreamError):
    """Processes that were asked to leave a machine, and have not."""

    pids: tuple[int, ...]
    seconds: float

    def __str__(self) -> str:
        return (
            f"still at work here after {self.seconds:.0f} s: {', '.join(map(str, self.pids))}; "
            "nothing is lost if they are ended now, their successors read the log again"
        )


@dataclass(eq=False)
class MachineGone(StreamError):
    """A coordinator on a machine that was to be emptied, and lives on."""

    seconds: float

    def __str__(self) -> str:
        return (
            f"this machine was to be emptied {self.seconds:.0f} s ago, so all partitions have been let go of; "
            "run `chillflow assemble` again"
        )
