"""What is no month of TLC trips is refused in one sentence that names the file, the fault and the remedy."""

import contextlib
import datetime as dt
import errno
import io
import pickle
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from chillflow import tlc
from chillflow.errors import ColumnTwice, EraWithoutZones, MissingColumn, NotWhole, SourceError, WrongColumnType
from tests.tlc_samples import ERAS, MODERN, TRIPS, inspect, parquet, published, put, read


@pytest.mark.parametrize(
    ("column", "values", "found", "expected"),
    [
        ("fare_amount", ["6.55"], "string", "a number"),
        ("VendorID", ["CMT"], "string", "a number"),
        ("passenger_count", [True], "bool", "a number"),
        ("tpep_pickup_datetime", ["2019-01-05 06:00:31"], "string", "a timestamp without time zone"),
        ("tpep_pickup_datetime", [dt.datetime(2019, 1, 5, tzinfo=dt.UTC)], "timestamp[us, tz=UTC]",
         "a timestamp without time zone"),
        ("tpep_dropoff_datetime", [dt.date(2019, 1, 5)], "date32[day]", "a timestamp without time zone"),
        ("store_and_fwd_flag", [1], "int64", "text"),
        ("request_source", [{"app": 1}], "struct<app: int64>", "text"),
    ],
)  # fmt: skip
def test_a_column_of_the_wrong_type_is_refused(column: str, values: list[Any], found: str, expected: str) -> None:
    with pytest.raises(WrongColumnType) as refused:
        inspect(parquet(put(column, values)))
    fault = refused.value
    assert (fault.path, fault.column, fault.found, fault.expected) == ("months/file.parquet", column, found, expected)
    assert str(fault).startswith(f"months/file.parquet: column {column} holds {found} where {expected} is expected; ")


OPTIONAL = {"improvement_surcharge", "congestion_surcharge", "Airport_fee", "cbd_congestion_fee", "request_source"}


@pytest.mark.parametrize("column", published(MODERN).schema.names)
def test_a_missing_column_is_named_unless_its_era_may_lack_it(column: str) -> None:
    data = parquet(published(MODERN).drop_columns([column]))
    if column in OPTIONAL:
        canonical_name = column.lower()
        assert read(data)[canonical_name].null_count() == len(TRIPS)
        return
    with pytest.raises(MissingColumn, match=f"months/file.parquet has no column (?i:{column}); check"):
        inspect(data)


@pytest.mark.parametrize(("service", "column"), [("yellow", "tpep_pickup_datetime"), ("green", "lpep_pickup_datetime")])
def test_a_file_of_the_other_service_is_refused(service: str, column: str) -> None:
    other = ERAS["green 2024-01"] if service == "yellow" else MODERN
    with pytest.raises(MissingColumn, match=f"has no column {column}; check that it is a file of this service"):
        inspect(parquet(published(other)), service)


@pytest.mark.parametrize(
    "columns",
    [("vendor_name", "Trip_Pickup_DateTime", "Trip_Dropoff_DateTime", "Start_Lon", "Start_Lat"),
     ("vendor_id", "pickup_datetime", "dropoff_datetime", "pickup_longitude", "pickup_latitude")],
    ids=["2009", "2010"],
)  # fmt: skip
def test_years_without_zones_are_refused_and_the_first_with_them_is_named(columns: tuple[str, ...]) -> None:
    with pytest.raises(EraWithoutZones, match=f"coordinates .{columns[3]}. instead of taxi zones.*begin with 2011-01"):
        inspect(parquet(pa.table({name: ["x"] for name in columns})))


@pytest.mark.parametrize("again", ["airport_fee", "Airport_fee"])
def test_a_column_that_is_there_twice_is_refused(again: str) -> None:
    table = published(MODERN).append_column(again, pa.nulls(len(TRIPS), pa.float64()))
    with pytest.raises(ColumnTwice, match="has column airport_fee twice"):
        inspect(parquet(table))


def test_a_fraction_among_whole_numbers_is_named_with_its_row() -> None:
    data = parquet(put("RatecodeID", [1.0, None, 3.0, 1.0, 2.5, 3.5]), row_group_rows=3)
    first, second = inspect(data).blocks
    assert tlc.read(pa.BufferReader(data), first)["rate_code"].to_list() == [1, None, 3]
    with pytest.raises(NotWhole, match=r"months/file.parquet: column RatecodeID holds 2\.5 in row 4 .*; correct the"):
        tlc.read(pa.BufferReader(data), second)


