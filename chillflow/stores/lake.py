"""The lake: curated months as Parquet on any Arrow filesystem, each visible through its manifest alone."""

import contextlib
import datetime as dt
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chillflow.errors import LakeCorrupt, LakeError, MonthNotCurated
from chillflow.manifests import FileEntry, Kind, Manifest, attempt_started, decode, encode
from chillflow.months import Month
from chillflow.stores.folders import Folder, diagnose, sha256, translated
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS, UUID

SCHEMAS: dict[Kind, pa.Schema] = {"trips": TRIPS, "quarantine": QUARANTINE, "adjustments": ADJUSTMENTS}
"""Columns of each kind of file; partial KPIs bring their own."""

ROW_GROUP = 131_072
SKIPPED_BY = ("pickup_at", "dropoff_at", "pickup_zone_id", "dropoff_zone_id", "hour", "zone_id")
_MANIFEST = "manifest.json"
_MONTH = re.compile(r"\d{4}-\d{2}")


@dataclass(frozen=True)
class Swept:
    """What a sweep deleted, and the faults for which it left a month alone."""

    removed: tuple[str, ...]
    left_alone: tuple[LakeError, ...]


class Lake:
    """Curated months under a path or URI (`file://`, `s3://`, `gs://`). Picklable, opens nothing early."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self._root = Folder(uri)

    def __repr__(self) -> str:
        return f"Lake({self._root.shown()!r})"

    def stage(self, service: str, month: Month, attempt: str) -> "Attempt":
        """The place for an attempt's files, `attempt` named by manifests.attempt_name; nothing in it is visible yet."""
        if attempt_started(attempt) is None:
            raise ValueError(f"{attempt!r} is no name of an attempt; make it with attempt_name()")
        return Attempt(self._root, f"{service}/{month}/{attempt}")

    def commit(self, manifest: Manifest) -> None:
        """Makes a month visible, in place of what was visible before; safe to do again.

        Raises LakeCorrupt where a file that the manifest names is not there whole, LakeUnavailable. A crash before
        step 3 leaves the month as it was, one after it has committed.
        """
        month = f"{manifest.service}/{manifest.month}"
        attempt = f"{month}/{manifest.attempt}"
        # 1. every file is there
        present = dict(self._root.entries(attempt))
        for entry in manifest.files:
            if present.get(entry.path) != entry.bytes:
                raise LakeCorrupt(self._root.shown(entry.path), f"{present.get(entry.path, 0)} of {entry.bytes} bytes")
        # 2. the names of the files are on the disk, as the files are since they were written
        with translated(self._root.shown(attempt)):
            if manifest.files:
                self._root.settle(attempt)
        # 3. the manifest names them
        self._root.write(f"{month}/{_MANIFEST}", encode(manifest), staged_in=attempt)
        # 4. the manifest's name is on the disk
        with translated(self._root.shown(month)):
            self._root.settle(month)

    def manifest(self, service: str, month: Month) -> Manifest | None:
        """A month's manifest, None if it was never curated; raises LakeUnavailable, LakeCorrupt, LakeTooNew."""
        return self._manifest(f"{service}/{month}")

    def manifests(self) -> list[Manifest]:
        """All manifests, by service and month; raises as `manifest` does."""
        found = (self._manifest(folder) for folder in self._months())
        return [manifest for manifest in found if manifest is not None]

    def read(
        self, service: str, month: Month, kind: Kind, columns: Sequence[str] | None = None, *, verify: bool = False
    ) -> Iterator[pa.Table]:
        """The rows of a kind, part by part: one row group of one file (at most 131,072 rows) at a time.

        Raises MonthNotCurated at once, and what `read_file` raises on the way.
        """
        manifest = self.manifest(service, month)
        if manifest is None:
            raise MonthNotCurated(service, str(month))
        return (table for entry in manifest.of(kind) for table in self.read_file(entry, columns, verify=verify))

    def read_file(
        self,
        entry: FileEntry,
        columns: Sequence[str] | None = None,
        *,
        verify: bool = False,
        pickups: tuple[dt.datetime, dt.datetime] | None = None,
    ) -> Iterator[pa.Table]:
        """A file's row groups with the schema of its kind, or those of its `columns`.

        Row groups none of whose pickups lie within `pickups` (begin and end) may be passed over. Size, row count and
        page checksums are always checked; `verify` checks the file's SHA-256 first, which reads it twice. Raises
        LakeCorrupt, LakeUnavailable, and KeyError for a column that the kind does not have.
        """
        place = self._root.shown(entry.path)
        schema = SCHEMAS.get(entry.kind)
        names = None if columns is None else list(columns)
        if schema is not None and names is not None:
            schema = pa.schema([schema.field(name) for name in names])
        with _reading(place):
            file = self._root.open(entry.path)
        with file:
            with _reading(place):
                parquet = _opened(file, entry, place, verify)
            for group in range(parquet.num_row_groups):
                if pickups is not None and _is_outside(parquet, group, pickups):
                    continue
                with _reading(place):
                    table = _typed(parquet.read_row_group(group, names), schema, place)
                yield table

    def sweep(self, older_than: dt.timedelta, now: dt.datetime) -> Swept:
        """Deletes what no manifest names any more: whole attempts, and strays in an attempt that one names.

        Only in months whose manifest was written more than `older_than` before `now` (a reader may still hold the one
        before), and only attempts that began that long ago (a job may still be at work): choose more than the longest
        run. A month whose manifest cannot be read is left alone.
        """
        before = now - older_than
        removed: list[str] = []
        left_alone: list[LakeError] = []
        for month in self._months():
            try:
                for name in self._unnamed(month, before):
                    self._root.remove(name)
                    removed.append(name)
            except LakeError as fault:
                left_alone.append(fault)
        return Swept(tuple(removed), tuple(left_alone))

    def _manifest(self, month: str) -> Manifest | None:
        name = f"{month}/{_MANIFEST}"
        data = self._root.read(name)
        if data is None:
            return None
        manifest = decode(data, self._root.shown(name))
        if f"{manifest.service}/{manifest.month}" != month:
            raise LakeCorrupt(self._root.shown(name), f"it is of {manifest.service} {manifest.month}")
        return manifest

    def _months(self) -> list[str]:
        services = [name for name, size in self._root.entries() if size is None]
        months = [name for service in services for name, size in self._root.entries(service) if size is None]
        return [name for name in months if _MONTH.fullmatch(name.rpartition("/")[2])]

    def _unnamed(self, month: str, before: dt.datetime) -> list[str]:
        manifest = self._manifest(month)
        if manifest is not None and manifest.written_at > before:
            return []
        named = {entry.path for entry in manifest.files} if manifest else set()
        unnamed: list[str] = []
        for attempt, _ in self._root.entries(month):
            started = attempt_started(attempt.rpartition("/")[2])
            if started is None or started > before:
                continue
            if manifest is None or attempt != f"{month}/{manifest.attempt}":
                unnamed.append(attempt)
            else:
                unnamed += [
                    name for name, size in self._root.entries(attempt) if size is not None and name not in named
                ]
        return unnamed


