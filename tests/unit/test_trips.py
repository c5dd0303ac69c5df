"""Ids are pinned and stable; both forms of a trip hold the same values."""

import uuid
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.trips import RAW, UUID, id_bytes, id_key, is_reversal, original_of, to_frame, to_table, trip_id
from tests.strategies import raw_frame, raw_rows
from tests.unit.test_curation import raw_row

NOTHING = dict.fromkeys(
    ("vendor_id", "dropoff_at", "pickup_zone_id", "dropoff_zone_id", "trip_distance", "total_amount")
)
GOLDEN = {
    "0166e2e2-b400-84e8-a3ef-1114b6b15aaa": {},
    "0166e2e2-b400-8fd2-a58c-bf5b649f89c8": {"service": "green"},
    "0166e2e2-b400-84e8-a3ef-1114b6b15aab": {"total_amount": -1280},
    "0166e2e2-b400-8051-a9d4-ff29644484e0": NOTHING,
    "0166e2e2-b400-87ea-a134-950a46d136f0": {"trip_distance": float("nan")},
    "0166e2e2-b400-8f4e-826c-8b2bccd09366": {"trip_distance": float("-inf")},
    "ffffffff-fe0c-854c-94c3-73a026db26ee": {"pickup_at": "1969-12-31T23:59:59.5"},
}


def ids_of(*rows):
    return [str(value.as_py()) for value in id_bytes(trip_id(raw_frame(list(rows))))]


@pytest.mark.parametrize(("golden", "change"), GOLDEN.items(), ids=str)
def test_ids_are_pinned(golden, change):
    assert ids_of(raw_row(**change)) == [golden]


def test_ids_are_uuids_of_version_8_that_begin_with_the_pickup():
    (found,) = ids_of(raw_row(pickup_at="2018-11-05T08:00:00.123"))

    parsed = uuid.UUID(found)
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert datetime(1970, 1, 1) + timedelta(milliseconds=parsed.int >> 80) == datetime(2018, 11, 5, 8, 0, 0, 123000)


@pytest.mark.parametrize(
    "change",
    [
        {"service": "green"}, {"vendor_id": 1}, {"vendor_id": None}, {"pickup_at": "2018-11-05T08:00:01"},
        {"dropoff_at": None}, {"pickup_zone_id": 162}, {"dropoff_zone_id": None}, {"trip_distance": 1.91},
        {"trip_distance": None}, {"trip_distance": float("nan")}, {"trip_distance": float("inf")},
        {"total_amount": 1281}, {"total_amount": None}, {"total_amount": -1280},
    ],
    ids=str,
)  # fmt: skip
def test_every_part_of_the_natural_key_makes_another_id(change):
    assert ids_of(raw_row()) != ids_of(raw_row(**change))


@pytest.mark.parametrize(
    "change", [{"passenger_count": 5}, {"tip_amount": 999}, {"payment_type": 2}, {"trip_distance": 1.9004}], ids=str
)
def test_what_is_not_in_the_key_leaves_the_id_as_it_is(change):
    assert ids_of(raw_row()) == ids_of(raw_row(**change))


def test_a_reversal_names_its_original():
    frame = raw_frame([raw_row(), raw_row(total_amount=-1280)]).with_columns(pl.lit(1).alias("one"))
    ids = frame.select(trip_id(frame))["trip_id"]

    assert pl.select(original_of(pl.lit(ids[1]))).item() == ids[0]
    assert pl.select(is_reversal(pl.lit(ids))).to_series().to_list() == [False, True]


def test_without_a_pickup_there_is_no_id():
    assert ids_of(raw_row(pickup_at=None)) == ["None"]


@given(raw_rows())
def test_frames_and_tables_hold_the_same(rows):
    frame = raw_frame(rows)
    ids = trip_id(frame)

    table = to_table(frame, RAW).append_column("trip_id", id_bytes(ids))

    assert to_frame(table).equals(frame.with_columns(ids))
    assert [str(value) for value in table["total_amount"].to_pylist()] == [
        "None" if row["total_amount"] is None else f"{row['total_amount'] / 100:.2f}" for row in rows
    ]


@given(raw_rows(), st.integers(0, 25), st.integers(0, 25))
def test_a_part_of_a_frame_or_table_is_that_part_in_the_other_form(rows, start, length):
    frame = raw_frame(rows)
    frame = frame.with_columns(trip_id(frame), pl.col("trip_distance").fill_nan(1.0))  # Arrow's NaN equals nothing
    schema = RAW.append(pa.field("trip_id", UUID))
    table = to_table(frame, schema)

    assert to_table(frame.slice(start, length), schema).equals(table.slice(start, length))
    assert to_frame(table.slice(start, length)).equals(frame.slice(start, length))
    pieces = pl.concat([frame.slice(start), frame.head(start)], rechunk=False)
    assert to_frame(to_table(pieces, schema)).equals(pieces)


@given(raw_rows())
def test_an_id_does_not_depend_on_its_neighbours(rows):
    assert ids_of(*rows) == [ids_of(row)[0] for row in rows]


@given(st.lists(st.integers(0, 2**128 - 1)))
def test_keys_are_the_low_half(numbers):
    ids = pl.Series("trip_id", numbers, pl.UInt128)
    assert pl.select(id_key(pl.lit(ids))).to_series().to_list() == [number % 2**64 for number in numbers]
    assert [value.as_py().int for value in id_bytes(ids)] == numbers
