"""TLC files: their names, and their eras' columns as one canonical raw frame (trips.RAW in the kernels' form).

Columns are known by name, in any order and case; types differ by era. What a file calls a column, which type it has
and whether it may be absent is in COLUMNS; docs/data.md tells the eras.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chillflow.errors import EraWithoutZones, MissingColumn, NotWhole, SourceUnreadable, WrongColumnType
from chillflow.months import Month
from chillflow.trips import MAX_CENTS, MONEY, RAW_COLUMNS, SERVICE

MAX_BLOCK_ROWS = 1_048_576
_BATCH_ROWS = 131_072
_INT32 = np.iinfo(np.int32)
_NAME = re.compile(r"(yellow|green)_tripdata_(\d{4}-\d{2})\.parquet")

COLUMNS: Mapping[str, str] = {
    "vendorid": "vendor_id",
    "tpep_pickup_datetime": "pickup_at",
    "lpep_pickup_datetime": "pickup_at",
    "tpep_dropoff_datetime": "dropoff_at",
    "lpep_dropoff_datetime": "dropoff_at",
    "pulocationid": "pickup_zone_id",
    "dolocationid": "dropoff_zone_id",
    "passenger_count": "passenger_count",
    "trip_distance": "trip_distance",
    "ratecodeid": "rate_code",
    "store_and_fwd_flag": "store_and_fwd",
    "payment_type": "payment_type",
    "trip_type": "trip_type",
    "request_source": "request_source",
    **{name: name for name in MONEY},
}
"""The files' names in lower case, and the canonical ones."""

OPTIONAL = frozenset(
    {"improvement_surcharge", "congestion_surcharge", "airport_fee", "cbd_congestion_fee", "request_source", "trip_type"}
)
"""Columns that some eras lack."""

IGNORED = "ehail_fee"
"""Known, always empty, and not kept."""

_COORDINATES = ("start_lon", "pickup_longitude")


@dataclass(frozen=True)
class Block:
    """A bounded piece of a file: a row group, or a slice of one that holds more than MAX_BLOCK_ROWS.

    `first_row` is the ordinal in the file of the block's first row, `offset` the rows before it in the row group.
    """

    path: str
    service: str
    row_group: int
    first_row: int
    offset: int
    rows: int


@dataclass(frozen=True)
class FileFacts:
    """What a file's footer tells: its rows, its blocks in file order, and warnings about columns that are not kept."""

    rows: int
    blocks: tuple[Block, ...]
    warnings: tuple[str, ...]


def file_name(service: str, month: Month) -> str:
    """The name under which the TLC publishes a month."""
    return f"{service}_tripdata_{month}.parquet"


def parse_name(name: str) -> tuple[str, Month] | None:
    """The service and month of a file by its name; None for other files."""
    match = _NAME.fullmatch(name)
    return (match[1], Month.parse(match[2])) if match else None


def inspect(file: Any, path: str, service: str) -> FileFacts:
    """Reads the footer of an opened file; `path` is for messages.

    Raises SourceUnreadable, EraWithoutZones, MissingColumn, WrongColumnType.
    """
    with _translated(path):
        parquet = pq.ParquetFile(file)
    names = _names(parquet.schema_arrow, path, service)
    for column, name in names.items():
        _check_type(path, column, name, parquet.schema_arrow.field(column).type)
    metadata = parquet.metadata
    if metadata.num_rows == 0:
        raise SourceUnreadable(path, "it holds no rows")
    return FileFacts(
        rows=metadata.num_rows,
        blocks=tuple(_blocks(metadata, path, service)),
        warnings=tuple(_warnings(parquet, names, path)),
    )


