"""The comparison of the stream's months with the lake's."""

from dataclasses import dataclass
from typing import ClassVar

from chillflow.errors.base import ChillFlowError
from chillflow.errors.stream import StreamError


class Unsettled(StreamError):
    """The stream's rows cannot be judged as they are now."""


@dataclass(eq=False)
class StreamBehind(Unsettled):
    topic: str
    lag: int
    partitions: int

    def __str__(self) -> str:
        return (
            f"{self.lag:,} records of {self.topic} are not assembled yet (in {self.partitions} partitions): what they "
            "become is not known; run `chillflow assemble --until-caught-up`, then this again"
        )


@dataclass(eq=False)
class NeverAssembled(Unsettled):
    address: str

    def __str__(self) -> str:
        return (
            f"nothing was ever assembled into {self.address}: there is nothing to judge; replay the months, run "
            "`chillflow assemble --until-caught-up`, then this again"
        )


@dataclass(eq=False)
class TripsStillOpen(Unsettled):
    topic: str
    partitions: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"trips are still open in partitions {', '.join(map(str, self.partitions))} of {self.topic}: what becomes "
            "of them is not known; run `chillflow assemble --until-caught-up`, which waits for them or lets them go, "
            "then this again"
        )


@dataclass(eq=False)
class ReplayRunning(Unsettled):
    address: str

    def __str__(self) -> str:
        return f"a replay is still sending (says {self.address}); wait for its end, or stop it, then run this again"


@dataclass(eq=False)
class ReplayUnfinished(Unsettled):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"a replay of {self.service} {self.month} was stopped before its end; run the same `chillflow replay` "
            "again, it goes on where it stopped, then this"
        )


@dataclass(eq=False)
class StreamMoved(Unsettled):
    topic: str

    def __str__(self) -> str:
        return (
            f"{self.topic} was being assembled while its rows were compared, so that the outcome means nothing; run "
            "this again when nothing is sent"
        )


@dataclass(eq=False)
class NothingStreamed(StreamError):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"the stream has written nothing of {self.service} {self.month}: there is nothing to judge; send the month "
            f"with `chillflow replay {self.service} {self.month}` while `chillflow assemble` runs"
        )


@dataclass(eq=False)
class LoadedAlready(StreamError):
    """A month whose rows are those of its file, so that nothing of the stream is left to judge."""

    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} was loaded from its file, which settled what the stream had written: there "
            "is nothing of the stream to judge; replay and assemble the month into a warehouse where it is curated "
            "but not loaded (name it in CHILLFLOW_POSTGRES_DSN)"
        )


@dataclass(eq=False)
class OtherRules(StreamError):
    service: str
    month: str
    curated: int
    present: int

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} was curated by rules {self.curated}, the stream's rows are by rules "
            f"{self.present}; run `chillflow curate {self.service} {self.month} --force` first"
        )


@dataclass(eq=False)
class DataDiffer(ChillFlowError):
    """The stream's rows are not the lake's."""

    months: tuple[str, ...]
    differences: int
    explained: int

    exit_code: ClassVar[int] = 3

    def __str__(self) -> str:
        explained = f", {self.explained:,} of them explained" if self.explained else ""
        if not self.differences:
            return (
                f"{', '.join(self.months)}: no row differs, but the rows that were replayed are not accounted for; see "
                "docs/reconcile.md"
            )
        return (
            f"{', '.join(self.months)}: the stream differs from the lake ({self.differences:,} "
            f"differences{explained}); docs/reconcile.md tells what to do about each sort"
        )
