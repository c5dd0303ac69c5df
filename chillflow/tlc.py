"""TLC files: their names, and their eras' columns as one canonical raw frame (trips.RAW in the kernels' form).

Which columns there are and what they are called is in columns.py; docs/data.md tells the eras.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chillflow.columns import IGNORED, kept
from chillflow.errors import NotWhole, SourceUnreadable
from chillflow.months import Month
from chillflow.trips import MAX_CENTS, MONEY, RAW_COLUMNS, SERVICE, WALL_TIME

MAX_BLOCK_ROWS = 524_288
_KINDS = {pa.string(): pl.String(), pa.float64(): pl.Float64(), WALL_TIME: pl.Datetime("us")}  # the others are Int32
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800  # seconds since 1970
_TIME = pl.Datetime("us")
_PER_SECOND: Mapping[pl.DataType, int] = {pl.Datetime("ms"): 1_000, _TIME: 1_000_000}  # nanoseconds always fit
_INT32 = np.iinfo(np.int32)


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


def url(source: str, service: str, month: Month) -> str:
    """The address of a month's file below `source`."""
    return f"{source.rstrip('/')}/{file_name(service, month)}"


def inspect(file: Any, path: str, service: str) -> FileFacts:
    """Reads the footer of an opened file; `path` is for messages.

    Raises SourceUnreadable, EraWithoutZones, MissingColumn, ColumnTwice, WrongColumnType.
    """
    with _translated(path):
        parquet = pq.ParquetFile(file)
        names = kept(parquet.schema_arrow, path, service)
        metadata = parquet.metadata
    blocks = tuple(_blocks(metadata, path, service))
    if metadata.num_rows != sum(block.rows for block in blocks):
        raise SourceUnreadable(path, "its footer contradicts itself on the number of rows")
    if not blocks:
        raise SourceUnreadable(path, "it holds no rows")
    return FileFacts(
        rows=metadata.num_rows,
        blocks=blocks,
        warnings=tuple(_warnings(parquet, names, path)),
    )


def read(file: Any, block: Block) -> pl.DataFrame:
    """A block's rows as canonical raw columns, money in cents, `source_row` counted from the file's begin.

    What a canonical column cannot hold (an amount that is NaN or outside decimal(9,2), a number outside int32, text
    with a NUL) becomes null and is named in `unrepresentable`. Raises SourceUnreadable, NotWhole.
    """
    (frame,) = read_blocks(file, [block])
    return frame


def read_blocks(file: Any, blocks: Sequence[Block]) -> Iterator[pl.DataFrame]:
    """Blocks of one row group in order, each as `read` gives it; the row group is decoded once."""
    path, group = blocks[0].path, blocks[0].row_group
    with _translated(path):
        parquet = pq.ParquetFile(file)
        names = kept(parquet.schema_arrow, path, blocks[0].service)
        if group >= parquet.num_row_groups:
            raise SourceUnreadable(path, "it changed while it was read", "run again once nothing replaces it")
        batches = parquet.iter_batches(MAX_BLOCK_ROWS, row_groups=[group], columns=list(names), use_threads=False)
    pieces = _Pieces(batches)
    named = {name: column for column, name in names.items()}
    for block in blocks:
        with _translated(path):
            first = block.first_row
            parts: list[pl.DataFrame] = []
            for piece in pieces.of(block):
                parts.append(_canonical(piece, named, block, first))
                first += len(piece)
            if first != block.first_row + block.rows:
                why = f"its footer tells of {block.rows} rows where {first - block.first_row} are found"
                raise SourceUnreadable(path, why)
            frame = pl.concat(parts, rechunk=True)
        yield frame


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


class _Pieces:
    """A row group's batches, cut at the borders of blocks."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._batch: pa.RecordBatch | None = None
        self._at = 0

    def of(self, block: Block) -> Iterator[pa.RecordBatch]:
        """The block's rows; rows before it are passed over."""
        end = block.offset + block.rows
        while self._at < end:
            batch = self._batch if self._batch is not None else next(self._batches, None)
            if batch is None:
                return
            taken = min(len(batch), end - self._at)
            passed = min(max(block.offset - self._at, 0), taken)
            self._batch = batch.slice(taken) if taken < len(batch) else None
            self._at += taken
            if passed < taken:
                yield batch.slice(passed, taken - passed)


def _canonical(batch: pa.RecordBatch, named: Mapping[str, str], block: Block, first: int) -> pl.DataFrame:
    """Canonical columns of a batch; `named` tells what the file calls them."""
    rows = len(batch)
    columns: list[pl.Series] = []
    unfit: dict[str, pl.Series] = {}
    for name, wanted in RAW_COLUMNS.items():
        if name == "service":
            columns.append(pl.repeat(block.service, rows, dtype=SERVICE, eager=True).alias(name))
            continue
        given = batch.column(named[name]) if name in named else None
        if given is None or pa.types.is_null(given.type):
            columns.append(pl.repeat(None, rows, dtype=_KINDS.get(wanted, pl.Int32()), eager=True).alias(name))
            continue
        bad = None
        if name in MONEY:
            values = pl.Series(name, _dollars(given))
            column, bad = _cents(values)
        elif pa.types.is_integer(wanted):
            values = pl.Series(name, _floating(given))
            column, bad = _whole(values, block.path, named[name], first)
        elif pa.types.is_timestamp(wanted):
            values = pl.Series(name, given)
            column, bad = _times(values)
        elif pa.types.is_string(wanted):
            text = _text(given, named[name])
            column = values = pl.Series(name, text)
            if _may_hold_nul(text):
                column, bad = _storable(values)
        else:
            column = pl.Series(name, _floating(given)).cast(pl.Float64)
        columns.append(column)
        if bad is not None:
            if values.dtype == pl.String:
                values = values.str.replace_all("\0", r"\0", literal=True)
            unfit[name] = pl.select(pl.when(pl.lit(bad)).then(pl.lit(values.to_physical()))).to_series()
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        source_row=pl.int_range(first, first + rows, dtype=pl.Int64), unrepresentable=_named(unfit)
    )


