"""Laws 1, 6 and 8 and block independence of curation, over rows in which every rule and pair occurs."""

from datetime import datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chillflow import curation, pairs
from chillflow.curation import FLAGS, RULES, Curated, Pairs, curate, flag_names, judge_file
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS, id_key, no_ids, to_table, trip_id
from tests import reference
from tests.strategies import MONTH, raw_frame, raw_rows

rows_of_a_month = st.one_of(raw_rows("yellow"), raw_rows("green"))


@given(rows_of_a_month)
def test_every_row_becomes_what_the_table_says(rows):
    result = curate(raw_frame(rows), MONTH)

    expected = reference.fold(rows, MONTH.start, MONTH.next.start)
    rejected = dict(result.quarantine.select("source_row", "reason").iter_rows())
    adjusted = set(result.adjustments["source_row"])
    found = ["reversal" if n in adjusted else rejected.get(n, "trip") for n in range(len(rows))]
    assert found == [reason for reason, _ in expected]
    assert result.counts == reference.totals(expected)


@given(rows_of_a_month)
def test_rows_in_are_trips_quarantine_and_adjustments(rows):
    result = curate(raw_frame(rows), MONTH)

    assert result.rows_in == len(rows)
    assert len(result.trips) + len(result.quarantine) + len(result.adjustments) == len(rows)
    unkept = [rule.name for rule in RULES if rule.action != "flag"]
    assert sum(result.counts.get(name, 0) for name in unkept) == len(rows) - len(result.trips)


@given(rows_of_a_month)
def test_money_is_kept_to_the_cent(rows):
    result = curate(raw_frame(rows), MONTH)

    parts = (result.trips, result.quarantine, result.adjustments)
    kept = sum(part["total_amount"].cast(pl.Int64).sum() for part in parts)
    assert kept == sum(row["total_amount"] or 0 for row in rows)
    for part, schema in zip(parts, (TRIPS, QUARANTINE, ADJUSTMENTS), strict=True):
        assert to_table(part, schema).schema == schema


@given(rows_of_a_month)
def test_each_trip_id_is_once_among_what_rules_1_and_2_leave(rows):
    result = curate(raw_frame(rows), MONTH)

    whole = result.quarantine.filter(~pl.col("reason").is_in(["ts_missing", "pickup_outside_file_month", "duplicate"]))
    ids = pl.concat([part.select("trip_id") for part in (result.trips, whole, result.adjustments)])
    assert ids["trip_id"].null_count() == 0
    assert ids["trip_id"].n_unique() == len(ids)


@given(rows_of_a_month, st.lists(st.integers(0, 25), max_size=5))
@settings(max_examples=150)
def test_any_split_into_blocks_gives_the_same_month(rows, cuts):
    frame = raw_frame(rows)
    whole = curate(frame, MONTH)

    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    blocks = [frame[start:end] for start, end in pairwise(edges)]
    parts = curate_in_blocks(blocks)

    for name in ("trips", "quarantine", "adjustments"):
        expected = getattr(whole, name).sort(pl.all())
        found = pl.concat([getattr(part, name) for part in parts] or [expected.clear()]).sort(pl.all())
        assert found.equals(expected)


def curate_in_blocks(blocks: list[pl.DataFrame]) -> list[Curated]:
    """As the job does it: each block alone, then once more those that pairs in other blocks concern."""
    parts = [curate(block, MONTH) for block in blocks]
    shared = pairs.shared_keys([keys_of(part) for part in parts])
    seen = pairs.seen_before({position: ids_behind(block, shared) for position, block in enumerate(blocks)})
    for position, ids in seen.items():
        parts[position] = curate(blocks[position], MONTH, Pairs(seen=ids))
    for position, originals in pairs.reversed_elsewhere([keys_of(part) for part in parts]).items():
        told = Pairs(seen=seen.get(position, no_ids()), originals=originals)
        parts[position] = curate(blocks[position], MONTH, told)
    return parts


def keys_of(part: Curated) -> pairs.BlockKeys:
    return pairs.BlockKeys(part.keys.to_numpy(), part.originals)


