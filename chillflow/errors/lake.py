"""The lake of curated months."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError


class LakeError(ChillFlowError):
    """The lake cannot be read or written."""


@dataclass(eq=False)
class LakeUnavailable(LakeError):
    """The storage refuses; never shows a password."""

    place: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"cannot use {self.place}: {self.why}; {self.remedy}"


@dataclass(eq=False)
class LakeCorrupt(LakeError):
    place: str
    why: str

    def __str__(self) -> str:
        return f"{self.place} is damaged: {self.why}; curate its month again with `chillflow curate .. --force`"


@dataclass(eq=False)
class LakeTooNew(LakeError):
    place: str
    found: int
    known: int

    def __str__(self) -> str:
        return (
            f"{self.place} has format {self.found}, this ChillFlow reads up to {self.known}; "
            "update ChillFlow, or use the version that wrote it"
        )


@dataclass(eq=False)
class MonthNotCurated(LakeError):
    service: str
    month: str

    def __str__(self) -> str:
        return (
            f"{self.service} {self.month} is not in the lake; "
            f"curate it first with `chillflow curate {self.service} {self.month}`"
        )
