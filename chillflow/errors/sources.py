"""Files of trip records, and their download."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError, times


class SourceError(ChillFlowError):
    """A source file that cannot be used; the other months go on."""


@dataclass(eq=False)
class SourceMissing(SourceError):
    path: str

    def __str__(self) -> str:
        return (
            f"{self.path} does not exist; fetch it with `chillflow fetch`, "
            "or point --source at the folder that holds it"
        )


@dataclass(eq=False)
class SourceUnreadable(SourceError):
    path: str
    why: str
    remedy: str = "fetch it again with `chillflow fetch`"

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.why}; {self.remedy}"


@dataclass(eq=False)
class EraWithoutZones(SourceError):
    path: str
    column: str

    def __str__(self) -> str:
        return (
            f"{self.path} has coordinates ({self.column}) instead of taxi zones, as the files of 2009 and 2010 do, "
            "and cannot be curated; begin with 2011-01"
        )


@dataclass(eq=False)
class MissingColumn(SourceError):
    path: str
    column: str

    def __str__(self) -> str:
        return (
            f"{self.path} has no column {self.column}; check that it is a file of this service "
            "as the TLC publishes it, or fetch it again with `chillflow fetch`"
        )


@dataclass(eq=False)
class WrongColumnType(SourceError):
    path: str
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.path}: column {self.column} holds {self.found} where {self.expected} is expected; "
            "convert it, or fetch the file again with `chillflow fetch`"
        )


@dataclass(eq=False)
class NotWhole(SourceError):
    """A column of whole numbers, saved as fractions, that holds a fraction."""

    path: str
    column: str
    value: float
    row: int

    def __str__(self) -> str:
        return (
            f"{self.path}: column {self.column} holds {self.value!r} in row {self.row} where only whole numbers are "
            "expected; correct the file, or fetch it again with `chillflow fetch`"
        )


@dataclass(eq=False)
class ColumnTwice(SourceError):
    path: str
    column: str

    def __str__(self) -> str:
        return (
            f"{self.path} has column {self.column} twice (names differ in case at most); keep one of them, "
            "or fetch the file again with `chillflow fetch`"
        )


@dataclass(eq=False)
class MonthUnpublished(SourceError):
    url: str

    def __str__(self) -> str:
        return (
            f"{self.url} is not published; months appear about two months late (green begins with 2013-08): "
            "ask for another month, try again when it is out, or check the address"
        )


@dataclass(eq=False)
class Throttled(SourceError):
    url: str
    why: str
    tries: int

    def __str__(self) -> str:
        return (
            f"{self.url} was refused {times(self.tries)} ({self.why}): the site throttles; "
            "run the same command again in some minutes, it goes on where it stopped"
        )


@dataclass(eq=False)
class DownloadFailed(SourceError):
    url: str
    why: str
    tries: int

    def __str__(self) -> str:
        return (
            f"cannot download {self.url}, tried {times(self.tries)}: {self.why}; "
            "check the address and the network and run the same command again, it goes on where it stopped"
        )


@dataclass(eq=False)
class DownloadBusy(SourceError):
    path: str

    def __str__(self) -> str:
        return f"{self.path} is being downloaded by another process; wait for its end and run the same command again"
