"""Real months, from file to settled rows: pinned counts and ids, and row by row what another engine makes of them."""

import uuid
from functools import cache
from pathlib import Path

import duckdb
import polars as pl
import pytest

from chillflow import curation, tlc
from chillflow.curation import FLAGS, Curated
from chillflow.months import Month
from chillflow.trips import trip_id
from tests.unit.test_synth import FOLD, load

REAL = Path(__file__).parents[3] / "shared" / "data" / "tlc"

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real months of ../shared/data/tlc are absent")

REASONS = {
    "2": "pickup_outside_file_month",
    "5": "reversed_original",
    "6": "zero_total",
    "7": "nonpositive_duration",
    "9": "no_movement",
    "10": "absurd_money",
    "11": "impossible_speed",
}
COUNTS = {
    "green 2024-01": (56_551, 55_123, 185, "2: 2, 5: 181, 6: 41, 7: 73, 9: 804, 10: 1, 11: 141", 1_237_711_35),
    "yellow 2018-11": (10_000, 9_914, 14, "2: 3, 6: 2, 7: 6, 9: 55, 11: 6", 167_493_36),
    "yellow 2019-01": (10_000, 9_938, 7, "6: 1, 7: 8, 9: 37, 10: 1, 11: 8", 152_108_88),
    "yellow 2019-02": (10_000, 9_920, 15, "6: 3, 7: 10, 9: 44, 11: 8", 183_147_93),
    "yellow 2019-03": (10_000, 9_931, 13, "2: 1, 6: 1, 7: 4, 9: 44, 11: 6", 187_089_61),
    "yellow 2019-04": (10_000, 9_935, 12, "6: 2, 7: 5, 9: 40, 11: 6", 190_718_65),
    "yellow 2019-05": (10_000, 9_923, 20, "2: 1, 6: 1, 7: 5, 9: 46, 11: 4", 192_500_29),
    "yellow 2019-06": (10_000, 9_903, 15, "6: 1, 7: 15, 9: 56, 11: 10", 194_715_86),
    "yellow 2020-09": (10_000, 9_847, 41, "2: 1, 6: 5, 7: 28, 9: 55, 11: 23", 174_016_88),
}
"""Of each file: rows in, trips, adjustments, rejected rows by rule, cents of all trips."""

FLAGGED = {
    "green 2024-01": (44, 0, 213, 1_823, 350, 482, 3_386, 169, 0),
    "yellow 2018-11": (0, 2, 37, 18, 214, 132, 0, 24, 159),
    "yellow 2020-09": (0, 0, 22, 108, 129, 180, 619, 13, 0),
}
"""Trips with each flag, by rule."""

FIRST_TRIPS = {
    "green 2024-01": ("018cc27c-e818-8186-80de-94804089d6f8", "018cc26e-f9b0-82b8-ab38-e663a3b2ec38"),
    "yellow 2018-11": ("0166efd2-c6a0-82ca-bae8-777d929a0c48", "01675ead-ba58-8d6f-9d5c-1f86e27d9216"),
    "yellow 2020-09": ("01744885-17a0-8a62-b7b3-1d8ae2890636", "017496f7-71a8-8425-b527-2b0171b78d12"),
}
"""Ids of the first two rows; they must never change."""


def file_of(name: str) -> tuple[str, Month, Path]:
    service, month = name.split()
    return service, Month.parse(month), REAL / f"{service}_tripdata_{month}.parquet"


def raw(name: str) -> pl.DataFrame:
    service, _, path = file_of(name)
    facts = tlc.inspect(path, str(path), service)
    assert facts.warnings == ()
    return pl.concat(tlc.read(path, block) for block in facts.blocks)


@cache
def curated(name: str) -> Curated:
    return curation.curate(raw(name), file_of(name)[1])


def test_all_real_months_are_pinned() -> None:
    assert {f"{service}_tripdata_{month}.parquet" for service, month in map(str.split, COUNTS)} == {
        path.name for path in REAL.glob("*.parquet")
    }


@pytest.mark.parametrize("name", COUNTS)
def test_every_row_is_settled_by_the_known_rule(name: str) -> None:
    rows, trips, adjustments, told, cents = COUNTS[name]
    by_rule = {REASONS[rule]: int(count) for rule, count in (one.split(": ") for one in told.split(", "))}
    rejected = sum(by_rule.values())
    found = curated(name)
    assert found.rows_in == rows == trips + adjustments + rejected
    assert (len(found.trips), len(found.adjustments), len(found.quarantine)) == (trips, adjustments, rejected)
    assert {reason: count for reason, count in found.counts.items() if reason not in FLAGS} == by_rule | {
        "reversal": adjustments
    }
    assert dict(found.quarantine["reason"].value_counts().iter_rows()) == by_rule
    assert found.trips["total_amount"].cast(pl.Int64).sum() == cents


@pytest.mark.parametrize("name", FLAGGED)
def test_trips_are_flagged_as_known(name: str) -> None:
    assert tuple(curated(name).counts.get(flag, 0) for flag in FLAGS) == FLAGGED[name]


@pytest.mark.parametrize("name", FIRST_TRIPS)
def test_ids_stay(name: str) -> None:
    first = raw(name)[:2]
    assert tuple(str(uuid.UUID(int=number)) for number in trip_id(first)) == FIRST_TRIPS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_another_engine_settles_every_row_alike(name: str) -> None:
    service, month, path = file_of(name)
    with duckdb.connect() as db:
        load(db, service, month, path)
        expected = db.execute(f"select source_row, reason, flags from ({FOLD}) order by source_row").fetchall()
    found = curated(name)
    ids = raw(name).select("source_row", trip_id=trip_id(raw(name)))
    unkept = pl.concat([
        found.quarantine.select("source_row", "reason"),
        found.adjustments.select("source_row", reason=pl.lit("reversal")),
    ]).with_columns(flags=pl.lit(0, pl.Int32))  # fmt: skip
    kept = (
        ids.join(unkept, on="source_row", how="anti")
        .join(found.trips.select("trip_id", "flags"), on="trip_id", how="left")
        .select("source_row", reason=pl.lit(None, pl.String), flags="flags")
    )
    assert pl.concat([unkept, kept]).sort("source_row").rows() == expected
