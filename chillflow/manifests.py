"""Manifests: what makes a curated month visible, as pure values and as JSON."""

import datetime as dt
import re
from collections import Counter
from typing import Annotated, Literal, get_args

import msgspec

from chillflow.errors import LakeCorrupt, LakeTooNew

FORMAT = 1
"""Raised whenever a reader of the format before could misread a manifest."""

Kind = Literal["trips", "quarantine", "adjustments", "kpis"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Count = Annotated[int, msgspec.Meta(ge=0)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Time = Annotated[dt.datetime, msgspec.Meta(tz=True)]

_ATTEMPT = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-z]+")
_STAMP = "%Y%m%dT%H%M%SZ"


def attempt_name(started: dt.datetime, suffix: str) -> str:
    """The name of an attempt that began at `started` (aware), unique by `suffix` (lower-case letters and digits)."""
    name = f"{started.astimezone(dt.UTC):{_STAMP}}-{suffix}"
    if attempt_started(name) is None:
        raise ValueError(f"an attempt's suffix has lower-case letters and digits only, not {suffix!r}")
    return name


def attempt_started(name: str) -> dt.datetime | None:
    """When an attempt began (UTC), by its name; None if that is no attempt's name."""
    match = _ATTEMPT.fullmatch(name)
    try:
        return dt.datetime.strptime(match[1], _STAMP).replace(tzinfo=dt.UTC) if match else None
    except ValueError:
        return None


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data file. `path` is relative to the lake's root, `bytes` and `sha256` are those of the whole file."""

    kind: Kind
    path: str
    rows: Count
    bytes: Count
    sha256: Sha256


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The facts of a source file by which a change of it is noticed.

    `etag` and `url` are the publisher's, where they are known; `sha256` where somebody computed it.
    """

    path: str
    size: Count
    modified: Time | None = None
    etag: str | None = None
    url: str | None = None
    sha256: Sha256 | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A curated month: its files and how they came to be.

    `month` is written `2019-01`. `rules` and `flags` count rows by name. rows_in = trips + quarantined + adjustments,
    each the sum of its files' rows: a manifest that does not add up cannot be made. `seconds` is how long the
    curation took.
    """

    format: int = FORMAT
    service: str
    month: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}$")]
    attempt: str
    files: tuple[FileEntry, ...]
    rows_in: Count
    trips: Count
    quarantined: Count
    adjustments: Count
    rules: dict[str, Count]
    flags: dict[str, Count]
    source: Source
    code_version: str
    rules_version: int
    written_at: Time
    seconds: float
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows: Counter[str] = Counter()
        for entry in self.files:
            rows[entry.kind] += entry.rows
        told = {"trips": self.trips, "quarantine": self.quarantined, "adjustments": self.adjustments}
        for kind, count in told.items():
            if rows[kind] != count:
                raise ValueError(f"{count} rows of {kind} are told, its files hold {rows[kind]}")
        if self.rows_in != sum(told.values()):
            raise ValueError(f"{self.rows_in} rows came in, {sum(told.values())} are accounted for")
        if attempt_started(self.attempt) is None:
            raise ValueError(f"{self.attempt!r} is no name of an attempt")
        folder = f"{self.service}/{self.month}/{self.attempt}/"
        for entry in self.files:
            if not entry.path.startswith(folder) or "/" in entry.path[len(folder) :]:
                raise ValueError(f"{entry.path} does not lie in {folder}")
        if len({entry.path for entry in self.files}) != len(self.files):
            raise ValueError("a file is named twice")

    def of(self, kind: Kind) -> tuple[FileEntry, ...]:
        """The files of a kind, in the order of their parts."""
        return tuple(sorted((entry for entry in self.files if entry.kind == kind), key=lambda entry: entry.path))


class _Version(msgspec.Struct):
    format: int


def encode(manifest: Manifest) -> bytes:
    """A manifest as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode(data: bytes, path: str) -> Manifest:
    """The manifest read from `path`; raises LakeTooNew for a later format, LakeCorrupt for anything else amiss."""
    try:
        found = msgspec.json.decode(data, type=_Version).format
        if found > FORMAT:
            raise LakeTooNew(path, found, FORMAT)
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise LakeCorrupt(path, f"it is no manifest: {fault}") from fault
