"""Each measure's two expressions, that of Polars and that of PostgreSQL, find the same in any trips."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from chillflow.curation import FLAGS
from chillflow.kpis import HUNDREDTHS, MEASURES, Measure
from chillflow.stores.copying import copy_in
from chillflow.trips import TRIPS, to_frame, to_table
from tests.fix_postgres import drop_database, new_database
from tests.warehouse_samples import curated, raw_row

NOON = dt.datetime(2025, 1, 5, 12)
FRAME = to_frame(curated([raw_row(0)]).trips)

cents = st.one_of(st.none(), st.sampled_from([0, 75, -300, 999_999_999]), st.integers(-10_000, 100_000))
trips = st.fixed_dictionaries(
    {
        "pickup_zone_id": st.sampled_from([1, 100, 132, 138, 265]),
        "dropoff_zone_id": st.sampled_from([1, 2, 132, 264]),
        "passenger_count": st.one_of(st.none(), st.integers(1, 6)),
        "trip_distance": st.one_of(st.none(), st.sampled_from([0.0, 0.005, 0.285, 1.125, 99.995]), st.floats(0, 100)),
        "payment_type": st.sampled_from([None, 0, 1, 2, 5]),
        "flags": st.one_of(st.just(0), st.integers(0, 2 * max(FLAGS.values()) - 1)),
        "dropoff_at": st.one_of(
            st.sampled_from([NOON + dt.timedelta(hours=24), NOON + dt.timedelta(microseconds=1)]),
            st.datetimes(NOON, NOON + dt.timedelta(hours=24)),
        ),
        **{name: cents for name in ("fare_amount", "tip_amount", "tolls_amount", "cbd_congestion_fee")},
        "total_amount": st.integers(-10_000, 999_999_999),
    }
)
CHARGED = {
    "pickup_zone_id": 138, "dropoff_zone_id": 2, "passenger_count": None, "trip_distance": 0.285, "payment_type": 1,
    "flags": FLAGS["flex_fare"], "dropoff_at": NOON + dt.timedelta(minutes=9, microseconds=999_999),
    "fare_amount": 1000, "tip_amount": 101, "tolls_amount": None, "cbd_congestion_fee": 75, "total_amount": 1176,
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(postgres_server: str, _migrated: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A session with a table of its own, which has the columns of `trips`."""
    dsn = new_database(postgres_server, _migrated)
    with psycopg.connect(dsn, row_factory=dict_row, autocommit=True) as connection:
        connection.execute("create temporary table some_trips (like chillflow.trips including defaults)")
        yield connection
    drop_database(postgres_server, dsn)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(trips, min_size=1, max_size=8))
@example([CHARGED, CHARGED | {"payment_type": None, "cbd_congestion_fee": None, "flags": FLAGS["long_duration"]}])
def test_sql_finds_what_polars_finds(
    connection: psycopg.Connection[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    frame = pl.DataFrame([FRAME.row(0, named=True) | row | {"pickup_at": NOON} for row in rows], schema=FRAME.schema)
    with connection.transaction(force_rollback=True):
        copy_in(connection, sql.Identifier("some_trips"), TRIPS, [to_table(frame, TRIPS)])
        measures = ", ".join(f"{measure.sql} as {measure.name}" for measure in MEASURES)
        found = connection.execute(f"select {measures} from some_trips").fetchone()  # type: ignore[call-overload]
    assert found == {measure.name: in_polars(frame, measure) for measure in MEASURES}


def in_polars(frame: pl.DataFrame, measure: Measure) -> Any:
    """The measure of all rows; null where there is nothing to sum, as in SQL."""
    which = pl.lit(True) if measure.which is None else measure.which.polars.fill_null(False)
    chosen = frame.filter(which)
    if measure.value is None:
        return len(chosen)
    values = chosen.select(measure.value.polars).to_series().drop_nulls()
    if not len(values):
        return None
    return Decimal(values.sum()) / 100 if measure.unit in HUNDREDTHS else values.sum()