def ids_behind(block: pl.DataFrame, keys) -> pl.Series:
    frame = block.select(trip_id(block))
    return frame.filter(id_key(pl.col("trip_id")).is_in(pl.Series(keys, dtype=pl.UInt64).implode()))["trip_id"]


def test_a_fix_keeps_the_raw_values():
    row = raw_row(passenger_count=0, trip_distance=123.4)

    trip = curate(raw_frame([row]), MONTH).trips.row(0, named=True)

    assert trip["passenger_count"] is None
    assert trip["trip_distance"] is None
    assert flag_names(trip["flags"]) == ["bad_distance", "passenger_unknown"]
    assert trip["raw"] == '{"trip_distance": 123.4, "passenger_count": 0}'


def test_a_trip_across_the_autumn_hour_ends_an_hour_later():
    row = raw_row(pickup_at="2018-11-04T01:50:00", dropoff_at="2018-11-04T01:10:00")

    trip = curate(raw_frame([row]), MONTH).trips.row(0, named=True)

    assert str(trip["dropoff_at"]) == "2018-11-04 02:10:00"
    assert trip["raw"] == '{"dropoff_at": "2018-11-04T01:10:00"}'


def test_a_reversed_original_that_did_not_move_has_reason_5():
    original = raw_row(trip_distance=0.0, dropoff_at="2018-11-05T08:00:30", source_row=0)
    reversal = original | {"total_amount": -original["total_amount"], "source_row": 1}

    for rows in ([original, reversal], [reversal, original]):
        result = curate(raw_frame(rows), MONTH)
        assert result.counts == {"reversal": 1, "reversed_original": 1}


def test_a_reversal_in_another_block_is_told_by_pairs():
    original = raw_row()
    ids = trip_id(raw_frame([original]))

    result = curate(raw_frame([original]), MONTH, Pairs(originals=ids))

    assert result.counts == {"reversed_original": 1}


def test_a_row_again_is_a_duplicate_though_the_first_is_invalid():
    """Rule 2b comes before 2c: both paths settle the rows of an id by its first row in the file."""
    rows = raw_frame([raw_row(tip_amount=None, source_row=0), raw_row(source_row=1), raw_row(source_row=2)])
    rows = rows.with_columns(unrepresentable=pl.Series(["tip_amount=NaN", None, None]))
    expected = {0: "value_invalid", 1: "duplicate", 2: "duplicate"}

    parts = [curate(rows, MONTH)], curate_in_blocks([rows[:1], rows[1:2], rows[2:]])
    for found in parts:
        assert not any(len(part.trips) for part in found)
        assert dict(pl.concat([part.quarantine for part in found])["source_row", "reason"].iter_rows()) == expected
    assert dict(judge_file(rows, MONTH).rejected["source_row", "reason"].iter_rows()) == expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_says_why_it_is_there(rule):
    assert rule.why
    assert rule.name.isidentifier()
    assert (rule.name in FLAGS) == (rule.action == "flag")


def test_flags_begin_with_rule_12():
    numbers = {rule.name: int(rule.number) for rule in RULES if rule.action == "flag"}
    assert {name: 1 << (number - 12) for name, number in numbers.items()} == curation.FLAGS


def raw_row(**changes):
    row = {
        "service": "yellow", "vendor_id": 2, "pickup_at": datetime(2018, 11, 5, 8),
        "dropoff_at": datetime(2018, 11, 5, 8, 20),
        "pickup_zone_id": 161, "dropoff_zone_id": 237, "passenger_count": 1, "trip_distance": 1.9, "rate_code": 1,
        "store_and_fwd": "N", "payment_type": 1, "trip_type": None, "fare_amount": 1000, "extra": 0, "mta_tax": 50,
        "tip_amount": 200, "tolls_amount": 0, "improvement_surcharge": 30, "total_amount": 1280,
        "congestion_surcharge": None, "airport_fee": None, "cbd_congestion_fee": None, "request_source": None,
        "source_row": 0, "unrepresentable": None,
    }  # fmt: skip
    for name in ("pickup_at", "dropoff_at"):
        if isinstance(changes.get(name), str):
            changes[name] = datetime.fromisoformat(changes[name])
    return row | changes