def _floating(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """Decimals as the nearest floats, which Arrow's direct cast misses."""
    return column.cast(pa.string()).cast(pa.float64()) if pa.types.is_decimal(column.type) else column


def _dollars(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """Decimals as floats with two places at the most: exact up to 15 digits."""
    if pa.types.is_decimal(column.type) and column.type.scale > 2:
        column = pc.round(column.cast(pa.decimal256(76, column.type.scale)), 2, "half_to_even")
    return _floating(column)


def _text(column: "pa.Array[Any]", name: str) -> "pa.Array[Any]":
    """Text that is UTF-8 for certain: Parquet's readers let anything pass."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as fault:
        raise pa.ArrowInvalid(f"column {name} holds text that is not UTF-8") from fault
    return column


def _cents(dollars: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Dollars as int32 cents, rounded half-even; and which of them are no amount of decimal(9,2), if any."""
    with np.errstate(invalid="ignore", over="ignore"):
        cents = dollars.cast(pl.Float64).fill_null(0.0).to_numpy() * 100.0
        np.rint(cents, out=cents)
        fits = _between(cents, -MAX_CENTS, MAX_CENTS)
    return _nulled(_int32(dollars.name, cents, fits), dollars, fits)


def _whole(numbers: pl.Series, path: str, column: str, first: int) -> tuple[pl.Series, pl.Series | None]:
    """Whole numbers of any type as int32; and which of them are outside it, if any."""
    if numbers.dtype == pl.Int32:
        return numbers, None
    if numbers.dtype.is_float():
        numbers = numbers.cast(pl.Float64).fill_nan(None)
        values = numbers.fill_null(0.0).to_numpy()
        broken = np.flatnonzero(values != np.rint(values))
        if len(broken):
            row = int(broken[0])
            raise NotWhole(path, column, float(values[row]), first + row)
    values = numbers.fill_null(0).to_numpy()
    fits = _between(values, _INT32.min, _INT32.max)
    return _nulled(_int32(numbers.name, values, fits), numbers, fits)


def _times(times: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Wall times in microseconds; and which of them lie outside the years 1 to 9999, if any."""
    scale = _PER_SECOND.get(times.dtype)
    if scale is None:
        return times.cast(_TIME), None
    fits = _between(times.to_physical().fill_null(0).to_numpy(), _YEAR_1 * scale, _YEAR_10000 * scale - 1)
    column, bad = _nulled(times, times, fits)
    return column.cast(_TIME), bad


def _may_hold_nul(texts: "pa.Array[Any]") -> bool:
    """False where none does, as nearly always: one look at all characters."""
    buffers = texts.buffers()
    return pa.types.is_string_view(texts.type) or (buffers[2] is not None and b"\0" in buffers[2].to_pybytes())


def _storable(texts: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Text without the NUL character, which PostgreSQL cannot store; and which of them held it, if any."""
    bad = texts.str.contains("\0", literal=True).fill_null(False)
    if not bad.any():
        return texts, None
    return pl.select(pl.when(~pl.lit(bad)).then(pl.lit(texts)).alias(texts.name)).to_series(), bad


def _between(values: Any, lowest: int, highest: int) -> Any:
    """Which values lie in the range, NaN never; None if all do, as nearly always."""
    if not len(values) or (values.min() >= lowest and values.max() <= highest):
        return None
    return (values >= lowest) & (values <= highest)


def _int32(name: str, values: Any, fits: Any) -> pl.Series:
    return pl.Series(name, (values if fits is None else np.where(fits, values, 0)).astype(np.int32))


def _nulled(column: pl.Series, given: pl.Series, fits: Any) -> tuple[pl.Series, pl.Series | None]:
    if fits is None and not given.null_count():
        return column, None
    valid = given.is_not_null() if fits is None else given.is_not_null() & pl.Series(fits)
    column = pl.select(pl.when(pl.lit(valid)).then(pl.lit(column)).alias(column.name)).to_series()
    return column, None if fits is None else ~pl.Series(fits)


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
    """Turns what pyarrow raises of a file's content, or of the storage below it, into one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        text = (str(fault).strip() or type(fault).__name__).splitlines()[0].rstrip(".")
        if isinstance(fault, OSError) and (fault.errno is not None or "AWS Error" in text):
            raise SourceUnreadable(path, text, "check the storage and run again") from fault
        raise SourceUnreadable(path, _damage(text)) from fault


def _damage(text: str) -> str:
    if "file size is 0 bytes" in text:
        return "it is empty"
    if "magic bytes not found" in text or "smaller than the minimum" in text:
        return "it is no whole Parquet file (cut off, or another kind of file under this name)"
    return f"its content is damaged ({text})"
