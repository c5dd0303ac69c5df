"""TLC files of every era become one canonical frame."""

import datetime as dt
import math
import re
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from chillflow import tlc
from chillflow.columns import COLUMNS
from chillflow.curation import curate
from chillflow.months import Month
from chillflow.trips import MAX_CENTS, MONEY, RAW_COLUMNS
from tests.tlc_samples import ERAS, MODERN, TRIPS, Era, canonical, inspect, parquet, published, put, read

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
REAL = Path(__file__).parents[3] / "shared" / "data" / "tlc"


def test_months_have_the_names_and_addresses_that_the_tlc_gives_them() -> None:
    assert tlc.file_name("green", Month(2024, 1)) == "green_tripdata_2024-01.parquet"
    for source in ("https://site/trip-data", "https://site/trip-data/"):
        assert tlc.url(source, "yellow", Month(2019, 12)) == "https://site/trip-data/yellow_tripdata_2019-12.parquet"


@pytest.mark.parametrize("era", ERAS.values(), ids=ERAS)
def test_every_era_gives_the_same_columns_and_values(era: Era) -> None:
    data = parquet(published(era))
    assert_frame_equal(read(data, era.service), canonical(era))
    assert inspect(data, era.service).warnings == ()


@pytest.mark.parametrize("era", ERAS.values(), ids=ERAS)
def test_columns_are_known_in_any_order_and_case(era: Era) -> None:
    table = published(era)
    table = table.select(table.schema.names[::-1]).rename_columns(
        [name.swapcase() for name in table.schema.names[::-1]]
    )
    assert_frame_equal(read(parquet(table), era.service), canonical(era))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_are_microseconds_whatever_their_unit(unit: str) -> None:
    pickup = dt.datetime(2019, 1, 31, 23, 59, 59, 123_000)
    frame = read(parquet(put("tpep_pickup_datetime", [pickup, None], pa.timestamp(unit))))
    assert frame["pickup_at"].to_list() == [pickup, None]
    assert frame.schema["pickup_at"] == pl.Datetime("us")


def test_nanoseconds_are_cut_off() -> None:
    late = put("tpep_pickup_datetime", pa.array([1_548_979_199_999_999_999], pa.timestamp("ns")))
    assert read(parquet(late))["pickup_at"].to_list() == [dt.datetime(2019, 1, 31, 23, 59, 59, 999_999)]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_text_is_text_whatever_its_type(kind: str) -> None:
    values = pa.array(["N", "Y", None, "N"])
    column = values.dictionary_encode() if kind == "dictionary" else values.cast(pa.type_for_alias(kind))
    assert read(parquet(put("store_and_fwd_flag", column)))["store_and_fwd"].to_list() == ["N", "Y", None, "N"]


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint64", "float", "double"])
def test_whole_numbers_are_taken_from_any_type_of_number(kind: str) -> None:
    frame = read(parquet(put("payment_type", [1, None, 6], pa.type_for_alias(kind))))
    assert frame["payment_type"].to_list() == [1, None, 6]
    assert frame.schema["payment_type"] == pl.Int32


def test_not_a_number_means_unknown_in_a_column_of_whole_numbers() -> None:
    frame = read(parquet(put("passenger_count", [1.0, math.nan, None])))
    assert frame["passenger_count"].to_list() == [1, None, None]
    assert frame["unrepresentable"].null_count() == 3


def test_distances_stay_as_they_are() -> None:
    miles = [1.234567, -3.0, math.inf, math.nan, None]
    found = read(parquet(put("trip_distance", miles)))["trip_distance"]
    assert_frame_equal(found.to_frame(), pl.DataFrame({"trip_distance": miles}))
    precise = put("trip_distance", [Decimal("1.2345"), None], pa.decimal128(10, 4))
    assert read(parquet(precise))["trip_distance"].to_list() == [1.2345, None]


def cents_of(values: Any, kind: pa.DataType | None = None) -> list[int | None]:
    return read(parquet(put("fare_amount", values, kind)))["fare_amount"].to_list()


amounts = st.integers(-MAX_CENTS, MAX_CENTS).map(lambda cents: Decimal(cents).scaleb(-2))


@given(st.lists(amounts, min_size=1, max_size=50))
def test_amounts_with_two_places_are_exact(dollars: list[Decimal]) -> None:
    expected = [int(amount * 100) for amount in dollars]
    assert cents_of([float(amount) for amount in dollars], pa.float64()) == expected
    assert cents_of(dollars, pa.decimal128(9, 2)) == expected


