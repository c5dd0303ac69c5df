"""What a month's file looks like: names, order and Arrow types by era, and the shares of faults in it."""

from dataclasses import dataclass, replace

import pyarrow as pa

from chillflow.errors import NoSuchEra
from chillflow.months import Month

FIRST = {"yellow": Month(2011, 1), "green": Month(2013, 8)}
DOUBLE_CODES, WITHOUT_NULL_TYPES, CBD, SOURCE = Month(2018, 7), Month(2023, 2), Month(2025, 1), Month(2026, 6)

_YELLOW = {
    "VendorID": "vendor_id",
    "tpep_pickup_datetime": "pickup_at",
    "tpep_dropoff_datetime": "dropoff_at",
    "passenger_count": "passenger_count",
    "trip_distance": "trip_distance",
    "RatecodeID": "rate_code",
    "store_and_fwd_flag": "store_and_fwd",
    "PULocationID": "pickup_zone_id",
    "DOLocationID": "dropoff_zone_id",
    "payment_type": "payment_type",
    "fare_amount": "fare_amount",
    "extra": "extra",
    "mta_tax": "mta_tax",
    "tip_amount": "tip_amount",
    "tolls_amount": "tolls_amount",
    "improvement_surcharge": "improvement_surcharge",
    "total_amount": "total_amount",
    "congestion_surcharge": "congestion_surcharge",
    "airport_fee": "airport_fee",
}
_GREEN = {
    "VendorID": "vendor_id",
    "lpep_pickup_datetime": "pickup_at",
    "lpep_dropoff_datetime": "dropoff_at",
    "store_and_fwd_flag": "store_and_fwd",
    "RatecodeID": "rate_code",
    "PULocationID": "pickup_zone_id",
    "DOLocationID": "dropoff_zone_id",
    "passenger_count": "passenger_count",
    "trip_distance": "trip_distance",
    "fare_amount": "fare_amount",
    "extra": "extra",
    "mta_tax": "mta_tax",
    "tip_amount": "tip_amount",
    "tolls_amount": "tolls_amount",
    "ehail_fee": "ehail_fee",
    "improvement_surcharge": "improvement_surcharge",
    "total_amount": "total_amount",
    "payment_type": "payment_type",
    "trip_type": "trip_type",
    "congestion_surcharge": "congestion_surcharge",
}


@dataclass(frozen=True)
class Era:
    """A file's schema, and the canonical name of each of its columns, in their order."""

    schema: pa.Schema
    canonical: tuple[str, ...]

    def blank(self, name: str) -> bool:
        """Whether the canonical column is absent or null in every row."""
        return name not in self.canonical or pa.types.is_null(self.schema.field(self.canonical.index(name)).type)


def era(service: str, month: Month) -> Era:
    """How the city publishes that month; raises NoSuchEra before the first month with zones."""
    if month < FIRST[service]:
        raise NoSuchEra(service, str(month), str(FIRST[service]))
    columns = dict(_YELLOW if service == "yellow" else _GREEN)
    if service == "yellow" and month >= WITHOUT_NULL_TYPES:
        columns = {"Airport_fee" if name == "airport_fee" else name: to for name, to in columns.items()}
    if month >= CBD:
        columns["cbd_congestion_fee"] = "cbd_congestion_fee"
    if month >= SOURCE:
        columns["request_source"] = "request_source"
    fields = [pa.field(name, _kind(service, month, to)) for name, to in columns.items()]
    return Era(pa.schema(fields), tuple(columns.values()))


def _kind(service: str, month: Month, name: str) -> pa.DataType:
    modern = month >= WITHOUT_NULL_TYPES
    if _null_typed(month, name):
        return pa.null()
    if name in ("pickup_at", "dropoff_at"):
        return pa.timestamp("us")
    if name in ("store_and_fwd", "request_source"):
        return pa.large_string() if modern else pa.string()
    if name in ("vendor_id", "pickup_zone_id", "dropoff_zone_id"):
        return pa.int32() if modern else pa.int64()
    doubles = {"passenger_count", "rate_code"} | ({"payment_type", "trip_type"} if service == "green" else set())
    if name in doubles:
        return pa.float64() if DOUBLE_CODES <= month < WITHOUT_NULL_TYPES else pa.int64()
    return pa.int64() if name in ("payment_type", "trip_type") else pa.float64()


def _null_typed(month: Month, name: str) -> bool:
    if name == "airport_fee":
        return (
            Month(2011, 2) <= month <= Month(2017, 12)
            or Month(2018, 2) <= month <= Month(2020, 7)
            or month == Month(2020, 10)
        )
    if name == "congestion_surcharge":
        return Month(2011, 2) <= month <= Month(2018, 12)
    return name == "improvement_surcharge" and month == Month(2014, 8)


@dataclass(frozen=True)
class Shares:
    """Per cent of rows, named like the rules; `reversal` holds those without an original too.

    A sample of a month hardly ever holds a reversal and its original, which is why the measured table has no share of
    yellow originals: here 97 % of reversals have theirs, as in every whole month that was looked at.
    """

    outside: float
    reversal: float
    zero_total: float
    nonpositive: float
    over_24h: float
    no_movement: float
    absurd: float
    speed: float
    bad_distance: float
    dst: float
    long: float
    zero_distance: float
    unknown_zone: float
    passengers: float
    flex: float
    mismatch: float
    code: float
    mirrored: float = 97.5


# fmt: off
_2018 = Shares(.004, .066, .013, .076, 0, .468, .002, .075, 0, .002, .205, .138, 1.78, .90, 0, .19, .49)
_2019 = Shares(.003, .191, .027, .083, 0, .488, .001, .077, .010, 0, .251, .255, 1.14, 2.84, .31, .22, .33)
_2020 = Shares(.002, .437, .047, .202, .001, .568, 0, .095, .003, 0, .188, 1.21, 1.12, 2.14, 6.48, .44, 0)
_2024 = Shares(.003, 1.25, .03, .11, 0, .60, .002, .09, .03, 0, .12, 1.2, .9, 1.1, 9.0, .30, 0)
_BORO = Shares(.004, .327, .073, .129, 0, 1.422, .002, .249, .080, 0, .386, 3.31, .64, .88, 6.14, .30, 0)
# fmt: on


def shares(service: str, month: Month) -> Shares:
    """The shares of faults that a month of that service has."""
    if service == "green":
        return _BORO if month >= Month(2020, 1) else replace(_BORO, flex=0)
    vendor_4 = Month(2018, 7) <= month <= Month(2019, 8)
    yearly = {2019: _2019, 2020: _2020, 2021: replace(_2020, reversal=0.6, flex=4.7)}
    yearly |= dict.fromkeys((2022, 2023), replace(_2024, reversal=0.8, flex=3.6))
    yearly |= {2024: _2024, 2025: replace(_2024, flex=23.0)}
    found = _2018 if month.year < 2019 else yearly.get(month.year, replace(_2024, flex=25.0))
    return found if vendor_4 else replace(found, code=0)