def read(file: Any, block: Block) -> pl.DataFrame:
    """A block's rows as canonical raw columns, money in cents, `source_row` counted from the file's begin.

    What a canonical column cannot hold (an amount that is NaN or outside decimal(9,2), a number outside int32) becomes
    null and is named in `unrepresentable`. Raises SourceUnreadable, NotWhole.
    """
    parts: list[pl.DataFrame] = []
    with _translated(block.path):
        parquet = pq.ParquetFile(file)
        names = _names(parquet.schema_arrow, block.path, block.service)
        first = block.first_row
        for batch in _batches(parquet, block, list(names)):
            parts.append(_canonical(batch.rename_columns([names[name] for name in batch.schema.names]), block, first))
            first += len(batch)
    return pl.concat(parts, rechunk=True)


def _names(schema: pa.Schema, path: str, service: str) -> dict[str, str]:
    """The file's columns that are kept, and their canonical names."""
    found: dict[str, str] = {}
    prefix = "lpep" if service == "yellow" else "tpep"
    for column in schema.names:
        name = column.lower()
        if name in _COORDINATES:
            raise EraWithoutZones(path, column)
        if name in COLUMNS and not name.startswith(prefix):
            found[column] = COLUMNS[name]
    for name in RAW_COLUMNS:
        if name not in found.values() and name not in OPTIONAL and name != "service":
            raise MissingColumn(path, _published(name, service))
    return found


def _published(name: str, service: str) -> str:
    other = "lpep" if service == "yellow" else "tpep"
    return next(column for column, known in COLUMNS.items() if known == name and not column.startswith(other))


def _check_type(path: str, column: str, name: str, kind: pa.DataType) -> None:
    wanted = RAW_COLUMNS[name]
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(wanted):
        fits, expected = pa.types.is_timestamp(kind) and kind.tz is None, "a timestamp without time zone"
    elif pa.types.is_string(wanted):
        fits = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        expected = "text"
    else:
        fits = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        expected = "a number"
    if not fits and not pa.types.is_null(kind):
        raise WrongColumnType(path, column, str(kind), expected)


def _blocks(metadata: pq.FileMetaData, path: str, service: str) -> Iterator[Block]:
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        for offset in range(0, rows, MAX_BLOCK_ROWS):
            yield Block(path, service, group, first + offset, offset, min(MAX_BLOCK_ROWS, rows - offset))
        first += rows


def _warnings(parquet: pq.ParquetFile, names: Mapping[str, str], path: str) -> Iterator[str]:
    unknown = [name for name in parquet.schema_arrow.names if name not in names]
    for name in unknown:
        if name.lower() != IGNORED:
            yield f"column {name} is not known and not kept"
            continue
        with _translated(path):
            values = sum(len(batch) - batch.column(0).null_count for batch in parquet.iter_batches(columns=[name]))
        if values:
            yield f"column {name} is usually empty and not kept, here it holds {values:,} values"


def _batches(parquet: pq.ParquetFile, block: Block, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The block's rows in batches; only slices of a row group skip rows."""
    skip, left = block.offset, block.rows
    for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[block.row_group], columns=columns, use_threads=False):
        piece = batch.slice(skip, left)
        skip -= min(skip, len(batch))
        if len(piece):
            left -= len(piece)
            yield piece
        if not left:
            return


def _canonical(batch: pa.RecordBatch, block: Block, first: int) -> pl.DataFrame:
    """Canonical columns of a batch whose columns have their canonical names."""
    rows = len(batch)
    columns: list[pl.Series] = []
    unfit: dict[str, pl.Series] = {}
    for name, wanted in RAW_COLUMNS.items():
        if name == "service":
            columns.append(pl.repeat(block.service, rows, dtype=SERVICE, eager=True).alias(name))
            continue
        if name not in batch.schema.names or pa.types.is_null(batch.schema.field(name).type):
            columns.append(pl.Series(name, pa.nulls(rows, pa.int32() if name in MONEY else wanted)))
            continue
        given = pl.Series(name, _plain(batch.column(name)))
        if name in MONEY:
            column, bad = _cents(given)
        elif pa.types.is_integer(wanted):
            column, bad = _whole(given, block.path, first)
        else:
            column, bad = given.cast(_POLARS[wanted]), None
        columns.append(column)
        if bad is not None:
            unfit[name] = pl.select(pl.when(pl.lit(bad)).then(pl.lit(given))).to_series()
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        source_row=pl.int_range(first, first + rows, dtype=pl.Int64), unrepresentable=_named(unfit)
    )


