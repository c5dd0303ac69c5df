"""The trip schema and trip_id(): the one home of both.

A trip has two forms. At the edges (files, PostgreSQL, the lake) it is a row of an Arrow table with one of the schemas
below: money in decimal(9,2) dollars, trip_id as UUID. Inside the kernels it is a row of a Polars frame: money in int32
cents, trip_id as UInt128, service as Enum, so that every sum and comparison is exact integer arithmetic. `to_frame`
and `to_table` pass between the two.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl
import polars_hash as plh
import pyarrow as pa

SERVICES = ("yellow", "green")

MONEY = (
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "total_amount",
    "congestion_surcharge",
    "airport_fee",
    "cbd_congestion_fee",
)
DOLLARS = pa.decimal32(9, 2)
MAX_CENTS = 999_999_999
UUID = pa.uuid()
WALL_TIME = pa.timestamp("us")

RAW_COLUMNS: dict[str, pa.DataType] = {
    "service": pa.string(),
    "vendor_id": pa.int32(),
    "pickup_at": WALL_TIME,
    "dropoff_at": WALL_TIME,
    "pickup_zone_id": pa.int32(),
    "dropoff_zone_id": pa.int32(),
    "passenger_count": pa.int32(),
    "trip_distance": pa.float64(),
    "rate_code": pa.int32(),
    "store_and_fwd": pa.string(),
    "payment_type": pa.int32(),
    "trip_type": pa.int32(),
    **dict.fromkeys(MONEY, DOLLARS),
    "request_source": pa.string(),
}
"""What the city publishes of a trip: canonical names, New York wall time, miles, dollars."""

RAW = pa.schema({**RAW_COLUMNS, "source_row": pa.int64(), "unrepresentable": pa.string()})
"""A source file's rows. `source_row` is the ordinal in the file (from 0); `unrepresentable` says, as
`column=value, ..`, what a canonical column could not hold (that column is null then)."""

TRIPS = pa.schema({"trip_id": UUID, **RAW_COLUMNS, "flags": pa.int32(), "raw": pa.string()})
"""Curated trips. `flags` is a bit set (curation.FLAGS), `raw` JSON of the values that a fix replaced, else null."""

_UNKEPT = {"trip_id": UUID, **RAW_COLUMNS, "source_row": pa.int64()}
ADJUSTMENTS = pa.schema(_UNKEPT)
"""Reversals (negative totals), raw values."""

QUARANTINE = pa.schema({**_UNKEPT, "unrepresentable": pa.string(), "reason": pa.string()})
"""Rejected rows: raw values and the name of the rule that rejected them."""

SERVICE = pl.Enum(SERVICES)

# Absent values of the natural key; no real value comes near them.
_NULL = np.iinfo(np.int64).min
_NAN, _INFINITE, _MINUS_INFINITE = _NULL + 1, _NULL + 2, _NULL + 3
_CACHED = 8192
_KEY = ("service", "vendor_id", "pickup_at", "dropoff_at", "pickup_zone_id", "dropoff_zone_id")
_HIGH = pl.lit(1 << 64, pl.UInt128)
_ONE = pl.lit(1, pl.UInt128)


def trip_id(frame: pl.DataFrame) -> pl.Series:
    """The UInt128 id of each row of a frame of raw columns: a UUID, version 8 (RFC 9562).

    From the left: 48 bits of the pickup in milliseconds of wall time since 1970, the version, 12 bits of XXH3-64 with
    seed 1, the variant, 61 bits of XXH3-64 with seed 0, and last whether the total is negative. Hashed is the natural
    key, raw values before any fix: (service, vendor, pickup, dropoff, pickup zone, dropoff zone, distance in 1/100
    mile, absolute total in cents), each as a little-endian int64, with a value of its own for null. Hence the original
    of a reversal has the same id with the last bit cleared. Null where the pickup is null.
    """
    total = frame["total_amount"].cast(pl.Int64)
    parts = [frame[name].to_physical().cast(pl.Int64).fill_null(_NULL).to_numpy() for name in _KEY]
    parts += [_hundredths(frame["trip_distance"]), total.abs().fill_null(_NULL).to_numpy()]
    key = np.empty((len(frame), len(parts)), dtype="<i8")
    for start in range(0, len(frame), _CACHED):
        for position, part in enumerate(parts):
            key[start : start + _CACHED, position] = part[start : start + _CACHED]
    offsets = np.arange(0, key.nbytes + 1, 64, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(key)]
    keys = pl.DataFrame({"key": pa.Array.from_buffers(pa.large_binary(), len(frame), buffers)})
    hashes = keys.select(low=plh.col("key").nchash.xxh3_64(seed=0), high=plh.col("key").nchash.xxh3_64(seed=1))
    milliseconds = (parts[_KEY.index("pickup_at")] // 1000).view(np.uint64) & np.uint64(0xFFFF_FFFF_FFFF)
    high = milliseconds << np.uint64(16) | np.uint64(0x8000) | hashes["high"].to_numpy() & np.uint64(0xFFF)
    negative = (total < 0).fill_null(False).to_numpy().astype(np.uint64)
    low = np.uint64(1 << 63) | hashes["low"].to_numpy() >> np.uint64(3) << np.uint64(1) | negative
    return pl.select(
        trip_id=pl.when(pl.lit(frame["pickup_at"]).is_not_null()).then(_uint128(pl.Series(high), pl.Series(low)))
    ).to_series()


def no_ids() -> pl.Series:
    return pl.Series("trip_id", [], pl.UInt128)


def original_of(trip_id: pl.Expr) -> pl.Expr:
    """The id of the trip that a reversal takes back."""
    return trip_id - (trip_id & _ONE)


def is_reversal(trip_id: pl.Expr) -> pl.Expr:
    """Whether an id belongs to a row with a negative total."""
    return trip_id & _ONE == _ONE


def id_key(trip_id: pl.Expr) -> pl.Expr:
    """The 64 low bits of an id: 61 of hash, enough to find candidates for equal ids in little memory."""
    return trip_id.cast(pl.UInt64, wrap_numerical=True)


def id_bytes(ids: pl.Series) -> pa.Array:
    """Ids as an Arrow array of UUIDs."""
    halves = pl.select(high=(pl.lit(ids) // _HIGH).cast(pl.UInt64), low=id_key(pl.lit(ids))).fill_null(0)
    data = np.stack([halves["high"].to_numpy(), halves["low"].to_numpy()], axis=1).astype(">u8")
    present = np.packbits(ids.is_not_null().to_numpy(), bitorder="little")  # Arrow's own bitmap may begin inside a byte
    storage = pa.Array.from_buffers(UUID.storage_type, len(ids), [pa.py_buffer(present), pa.py_buffer(data)])
    return pa.ExtensionArray.from_storage(UUID, storage)


def id_text(ids: pl.Series) -> pl.Series:
    """Ids as lower-case UUID text."""
    digits = pl.Series(ids.name, id_bytes(ids).storage).bin.encode("hex")
    parts = (digits.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12)))
    return pl.select(pl.concat_str(list(parts), separator="-").alias(ids.name)).to_series()


def ids_of_text(texts: pl.Series) -> pl.Series:
    """Ids of lower-case UUID text."""
    digits = texts.cast(pl.String).str.replace_all("-", "", literal=True).str.decode("hex")
    stored = pa.chunked_array([digits.rechunk().to_arrow().cast(UUID.storage_type)])
    return _ids(stored).alias(texts.name)


def ids_of(texts: Iterable[str]) -> pl.Series:
    """Ids of lower-case UUID texts that are at hand as such: several times as quick as ids_of_text."""
    halves = np.frombuffer(bytes.fromhex("".join(texts).replace("-", "")), ">u8").astype("<u8").reshape(-1, 2)
    return pl.select(_uint128(pl.Series(halves[:, 0]), pl.Series(halves[:, 1])).alias("trip_id")).to_series()


def to_frame(table: pa.Table) -> pl.DataFrame:
    """An Arrow table of trips (any of the schemas above, or some of their columns) in the kernels' form."""
    return pl.DataFrame([_to_series(field.name, table[field.name]) for field in table.schema])


