"""The columns of TLC files: what the eras call them, which may be absent, which types they may have."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from chillflow.errors import ColumnTwice, EraWithoutZones, MissingColumn, WrongColumnType
from chillflow.trips import MONEY, RAW_COLUMNS

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
    {
        "improvement_surcharge",
        "congestion_surcharge",
        "airport_fee",
        "cbd_congestion_fee",
        "request_source",
        "trip_type",
    }
)
"""Columns that some eras lack."""

IGNORED = "ehail_fee"
"""Known, always empty, and not kept."""

_FOREIGN = {"yellow": "lpep", "green": "tpep"}
_COORDINATES = ("start_lon", "pickup_longitude")


def kept(schema: pa.Schema, path: str, service: str) -> dict[str, str]:
    """The file's columns that are kept, and their canonical names; in any order and case.

    Raises EraWithoutZones, MissingColumn, ColumnTwice, WrongColumnType.
    """
    found: dict[str, str] = {}
    for field in schema:
        column = field.name.lower()
        name = COLUMNS.get(column)
        if name is None or column.startswith(_FOREIGN[service]):
            continue
        if name in found.values():
            raise ColumnTwice(path, _published(name, service))
        _check_type(path, field, name)
        found[field.name] = name
    missing = [name for name in RAW_COLUMNS if name not in {"service", *OPTIONAL, *found.values()}]
    if missing:
        coordinates = [name for name in schema.names if name.lower() in _COORDINATES]
        if coordinates and "pickup_zone_id" in missing:
            raise EraWithoutZones(path, coordinates[0])
        raise MissingColumn(path, _published(missing[0], service))
    return found


_SPELLED = {"vendorid": "VendorID", "pulocationid": "PULocationID", "dolocationid": "DOLocationID",
            "ratecodeid": "RatecodeID"}  # fmt: skip


def _published(name: str, service: str) -> str:
    """What the TLC calls a canonical column."""
    column = next(
        column for column, known in COLUMNS.items() if known == name and not column.startswith(_FOREIGN[service])
    )
    return _SPELLED.get(column, column)


def _check_type(path: str, field: "pa.Field[Any]", name: str) -> None:
    wanted, kind = RAW_COLUMNS[name], field.type
    if pa.types.is_timestamp(wanted):
        fits, expected = pa.types.is_timestamp(kind) and kind.tz is None, "a timestamp without time zone"
    elif pa.types.is_string(wanted):
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        fits = pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_string_view(text)
        expected = "text"
    else:
        fits = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        expected = "a number"
    if not fits and not pa.types.is_null(kind):
        raise WrongColumnType(path, field.name, str(kind), expected)
