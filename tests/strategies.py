"""Hypothesis strategies: raw rows from so few values that pairs, duplicates and every rule occur."""

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import strategies as st

from chillflow.months import Month
from chillflow.trips import MONEY, RAW_COLUMNS, SERVICE

MONTH = Month(2018, 11)
_DAY = dt.datetime(2018, 11, 4)
_TIMES = [
    None,
    *(_DAY + dt.timedelta(seconds=seconds) for seconds in (0, 30, 59, 60, 3000, 3600, 7199, 20000, 86_400, 86_401)),
    dt.datetime(2018, 10, 31, 23, 59, 59),
    dt.datetime(2018, 12, 1),
    dt.datetime(2088, 1, 1),
    dt.datetime(1901, 5, 5, 0, 0, 0, 123456),
]


def _polars(name: str, kind: Any) -> Any:
    if name == "service":
        return SERVICE
    if name in MONEY:
        return pl.Int32
    return {"int32": pl.Int32, "double": pl.Float64, "string": pl.String, "timestamp[us]": pl.Datetime("us")}[str(kind)]


RAW_FRAME = {name: _polars(name, kind) for name, kind in RAW_COLUMNS.items()} | {
    "source_row": pl.Int64,
    "unrepresentable": pl.String,
}


@st.composite
def raw_rows(draw: st.DrawFn, service: str = "yellow") -> list[dict[str, Any]]:
    """Rows of a month's file, with repeats and mirrors of earlier rows among them."""
    rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 25))):
        repeat = draw(st.sampled_from(["new", "new", "same", "mirror", "nearly"])) if rows else "new"
        row = draw(_row) if repeat == "new" else dict(draw(st.sampled_from(rows)))
        if repeat == "mirror" and row["total_amount"] is not None:
            row["total_amount"] = -row["total_amount"]
        if repeat == "nearly":
            row["payment_type"] = draw(st.sampled_from([None, 0, 1, 7]))
        rows.append({**row, "service": service, "source_row": number})
    return rows


def raw_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RAW_FRAME)


_cents = st.sampled_from([None, 0, 50, 250, 275])
_row = st.fixed_dictionaries(
    {
        "vendor_id": st.sampled_from([None, 1, 2, 4]),
        "pickup_at": st.sampled_from(_TIMES),
        "dropoff_at": st.sampled_from(_TIMES),
        "pickup_zone_id": st.sampled_from([None, 0, 1, 100, 264]),
        "dropoff_zone_id": st.sampled_from([1, 265, 266]),
        "passenger_count": st.sampled_from([None, -1, 0, 1, 6, 7]),
        "trip_distance": st.sampled_from([None, 0.0, 0.004, 1.5, 99.0, 100.5, -3.0, float("nan"), float("inf"), 1e300]),
        "rate_code": st.sampled_from([None, 1, 7, 99]),
        "store_and_fwd": st.sampled_from([None, "Y", "N"]),
        "payment_type": st.sampled_from([None, 0, 1, 2, 7]),
        "trip_type": st.sampled_from([None, 1]),
        **{name: _cents for name in MONEY},
        "fare_amount": st.sampled_from([None, 0, 500, 50_000, 50_001]),
        "total_amount": st.sampled_from([None, 0, -500, 500, 550, 750, 800, 100_000, 100_001, 999_999_999]),
        "request_source": st.none(),
        "unrepresentable": st.sampled_from([None, None, None, "extra=nan"]),
    }
)