def _plain(column: pa.Array) -> pa.Array:
    """Decimals as floats with two places at the most: exact up to 15 digits."""
    if pa.types.is_decimal(column.type):
        return pc.round(column, 2, "half_to_even").cast(pa.float64())
    return column


_POLARS = {pa.timestamp("us"): pl.Datetime("us"), pa.string(): pl.String, pa.float64(): pl.Float64}


def _cents(dollars: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Dollars as int32 cents, rounded half-even; and which of them are no amount of decimal(9,2), if any."""
    hundredths = dollars.cast(pl.Float64).fill_null(0.0).to_numpy() * 100.0
    with np.errstate(invalid="ignore"):
        fits = np.abs(hundredths) < MAX_CENTS + 0.5  # False for NaN
        cents = np.rint(hundredths if fits.all() else np.where(fits, hundredths, 0.0)).astype(np.int32)
    return _nulled(pl.Series(dollars.name, cents), dollars, fits)


def _whole(numbers: pl.Series, path: str, first: int) -> tuple[pl.Series, pl.Series | None]:
    """Whole numbers of any type as int32; and which of them are outside it, if any."""
    if numbers.dtype == pl.Int32:
        return numbers, None
    if numbers.dtype.is_float():
        numbers = numbers.cast(pl.Float64).fill_nan(None)
        values = numbers.fill_null(0.0).to_numpy()
        broken = np.flatnonzero(values != np.rint(values))
        if len(broken):
            row = int(broken[0])
            raise NotWhole(path, numbers.name, float(values[row]), first + row)
    values = numbers.fill_null(0).to_numpy()
    fits = (values >= _INT32.min) & (values <= _INT32.max)
    return _nulled(pl.Series(numbers.name, np.where(fits, values, 0).astype(np.int32)), numbers, fits)


def _nulled(column: pl.Series, given: pl.Series, fits: Any) -> tuple[pl.Series, pl.Series | None]:
    whole = bool(fits.all())
    if whole and not given.null_count():
        return column, None
    valid = given.is_not_null() if whole else given.is_not_null() & pl.Series(fits)
    column = pl.select(pl.when(pl.lit(valid)).then(pl.lit(column)).alias(column.name)).to_series()
    return column, None if whole else ~pl.Series(fits)


def _named(unfit: Mapping[str, pl.Series]) -> pl.Expr:
    """`column=value, ..` of the values that did not fit."""
    if not unfit:
        return pl.lit(None, pl.String)
    texts = [
        pl.when(pl.lit(values).is_not_null()).then(pl.lit(f"{name}=") + pl.lit(values).cast(pl.String))
        for name, values in unfit.items()
    ]
    text = pl.concat_str(texts, separator=", ", ignore_nulls=True)
    return pl.when(text != "").then(text)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turns what pyarrow raises of a file's content into one sentence; storage errors are translated where it is opened."""
    try:
        yield
    except pa.ArrowInvalid as fault:
        raise SourceUnreadable(path, _reason(file_fault=str(fault))) from fault
    except (pa.ArrowException, OSError) as fault:
        raise SourceUnreadable(path, f"its content is damaged ({_first_line(str(fault))})") from fault


def _reason(file_fault: str) -> str:
    if "file size is 0 bytes" in file_fault:
        return "it is empty"
    if "magic bytes not found" in file_fault or "smaller than the minimum" in file_fault:
        return "it is no whole Parquet file (cut off, or another kind of file under this name)"
    return f"its content is damaged ({_first_line(file_fault)})"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".") if text.strip() else "no detail"