@dataclass(frozen=True)
class Attempt:
    """One try at curating a month: a folder of its own, invisible until the lake commits its manifest. Picklable."""

    root: Folder
    folder: str

    def write(self, kind: Kind, part: int, table: pa.Table) -> FileEntry:
        """Writes a part's rows (schema of the kind, sorted by pickup) and returns its entry for the manifest.

        Written again, the part replaces itself. Raises LakeUnavailable.
        """
        schema = SCHEMAS.get(kind, table.schema)
        if not table.schema.equals(schema):
            raise ValueError(f"{kind} has the columns {schema}, not {table.schema}")
        data = parquet(table)
        name = f"{self.folder}/{kind}-{part:05d}.parquet"
        self.root.write(name, data)
        return FileEntry(kind, name, table.num_rows, data.size, hashlib.sha256(data).hexdigest())


def parquet(table: pa.Table) -> pa.Buffer:
    """A table as a Parquet file that every reader understands: nothing in it is Arrow's own.

    Times as deltas, ids plain, all else by dictionary: the fastest and smallest of what DuckDB and Polars can read.
    Statistics only of the columns that readers skip rows by.
    """
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    dictionaries = [field.name for field in table.schema if field.name not in times and field.type != UUID]
    options: dict[str, Any] = {
        "row_group_size": ROW_GROUP,
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": dictionaries,
        "column_encoding": dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        "store_decimal_as_integer": True,
        "store_schema": False,
        "write_page_checksum": True,
        "write_statistics": [name for name in SKIPPED_BY if name in table.schema.names],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
    """Turns what reading a file that a manifest names may raise into LakeCorrupt, but for faults of the storage."""
    try:
        yield
    except FileNotFoundError as fault:
        raise LakeCorrupt(place, "it is gone") from fault
    except pa.ArrowException as fault:
        raise LakeCorrupt(place, str(fault)) from fault
    except OSError as fault:
        if diagnose(fault) is None:
            raise LakeCorrupt(place, str(fault)) from fault
        with translated(place):
            raise


def _opened(file: pa.NativeFile, entry: FileEntry, place: str, verify: bool) -> pq.ParquetFile:
    if file.size() != entry.bytes:
        raise LakeCorrupt(place, f"{file.size()} bytes where the manifest names {entry.bytes}")
    if verify and sha256(file) != entry.sha256:
        raise LakeCorrupt(place, "its SHA-256 is not the manifest's")
    opened = pq.ParquetFile(file, page_checksum_verification=True)
    if opened.metadata.num_rows != entry.rows:
        raise LakeCorrupt(place, f"{opened.metadata.num_rows} rows where the manifest names {entry.rows}")
    return opened


def _is_outside(parquet: pq.ParquetFile, group: int, pickups: tuple[dt.datetime, dt.datetime]) -> bool:
    """Whether the statistics say that a row group has no pickup within the bounds."""
    column = parquet.schema_arrow.names.index("pickup_at")
    told = parquet.metadata.row_group(group).column(column).statistics
    return told is not None and told.has_min_max and (told.max < pickups[0] or told.min >= pickups[1])


def _typed(table: pa.Table, schema: pa.Schema | None, place: str) -> pa.Table:
    if schema is None:
        return table
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise LakeCorrupt(place, f"it has no column {missing[0]}")
    return table.select(schema.names).cast(schema)