@example([Decimal("0.125"), Decimal("0.135"), Decimal("-0.125"), Decimal("0.1250001")])
@given(st.lists(st.decimals(-9_999_999, 9_999_999, places=7), min_size=1, max_size=50))
def test_decimals_are_rounded_half_to_even(dollars: list[Decimal]) -> None:
    expected = [int(amount.quantize(Decimal("0.01"), ROUND_HALF_EVEN) * 100) for amount in dollars]
    assert cents_of(dollars, pa.decimal128(30, 7)) == expected


@given(st.lists(st.one_of(st.none(), st.floats(), st.floats(-2e7, 2e7)), min_size=1, max_size=50))
def test_floats_are_rounded_half_to_even_where_money_can_hold_them(dollars: list[float | None]) -> None:
    def rounded(amount: float | None) -> int | None:
        if amount is None or not math.isfinite(amount * 100):
            return None
        cents = round(amount * 100)
        return cents if abs(cents) <= MAX_CENTS else None

    frame = read(parquet(put("fare_amount", dollars, pa.float64())))
    assert frame["fare_amount"].to_list() == [rounded(amount) for amount in dollars]
    bad = [amount is not None and rounded(amount) is None for amount in dollars]
    assert frame["unrepresentable"].is_not_null().to_list() == bad


@pytest.mark.parametrize(
    ("amount", "kind", "cents"),
    [(12.35, "float", 1235), (9_999_999.99, "double", 999_999_999), (0.125, "double", 12), (0.375, "double", 38),
     (-0.125, "double", -12), (7, "int64", 700), (-3, "int8", -300)],
)  # fmt: skip
def test_amounts_of_other_types_are_cents_too(amount: float, kind: str, cents: int) -> None:
    assert cents_of([amount, None], pa.type_for_alias(kind)) == [cents, None]


def test_what_a_column_cannot_hold_is_null_and_named() -> None:
    table = published(MODERN, [TRIPS[0]] * 5)
    times = pa.array([0, 4_000_000_000_000_000_000, 0, 0, -4_000_000_000_000_000_000], pa.timestamp("us"))
    for column, values in {
        "fare_amount": pa.array([1.0, math.nan, 2.0, -math.inf, 3.0]),
        "total_amount": pa.array([1.0, 1e12, 10_000_000.0, None, 3.0]),
        "passenger_count": pa.array([-5, None, 2**31, -(2**40), 2**31 - 1]),
        "tpep_pickup_datetime": times,
    }.items():
        table = table.set_column(table.schema.get_field_index(column), column, values)
    frame = read(parquet(table))
    assert frame["unrepresentable"].to_list() == [
        None,
        "pickup_at=4000000000000000000, fare_amount=NaN, total_amount=1000000000000.0",
        "passenger_count=2147483648, total_amount=10000000.0",
        "passenger_count=-1099511627776, fare_amount=-inf",
        "pickup_at=-4000000000000000000",
    ]
    assert frame["fare_amount"].to_list() == [100, None, 200, None, 300]
    assert frame["total_amount"].to_list() == [100, None, None, None, 300]
    assert frame["passenger_count"].to_list() == [-5, None, None, None, 2**31 - 1]
    assert frame["pickup_at"].is_null().to_list() == [False, True, False, False, True]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_text_with_a_nul_cannot_be_stored(kind: str) -> None:
    texts = pa.array(["Y", "a\0b\0", None, "\0"])
    texts = texts.dictionary_encode() if kind == "dictionary" else texts.cast(pa.type_for_alias(kind))
    table = published(MODERN, [TRIPS[0]] * 4)
    table = table.set_column(table.schema.get_field_index("store_and_fwd_flag"), "store_and_fwd_flag", texts)
    minutes = pa.array([dt.datetime(2019, 3, 1, 0, minute) for minute in range(4)])
    place = table.schema.get_field_index("tpep_pickup_datetime")
    table = table.set_column(place, "tpep_pickup_datetime", minutes)
    frame = read(parquet(table))
    assert frame["store_and_fwd"].to_list() == ["Y", None, None, None]
    assert frame["unrepresentable"].to_list() == [None, r"store_and_fwd=a\0b\0", None, r"store_and_fwd=\0"]
    assert (
        curate(frame, Month(2019, 3)).quarantine.filter(pl.col("reason") == "value_invalid")["reason"].to_list()
        == ["value_invalid"] * 2
    )


