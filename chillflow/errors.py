"""One error tree. Each error carries data, writes its own sentence with the remedy, and pickles."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar


class ChillFlowError(Exception):
    """Base of every error that ChillFlow raises on purpose.

    Subclasses are dataclasses: the fields are the data, `__str__` is one lower-case sentence without a full stop that
    names the fault and the remedy. `exit_code` is what the command line ends with: 1 failed, 2 wrong usage, 3 data
    differ.
    """

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


class UsageError(ChillFlowError):
    """The call is wrong; nothing was tried."""

    exit_code: ClassVar[int] = 2


@dataclass(eq=False)
class BadMonths(UsageError):
    text: str
    why: str

    def __str__(self) -> str:
        return (
            f"cannot read {self.text!r} as months: {self.why}; "
            "write 2019-01, 2019-01..2019-06 or 2019-01,2019-03..2019-05"
        )


@dataclass(eq=False)
class BadService(UsageError):
    service: str

    def __str__(self) -> str:
        return f"unknown service {self.service!r}; ChillFlow reads yellow and green trips"


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
class ServiceDown(ChillFlowError):
    """A service that does not answer; never shows a password."""

    service: str
    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.service} at {self.address} does not answer ({self.why}); "
            "start the embedded services with `chillflow up`, or check the address with `chillflow status`"
        )


@dataclass(eq=False)
class NotRunning(ChillFlowError):
    """A service that was neither started nor named."""

    service: str
    variable: str

    def __str__(self) -> str:
        return f"{self.service} is not running; start it with `chillflow up`, or name another one in {self.variable}"


@dataclass(eq=False)
class NoSuchEra(UsageError):
    service: str
    month: str
    first: str

    def __str__(self) -> str:
        return f"there are no {self.service} files with zones for {self.month}; choose {self.first} or later"


@dataclass(eq=False)
class FolderUnwritable(ChillFlowError):
    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.why}; free some space, or choose another folder"
