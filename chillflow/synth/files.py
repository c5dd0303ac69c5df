"""A month's two files: the rows as the city publishes them, and their truth."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chillflow.errors import FolderUnwritable
from chillflow.months import Month
from chillflow.synth.dice import Floats, Ints
from chillflow.synth.months import Synthetic, synthesize
from chillflow.synth.rides import FLAGS, SOURCES
from chillflow.synth.rows import HUGE, INFINITE, MINUS_HUGE, NAN, NO_TIME, NULL, TIMES, Rows
from chillflow.synth.truth import SCHEMA as TRUTH
from chillflow.synth.truth import truth_table

ROW_GROUP = 1_048_576
TEXTS = {"store_and_fwd": FLAGS, "request_source": SOURCES}


@dataclass(frozen=True)
class Made:
    """A month that was written."""

    service: str
    month: Month
    rows: int
    seed: int
    path: Path
    truth: Path


def write_month(
    service: str, month: Month, rows: int, seed: int, folder: Path, row_group_rows: int = ROW_GROUP
) -> Made:
    """Writes `{service}_tripdata_{month}.parquet` and its `.truth.parquet` into `folder`, each whole or not at all.

    Row groups hold `row_group_rows` rows. Raises NoSuchEra, and FolderUnwritable where the folder cannot take them.
    """
    path = folder / f"{service}_tripdata_{month}.parquet"
    truth = path.with_suffix(".truth.parquet")
    made = synthesize(service, month, rows, seed)
    groups = [(start, start + row_group_rows) for start in range(0, max(rows, 1), row_group_rows)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, made.era.schema, (source_table(made, *group) for group in groups))
        _write(truth, TRUTH, (truth_table(made.truth, made.rows, *group) for group in groups))
    except OSError as error:
        raise FolderUnwritable(str(folder), error.strerror or str(error)) from error
    return Made(service, month, rows, seed, path, truth)


def _write(path: Path, schema: pa.Schema, groups: Iterable[pa.Table]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for group in groups:
                writer.write_table(group, max(len(group), 1))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def source_table(made: Synthetic, start: int, stop: int) -> pa.Table:
    """Rows `start` to `stop` as the city's columns."""
    at = slice(start, stop)
    arrays = [
        _array(made.rows, name, field.type, at) for name, field in zip(made.era.canonical, made.era.schema, strict=True)
    ]
    return pa.table(arrays, schema=made.era.schema)


def _array(rows: Rows, name: str, kind: pa.DataType, at: slice) -> "pa.Array[Any]":
    if pa.types.is_null(kind) or name == "ehail_fee":
        return pa.array([], kind).take(pa.nulls(len(rows.columns["pickup_at"][at]), pa.int64()))
    values = rows.get(name, at)
    if name in TIMES:
        missing = values == NO_TIME
        return pa.array(np.where(missing, 0, values * 1_000_000), mask=missing).cast(kind)
    if name in TEXTS:
        return pa.array(TEXTS[name], kind).take(pa.array(values, pa.int64(), mask=values == NULL))
    if pa.types.is_floating(kind):
        scale = 1.0 if name in ("passenger_count", "rate_code", "payment_type", "trip_type") else 100.0
        return pa.array(_numbers(values, scale), mask=values == NULL)
    return pa.array(values, mask=values == NULL).cast(kind)


def _numbers(values: Ints, scale: float) -> Floats:
    numbers: Floats = values / scale
    for mark, number in ((NAN, np.nan), (INFINITE, np.inf), (HUGE, 1e12), (MINUS_HUGE, -1e12)):
        numbers[values == mark] = number
    return numbers
