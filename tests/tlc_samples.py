"""A few trips as TLC files of every era publish them, and what they are in canonical columns."""

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chillflow import tlc
from chillflow.trips import MONEY, RAW, to_frame

Row = dict[str, Any]

COMMON = {
    "vendor_id": "VendorID",
    "passenger_count": "passenger_count",
    "trip_distance": "trip_distance",
    "rate_code": "RatecodeID",
    "store_and_fwd": "store_and_fwd_flag",
    "pickup_zone_id": "PULocationID",
    "dropoff_zone_id": "DOLocationID",
    "payment_type": "payment_type",
    **{name: name for name in MONEY},
}
NAMES = {
    "yellow": COMMON | {"pickup_at": "tpep_pickup_datetime", "dropoff_at": "tpep_dropoff_datetime"},
    "green": COMMON
    | {"pickup_at": "lpep_pickup_datetime", "dropoff_at": "lpep_dropoff_datetime", "trip_type": "trip_type"},
}
CBD, SOURCE, AIRPORT = "cbd_congestion_fee", "request_source", "airport_fee"
CODES = ("passenger_count", "rate_code")
IDS = ("vendor_id", "pickup_zone_id", "dropoff_zone_id")


@dataclass(frozen=True)
class Era:
    """How a period publishes trips: Arrow types, columns of type null, columns that it lacks or renames."""

    service: str
    ids: str = "int64"
    codes: str = "int64"
    payment: str = "int64"
    text: str = "string"
    time: str = "timestamp[us]"
    nulls: tuple[str, ...] = ()
    lacks: tuple[str, ...] = (CBD, SOURCE)
    renamed: tuple[tuple[str, str], ...] = ()

    def names(self) -> dict[str, str]:
        names = NAMES[self.service] | {SOURCE: SOURCE} | dict(self.renamed)
        return {name: column for name, column in names.items() if name not in self.lacks}

    def kind(self, name: str) -> pa.DataType:
        if name in self.nulls:
            return pa.null()
        if name in ("pickup_at", "dropoff_at"):
            return pa.timestamp(self.time[10:12])
        if name in ("store_and_fwd", SOURCE):
            return pa.type_for_alias(self.text)
        if name in IDS:
            return pa.type_for_alias(self.ids)
        if name in CODES:
            return pa.type_for_alias(self.codes)
        return pa.type_for_alias(self.payment) if name in ("payment_type", "trip_type") else pa.float64()


_CAPITAL = ((AIRPORT, "Airport_fee"),)
_MODERN = {"ids": "int32", "text": "large_string"}
_GREEN = (CBD, SOURCE, AIRPORT)

ERAS = {
    "yellow 2011-01": Era("yellow"),
    "yellow 2011-02": Era("yellow", nulls=("congestion_surcharge", AIRPORT)),
    "yellow 2014-08": Era("yellow", nulls=("improvement_surcharge", "congestion_surcharge", AIRPORT)),
    "yellow 2018-07": Era("yellow", codes="double", nulls=("congestion_surcharge", AIRPORT)),
    "yellow 2019-01": Era("yellow", codes="double", nulls=(AIRPORT,)),
    "yellow 2023-01": Era("yellow", codes="double"),
    "yellow 2023-02": Era("yellow", renamed=_CAPITAL, **_MODERN),  # type: ignore[arg-type]
    "yellow 2025-01": Era("yellow", renamed=_CAPITAL, lacks=(SOURCE,), **_MODERN),  # type: ignore[arg-type]
    "yellow 2026-06": Era("yellow", renamed=_CAPITAL, lacks=(), **_MODERN),  # type: ignore[arg-type]
    "green 2014-01": Era("green", codes="double", payment="double", nulls=("congestion_surcharge",), lacks=_GREEN),
    "green 2020-01": Era("green", codes="double", payment="double", lacks=_GREEN),
    "green 2024-01": Era("green", lacks=_GREEN, **_MODERN),  # type: ignore[arg-type]
    "green 2025-01": Era("green", lacks=(SOURCE, AIRPORT), **_MODERN),  # type: ignore[arg-type]
    "green 2026-06": Era("green", lacks=(AIRPORT,), **_MODERN),  # type: ignore[arg-type]
    "green saved again by pandas": Era(
        "green", ids="double", codes="double", payment="double", time="timestamp[ns]", lacks=_GREEN
    ),
}


