"""Small months for the lake's tests: tables of every kind and the manifests that name their files."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from chillflow.manifests import FileEntry, Kind, Manifest, Source, attempt_name
from chillflow.months import Month
from chillflow.stores.lake import SCHEMAS, Attempt, Lake
from chillflow.trips import UUID

MONTH = Month(2019, 1)
BEGAN = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)

KPIS = pa.table(
    {
        "service": ["yellow", "yellow"],
        "zone_id": pa.array([132, 265], pa.int32()),
        "hour": pa.array([MONTH.start, None], pa.timestamp("us")),
        "pickups": pa.array([3, 4]),
    }
)


def rows(kind: Kind, count: int, seed: int = 0) -> pa.Table:
    """`count` random rows with the schema of a kind, a tenth of every value but ids and pickups null."""
    random = np.random.default_rng(seed)
    return pa.table([_column(field, count, random) for field in SCHEMAS[kind]], schema=SCHEMAS[kind])


def name(number: int = 0, began: dt.datetime = BEGAN) -> str:
    return attempt_name(began, f"try{number}")


def stage(lake: Lake, tables: Mapping[Kind, pa.Table], number: int = 0, **where: Any) -> tuple[FileEntry, ...]:
    """Writes one part of each kind in an attempt of `service` and `month`."""
    attempt: Attempt = lake.stage(where.get("service", "yellow"), where.get("month", MONTH), name(number))
    return tuple(attempt.write(kind, 0, table) for kind, table in tables.items())


def manifest(files: tuple[FileEntry, ...], **changes: Any) -> Manifest:
    """A manifest of the attempt that the files lie in."""
    service, month, attempt = files[0].path.split("/")[:3] if files else ("yellow", str(MONTH), name())
    count = {kind: sum(entry.rows for entry in files if entry.kind == kind) for kind in SCHEMAS}
    facts: dict[str, Any] = {
        "service": service,
        "month": month,
        "attempt": attempt,
        "files": files,
        "rows_in": sum(count.values()),
        "trips": count["trips"],
        "quarantined": count["quarantine"],
        "adjustments": count["adjustments"],
        "rules": {"reversal": count["adjustments"], "no_movement": count["quarantine"]},
        "flags": {"unknown_zone": 1},
        "source": Source("/data/yellow_tripdata_2019-01.parquet", 1000, BEGAN - DAY, etag="abc"),
        "code_version": "0.1.0",
        "rules_version": 1,
        "written_at": BEGAN,
        "seconds": 1.5,
        "warnings": ("column `new` is not known",),
    }
    return Manifest(**(facts | changes))


def publish(lake: Lake, tables: Mapping[Kind, pa.Table], number: int = 0, **changes: Any) -> Manifest:
    """Stages and commits a month in one go."""
    where = {key: changes.pop(key) for key in ("service", "month") if key in changes}
    made = manifest(stage(lake, tables, number, **where), **changes)
    lake.commit(made)
    return made


def _column(field: pa.Field, count: int, random: np.random.Generator) -> pa.Array:
    if field.type == UUID:
        storage = pa.array([random.bytes(16) for _ in range(count)], pa.binary(16))
        return pa.ExtensionArray.from_storage(UUID, storage)
    if field.name == "pickup_at":
        seconds = np.sort(random.integers(0, 31 * 86_400, count)) * 1_000_000
        return pa.array(np.datetime64(MONTH.start, "us") + seconds, field.type)
    absent = random.random(count) < 0.1
    if pa.types.is_decimal(field.type):
        cents = pa.array(random.integers(-999_999_999, 1_000_000_000, count).astype("i4"), mask=absent)
        return pa.Array.from_buffers(field.type, count, cents.buffers(), cents.null_count)
    if pa.types.is_timestamp(field.type):
        return pa.array(np.datetime64(MONTH.start, "us") + random.integers(0, 1 << 41, count), field.type, mask=absent)
    if pa.types.is_string(field.type):
        return pa.array(random.choice(["yellow", "N", "", "é€"], count).astype(object), field.type, mask=absent)
    if pa.types.is_floating(field.type):
        return pa.array(np.round(random.random(count) * 20, 2), field.type, mask=absent)
    return pa.array(random.integers(0, 300, count), field.type, mask=absent)
