"""Two sides of a month: whatever differs is found, named, and counted once."""

import datetime as dt
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given

from chillflow.curation import curate
from chillflow.months import Month
from chillflow.reconciliation import (
    BY_ROW,
    BY_TRIP,
    TABLES,
    Account,
    Difference,
    Findings,
    by_row,
    by_trip,
    chosen,
    compare,
    findings,
    pickups,
    ranges,
)
from chillflow.trips import id_text
from tests.strategies import raw_frame, raw_rows
from tests.warehouse_samples import MONTH, raw_row

ROWS = [
    raw_row(0),
    raw_row(1, passenger_count=0, trip_distance=150.25),
    raw_row(2, total_amount=0),
    raw_row(3),
    raw_row(3, total_amount=-750, source_row=4),
    raw_row(5, trip_distance=None),
    raw_row(0, source_row=6),
    raw_row(7, dropoff_at=None),
]
PICKUP = dt.datetime(2018, 11, 4)


def sides(rows: list[dict[str, Any]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a month's file, curated: those that stand for trips, and those under file rules."""
    made = curate(raw_frame(rows), MONTH)
    tables = {"trips": made.trips, "quarantine": made.quarantine, "adjustments": made.adjustments}
    return by_trip(tables), by_row(made.quarantine)


@pytest.fixture
def lake() -> pl.DataFrame:
    return sides(ROWS)[0]


def at(number: int, *, reversal: bool = False) -> pl.Expr:
    """The row of a trip that begins so many minutes later."""
    pickup = pl.col("pickup_at") == PICKUP + dt.timedelta(minutes=number)
    return pickup & ((pl.col("total_amount") < 0) == reversal)


def changed(frame: pl.DataFrame, when: pl.Expr, **values: Any) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(when).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def only(found: Findings) -> Difference:
    assert found.total.differences == len(found.sample) == 1
    return found.sample[0]


def text_of(frame: pl.DataFrame, when: pl.Expr) -> str:
    [found] = id_text(frame.filter(when)["trip_id"])
    return str(found)


def test_equal_sides_have_no_differences(lake: pl.DataFrame) -> None:
    same = compare(lake, lake.reverse())
    found = findings(same)
    assert same.agrees
    assert {name: tally.same for name, tally in found.tables.items()} == {"trips": 3, "quarantine": 2, "adjustments": 1}
    assert found.total.differences == found.lost == 0
    assert not found.columns


def test_raw_values_are_compared_as_values(lake: pl.DataFrame) -> None:
    """PostgreSQL keeps the values of JSON, not its text."""
    spelled = '{"passenger_count": 0.0, "trip_distance": 150.250}'
    assert lake["raw"].drop_nulls().to_list() == ['{"trip_distance": 150.25, "passenger_count": 0}']
    assert compare(lake, changed(lake, at(1), raw=spelled)).agrees
    huge = '{"trip_distance": 1e300}'
    whole = f'{{"trip_distance": {int(1e300)}}}'
    assert compare(changed(lake, at(1), raw=huge), changed(lake, at(1), raw=whole)).agrees
    assert only(findings(compare(lake, changed(lake, at(1), raw=huge)))).columns.keys() == {"raw"}
    assert only(findings(compare(lake, changed(lake, at(1), raw=None)))).columns.keys() == {"raw"}


@pytest.mark.parametrize("name", [name for name in BY_TRIP if name not in ("trip_id", "table", "raw", "reason")])
def test_each_column_of_a_trip_is_compared(lake: pl.DataFrame, name: str) -> None:
    for lacks in (False, True):
        value = lake.filter(at(0))[name][0]
        other: dict[str, Any] = {
            "pickup_at": PICKUP - dt.timedelta(microseconds=1),
            "dropoff_at": PICKUP,
            "trip_distance": 1.5000000001,
        }
        more = other[name] if name in other else "?" if lake.schema[name] == pl.String else (value or 0) + 1
        stream = changed(lake, at(0), **{name: None if lacks else more})
        if stream.equals(lake):
            continue
        difference = only(findings(compare(lake, stream)))
        assert (difference.kind, difference.table, difference.key) == ("different", "trips", text_of(lake, at(0)))
        assert difference.columns.keys() == {name}
        [(mine, theirs)] = difference.columns.values()
        assert mine != theirs


def test_a_reason_is_compared(lake: pl.DataFrame) -> None:
    difference = only(findings(compare(lake, changed(lake, at(2), reason="no_movement"))))
    assert difference.table == "quarantine"
    assert difference.columns == {"reason": ("zero_total", "no_movement")}


def test_a_trip_in_another_table_is_told_as_such(lake: pl.DataFrame) -> None:
    found = findings(compare(lake, changed(lake, at(0), table="quarantine", reason="not_in_file", fare_amount=1)))
    assert only(found).columns == {"table": ("trips", "quarantine")}
    assert (found.tables["trips"].different, found.tables["trips"].stream) == (1, 2)
    assert (found.tables["quarantine"].different, found.tables["quarantine"].stream) == (0, 3)


@pytest.mark.parametrize(
    ("table", "when"), [("trips", at(5)), ("quarantine", at(2)), ("adjustments", at(3, reversal=True))]
)
def test_missing_and_extra_rows_are_found(lake: pl.DataFrame, table: str, when: pl.Expr) -> None:
    missing = findings(compare(lake, lake.filter(~when)))
    extra = findings(compare(lake.filter(~when), lake))
    assert [only(found).kind for found in (missing, extra)] == ["missing", "extra"]
    assert only(missing).key == only(extra).key == text_of(lake, when)
    assert (missing.tables[table].missing, missing.lost) == (1, 1)
    assert (extra.tables[table].extra, extra.lost) == (1, 0)


def test_a_trip_that_is_there_twice_is_extra(lake: pl.DataFrame) -> None:
    again = lake.filter(at(0))
    assert only(findings(compare(lake, pl.concat([lake, again])))).kind == "extra"
    other = changed(again, pl.lit(True), table="quarantine")
    assert only(findings(compare(lake, pl.concat([lake, other])))).table == "quarantine"
    assert only(findings(compare(pl.concat([lake, again]), lake))).kind == "missing"


def test_a_side_without_rows_is_all_missing_or_extra(lake: pl.DataFrame) -> None:
    nothing = lake.clear()
    assert findings(compare(lake, nothing)).total.missing == len(lake)
    assert findings(compare(nothing, lake)).total.extra == len(lake)
    assert compare(nothing, nothing).agrees


def test_file_rows_are_compared_by_their_place(lake: pl.DataFrame) -> None:
    rows = sides(ROWS)[1]
    assert rows["source_row"].to_list() == [6, 7]
    assert compare(rows, rows).agrees
    assert not compare(rows, rows.head(1)).agrees
    moved = rows.with_columns(pl.col("source_row") + 1)
    assert findings(compare(rows, moved)).total.differences == 3
    for name in BY_ROW:
        if name in ("source_row", "table"):
            continue
        other = rows.with_columns(pl.lit(None, rows.schema[name]).alias(name))
        found = findings(compare(rows, other))
        assert set(found.columns) <= {name}
        assert found.total.different == rows[name].count()
    odd = changed(rows, pl.lit(True), trip_distance=float("nan"))
    assert compare(odd, odd).agrees
    [difference] = findings(
        compare(rows.head(1), changed(rows.head(1), pl.lit(True), unrepresentable="extra=nan"))
    ).sample
    assert (difference.key, difference.columns) == ("row 6", {"unrepresentable": (None, "extra=nan")})


def test_differences_of_incomplete_trips_and_dead_letters_are_explained(lake: pl.DataFrame) -> None:
    """The original of a reversal that is incomplete is explained too: their ids differ in the last bit."""
    stream = changed(lake.filter(~at(3, reversal=True) & ~at(5)), at(3), table="trips", reason=None)
    stream = changed(stream, at(0), fare_amount=1)
    originals = lake.filter(at(3))["trip_id"]
    dead = lake.filter(at(0) | at(3))["trip_id"]
    found = findings(compare(lake, stream), {"incomplete trip": originals, "dead letter": dead})
    whys = {(difference.kind, difference.key): difference.why for difference in found.sample}
    assert whys == {
        ("missing", text_of(lake, at(3, reversal=True))): "incomplete trip",
        ("different", text_of(lake, at(3))): "incomplete trip",
        ("different", text_of(lake, at(0))): "dead letter",
        ("missing", text_of(lake, at(5))): None,
    }
    assert (found.total.explained, found.total.differences, found.lost) == (3, 4, 1)
    assert found.sample[0].why is None


def test_a_sample_is_bounded_and_has_some_of_every_sort(lake: pl.DataFrame) -> None:
    rows = [raw_row(number) for number in range(90)]
    rows += [raw_row(number, total_amount=0) for number in range(90, 95)]
    whole = sides(rows)[0]
    stream = whole.filter(~at(91)).with_columns(pl.when(~at(0)).then(pl.lit(3)).alias("vendor_id"))
    found = findings(compare(whole, stream), sample=5)
    assert len(found.sample) == 5
    assert found.total.differences == 95
    assert {(one.kind, one.table) for one in found.sample} == {
        ("missing", "quarantine"), ("different", "quarantine"), ("different", "trips")
    }  # fmt: skip
    both = found.plus(found)
    assert (both.total.differences, both.columns["vendor_id"]) == (190, 188)
    assert len(chosen(both.sample, 3)) == 3


@given(raw_rows(), raw_rows())
def test_every_row_is_counted_once(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    for lake, stream in zip(sides(mine), sides(theirs), strict=True):
        assert compare(lake, lake).agrees
        found = findings(compare(lake, stream))
        back = findings(compare(stream, lake))
        assert found.total.lake == len(lake) == back.total.stream
        assert found.total.lake == found.total.same + found.total.missing + found.total.different
        assert found.total.stream == found.total.same + found.total.extra + found.total.different
        assert (found.total.missing, found.total.extra) == (back.total.extra, back.total.missing)
        assert [found.tables[name].lake for name in TABLES] == [back.tables[name].stream for name in TABLES]


def test_slices_cover_a_month_and_a_file() -> None:
    month = Month(2019, 2)
    slices = pickups(month, 7)
    assert (slices[0][0], slices[-1][1]) == (month.start, month.next.start)
    assert all(before[1] == after[0] for before, after in pairwise(slices))
    assert list(ranges(10, 3)) == [(0, 4), (4, 8), (8, 2**62)]
    assert list(ranges(0, 3)) == [(0, 2**62)]


def test_an_account_adds_up_or_does_not() -> None:
    assert Account(10, 6, 2, 1, 1, 0).adds_up
    assert Account(None, 6, 2, 1, 1, 0).adds_up
    assert not Account(11, 6, 2, 1, 1, 0).adds_up