def _row(minute: int, **different: Any) -> Row:
    row: Row = {
        "vendor_id": 2, "pickup_at": dt.datetime(2019, 1, 5, 6, minute, 31), "dropoff_at": dt.datetime(2019, 1, 5, 7),
        "pickup_zone_id": 161, "dropoff_zone_id": 132, "passenger_count": 1, "trip_distance": 1.13, "rate_code": 1,
        "store_and_fwd": "N", "payment_type": 1, "trip_type": 2, "fare_amount": "6.55", "extra": "0.5",
        "mta_tax": "0.5", "tip_amount": "1.36", "tolls_amount": "0", "improvement_surcharge": "0.3",
        "total_amount": "11.71", "congestion_surcharge": "2.5", "airport_fee": "1.75", "cbd_congestion_fee": "0.75",
        "request_source": "app",
    }  # fmt: skip
    row |= different
    return row | {name: None if row[name] is None else Decimal(row[name]) for name in MONEY}


_UNKNOWN = dict.fromkeys(("passenger_count", "rate_code", "store_and_fwd", "congestion_surcharge", "request_source"))
TRIPS = (
    _row(0),
    _row(1, vendor_id=1, store_and_fwd="Y", rate_code=99, trip_type=1, pickup_zone_id=265),
    _row(2, fare_amount="-6.55", total_amount="-8.29", tip_amount="0.01", congestion_surcharge="-2.5"),
    _row(3, payment_type=0, trip_type=None, trip_distance=None, **_UNKNOWN),
    _row(4, total_amount="9999999.99", extra=None, dropoff_at=None, dropoff_zone_id=None, vendor_id=None),
)
"""A plain trip, an odd one, a reversal, a Flex Fare, and one at the edges."""


def published(era: Era, rows: Sequence[Row] = TRIPS) -> pa.Table:
    """The rows as a file of that era holds them."""
    columns = {column: (name, era.kind(name)) for name, column in era.names().items()}
    return pa.table({column: _array([row[name] for row in rows], kind) for column, (name, kind) in columns.items()})


def _array(values: list[Any], kind: pa.DataType) -> "pa.Array[Any]":
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, kind)


def canonical(era: Era, rows: Sequence[Row] = TRIPS) -> pl.DataFrame:
    """The rows in canonical columns, without what that era does not publish."""
    known = {name for name in era.names() if name not in era.nulls}
    table = [
        {name: row[name] if name in known else None for name in row}
        | {"service": era.service, "source_row": number, "unrepresentable": None}
        for number, row in enumerate(rows)
    ]
    return to_frame(pa.Table.from_pylist(table, schema=RAW))


def parquet(table: pa.Table, row_group_rows: int = 1_048_576) -> bytes:
    """A table as a Parquet file's bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=row_group_rows, compression="zstd")
    return sink.getvalue()


def inspect(data: bytes, service: str = "yellow") -> tlc.FileFacts:
    return tlc.inspect(pa.BufferReader(data), "months/file.parquet", service)


def read(data: bytes, service: str = "yellow") -> pl.DataFrame:
    """All blocks of a file, in their order."""
    return pl.concat(tlc.read(pa.BufferReader(data), block) for block in inspect(data, service).blocks)


MODERN = ERAS["yellow 2026-06"]


def put(column: str, values: Any, kind: pa.DataType | None = None, era: Era = MODERN) -> pa.Table:
    """A table of plain trips with other values in a column."""
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    table = published(era, [TRIPS[0]] * len(array))
    return table.set_column(table.schema.get_field_index(column), column, array)