@pytest.mark.parametrize(
    "values", [pa.array([1.0]), pa.array([{"a": 1}]), pa.nulls(1)], ids=["double", "struct", "null"]
)
def test_a_column_never_seen_before_is_kept_out_with_a_warning(values: "pa.Array[Any]") -> None:
    data = parquet(published(MODERN, TRIPS[:1]).append_column("surge", values))
    assert inspect(data).warnings == ("column surge is not known and not kept",)
    assert_frame_equal(read(data), canonical(MODERN, TRIPS[:1]))


def test_a_fee_that_was_never_used_is_told_only_when_it_is() -> None:
    green = ERAS["green 2024-01"]
    for fees in (pa.nulls(5), pa.nulls(5, pa.float64())):
        assert inspect(parquet(published(green).append_column("ehail_fee", fees)), "green").warnings == ()
    used = parquet(published(green).append_column("ehail_fee", pa.array([None, 1.0, None, 2.0, None])), 2)
    assert inspect(used, "green").warnings == (
        "column ehail_fee is usually empty and not kept, here it holds 2 values",
    )
    assert_frame_equal(read(used, "green"), canonical(green))


@given(st.integers(1, 6))
def test_row_groups_of_any_size_give_the_same_rows(row_group_rows: int) -> None:
    data = parquet(published(MODERN), row_group_rows)
    blocks = inspect(data).blocks
    assert [block.first_row for block in blocks] == list(range(0, 5, row_group_rows))
    assert [block.row_group for block in blocks] == list(range(len(blocks)))
    assert_frame_equal(read(data), canonical(MODERN))


def test_a_large_row_group_is_read_in_slices() -> None:
    rows = tlc.MAX_BLOCK_ROWS * 2 + 3
    table = pa.table({
        name: pa.array(pl.int_range(rows, eager=True).to_numpy()).cast(pa.timestamp("us"))
        if name == "tpep_pickup_datetime"
        else pa.repeat(pa.scalar(None, kind), rows)
        for name, kind in zip(published(MODERN).schema.names, published(MODERN).schema.types, strict=True)
    })  # fmt: skip
    data = parquet(pa.concat_tables([table.slice(0, 10), table.slice(10)]), rows)
    facts = inspect(data)
    assert facts.rows == rows
    assert [(block.row_group, block.offset, block.rows) for block in facts.blocks] == [
        (0, 0, tlc.MAX_BLOCK_ROWS),
        (0, tlc.MAX_BLOCK_ROWS, tlc.MAX_BLOCK_ROWS),
        (0, tlc.MAX_BLOCK_ROWS * 2, 3),
    ]
    for block in facts.blocks:
        frame = tlc.read(pa.BufferReader(data), block)
        expected = pl.int_range(block.first_row, block.first_row + block.rows, eager=True)
        assert frame["source_row"].equals(expected)
        assert frame["pickup_at"].to_physical().equals(expected)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real months of ../shared/data/tlc are absent")
def test_real_months_agree_with_another_engine() -> None:
    paths = sorted(REAL.glob("*_tripdata_*.parquet"))
    assert len(paths) >= 9
    for path in paths:
        service, _, _ = path.stem.partition("_tripdata_")
        facts = tlc.inspect(path, str(path), service)
        frame = pl.concat(tlc.read(path, block) for block in facts.blocks)
        assert facts.warnings == ()
        assert facts.rows == len(frame) == (56_551 if service == "green" else 10_000)
        known = [name for name in MONEY if frame[name].null_count() < len(frame)]
        assert len(known) >= 7
        sums = [f"sum(cast({name} as decimal(18, 2))) * 100, count({name})" for name in known]
        sums += ["sum(VendorID)", "sum(PULocationID)", "sum(passenger_count)", "sum(payment_type)"]
        with duckdb.connect() as db:
            told = db.execute(f"select {', '.join(sums)} from '{path}'").fetchone()
        ids = ("vendor_id", "pickup_zone_id", "passenger_count", "payment_type")
        found = [number for name in known for number in (frame[name].sum(), frame[name].count())]
        assert told == (*found, *(frame[name].sum() for name in ids)), path.name


def test_the_documented_columns_are_those_that_are_read() -> None:
    rows = re.findall(r"^\| `(\w+)` \|\s*([\w, ]*?)\s*\|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == list(RAW_COLUMNS)
    documented = {column.lower(): name for name, columns in rows for column in columns.split(", ") if column}
    assert documented == dict(COLUMNS)