def to_table(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """A frame in the kernels' form as an Arrow table with the columns of `schema`."""
    return pa.table([_to_array(frame[field.name], field.type) for field in schema], schema=schema)


def _hundredths(miles: pl.Series) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    values = miles.fill_null(0.0).to_numpy()
    with np.errstate(invalid="ignore", over="ignore"):
        found: np.ndarray[tuple[int], np.dtype[np.int64]] = np.rint(np.clip(values * 100, -9e15, 9e15)).astype(np.int64)
    found[np.isnan(values)] = _NAN
    found[values == np.inf] = _INFINITE
    found[values == -np.inf] = _MINUS_INFINITE
    found[miles.is_null().to_numpy()] = _NULL
    return found


def _uint128(high: pl.Series, low: pl.Series) -> pl.Expr:
    return pl.lit(high).cast(pl.UInt128) * _HIGH + pl.lit(low)


def _to_series(name: str, column: pa.ChunkedArray) -> pl.Series:
    if pa.types.is_decimal(column.type):
        cents = [_reinterpret(chunk, pa.int32()) for chunk in column.cast(DOLLARS).chunks]
        return pl.Series(name, pa.chunked_array(cents, pa.int32()))
    if column.type in (UUID, UUID.storage_type):
        return _ids(column).alias(name)
    if name == "service":
        return pl.Series(name, column.cast(pa.string()), SERVICE)
    return pl.Series(name, column)


def _to_array(series: pl.Series, kind: pa.DataType) -> pa.Array:
    if kind == UUID:
        return id_bytes(series)
    array = series.rechunk().to_arrow()
    return _reinterpret(array, kind) if kind == DOLLARS else array.cast(kind)


def _reinterpret(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(array), array.buffers(), array.null_count, array.offset)


def _ids(column: pa.ChunkedArray) -> pl.Series:
    storage = column.cast(UUID.storage_type).combine_chunks()
    storage = storage.chunk(0) if isinstance(storage, pa.ChunkedArray) else storage
    data = storage.buffers()[1]
    halves = np.frombuffer(data, ">u8", len(storage) * 2, storage.offset * 16).astype("<u8").reshape(-1, 2)
    ids = _uint128(pl.Series(halves[:, 0]), pl.Series(halves[:, 1]))
    if not storage.null_count:
        return pl.select(ids).to_series()
    return pl.select(pl.when(pl.Series(storage.is_valid())).then(ids)).to_series()