GOOD = parquet(published(MODERN, TRIPS * 40), 100)
FOOTER = len(GOOD) - 8 - int.from_bytes(GOOD[-8:-4], "little")
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (XML, "it is no whole Parquet file"),
        (GOOD[:-100], "it is no whole Parquet file"),
        (GOOD[:6], "it is no whole Parquet file"),
        (GOOD[: len(GOOD) // 2] + GOOD[-8:], "its content is damaged"),
        (GOOD[:FOOTER] + bytes([255] * 20) + GOOD[FOOTER + 20 :], "its content is damaged"),
        (parquet(published(MODERN, TRIPS[:1]).slice(0, 0)), "it holds no rows"),
    ],
    ids=["empty", "xml", "cut off", "only a head", "a piece lost", "footer damaged", "no rows"],
)
def test_a_file_that_is_no_months_is_refused_with_the_reason_and_the_remedy(data: bytes, why: str) -> None:
    with pytest.raises(SourceError) as refused:
        inspect(data)
    sentence = str(refused.value)
    assert sentence.startswith(f"months/file.parquet cannot be read: {why}")
    assert sentence.endswith("; fetch it again with `chillflow fetch`")
    assert "\n" not in sentence


def test_a_footer_that_contradicts_itself_is_refused() -> None:
    rows = b"\x16\x90\x03"  # 200 as a field of the footer; each row group tells 100
    assert GOOD.count(rows, FOOTER) == 1
    with pytest.raises(SourceError, match="its footer contradicts itself on the number of rows"):
        inspect(GOOD[:FOOTER] + GOOD[FOOTER:].replace(rows, b"\x16\x92\x03"))


def test_a_name_that_is_no_text_is_damage() -> None:
    with pytest.raises(SourceError, match=r"its content is damaged .*utf-8"):
        inspect(GOOD.replace(b"trip_distance", b"\xffrip_distance"))


def test_a_damaged_row_group_in_the_middle_fails_alone() -> None:
    data = parquet(published(MODERN, TRIPS * 60), 100)
    inside = pq.read_metadata(pa.BufferReader(data)).row_group(1).column(3).data_page_offset
    damaged = data[:inside] + bytes([255] * 40) + data[inside + 40 :]
    first, middle, last = inspect(damaged).blocks
    with pytest.raises(SourceError, match=r"months/file\.parquet cannot be read: its content is damaged .*; fetch it"):
        tlc.read(pa.BufferReader(damaged), middle)
    for block in (first, last):
        assert_frame_equal(tlc.read(pa.BufferReader(damaged), block), tlc.read(pa.BufferReader(data), block))


def test_text_that_is_not_utf8_is_refused() -> None:
    broken = pa.array([b"N", b"\xff\xfe"]).view(pa.string())
    for column in (broken, broken.dictionary_encode()):
        data = parquet(put("store_and_fwd_flag", column))
        with pytest.raises(SourceError, match="column store_and_fwd_flag holds text that is not UTF-8"):
            read(data)


def test_a_file_that_is_replaced_while_it_is_read_is_refused() -> None:
    with pytest.raises(SourceError, match="it changed while it was read; run again"):
        tlc.read(pa.BufferReader(parquet(published(MODERN))), inspect(GOOD).blocks[1])
    with pytest.raises(SourceError, match="its footer tells of 100 rows where 5 are found"):
        tlc.read(pa.BufferReader(parquet(published(MODERN))), inspect(GOOD).blocks[0])


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_bytes_anywhere_end_in_an_error_or_in_as_many_rows_as_told(damage: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in damage:
        data[place] = value
    with contextlib.suppress(SourceError):
        assert len(read(bytes(data))) == inspect(bytes(data)).rows


@pytest.mark.parametrize(
    "fault",
    [EraWithoutZones("f", "Start_Lon"), MissingColumn("f", "VendorID"), ColumnTwice("f", "airport_fee"),
     WrongColumnType("f", "extra", "string", "a number"), NotWhole("f", "RatecodeID", 2.5, 7)],
    ids=lambda fault: type(fault).__name__,
)  # fmt: skip
def test_refusals_travel_between_processes(fault: SourceError) -> None:
    again = pickle.loads(pickle.dumps(fault))
    assert (type(again), str(again)) == (type(fault), str(fault))


def test_a_storage_that_fails_is_not_taken_for_a_damaged_file() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(SourceError, match=r"Input/output error; check the storage and run again"):
        tlc.inspect(Failing(GOOD), "months/file.parquet", "yellow")
