"""The KPIs of real months: every measure as another engine computes it, and the figures that are known of them."""

from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from chillflow import curation, kpis, tlc
from chillflow.kpis import NAMES
from chillflow.months import Month
from chillflow.trips import ADJUSTMENTS, TRIPS, to_table
from tests.acceptance.test_real_months import COUNTS, REAL, file_of

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real months of ../shared/data/tlc are absent")

FOLD = (Path(__file__).parent / "kpi_fold.sql").read_text()


@cache
def curated(name: str) -> curation.Curated:
    service, month, path = file_of(name)
    facts = tlc.inspect(path, str(path), service)
    return curation.curate(pl.concat(tlc.read(path, block) for block in facts.blocks), month)


@cache
def measures(name: str) -> list[dict[str, Any]]:
    """Zone-hours of a month as they are stored."""
    found = curated(name)
    return kpis.to_table(kpis.merge([kpis.partial(found.trips, found.adjustments)])).to_pylist()


@pytest.mark.parametrize("name", COUNTS)
def test_another_engine_computes_every_measure_alike(name: str) -> None:
    found = curated(name)
    with duckdb.connect() as db:
        db.register("trips", to_table(found.trips, TRIPS).drop_columns("trip_id"))
        db.register("adjustments", to_table(found.adjustments, ADJUSTMENTS).drop_columns("trip_id"))
        cursor = db.execute(FOLD)
        names = [column[0] for column in cursor.description]
        expected = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert names == [*kpis.KEY, *NAMES]
    assert measures(name) == expected
    assert len(expected) > 3_000


def total(names: list[str], measure: str) -> Decimal:
    return sum((Decimal(row[measure]) for name in names for row in measures(name)), Decimal(0))


def mph(names: list[str]) -> Decimal:
    return total(names, "speed_distance_sum") / total(names, "speed_duration_sum") * 3600


def test_the_emptier_city_of_2020_was_faster() -> None:
    """16.7 mph is the year's; September, all of it that is here, is between that and the years before."""
    before = mph([name for name in COUNTS if name.startswith("yellow 201")])
    assert Decimal("1.05") * before < mph(["yellow 2020-09"]) < Decimal("16.7")


def test_the_known_figures_of_the_city_come_out() -> None:
    """Speed, share of airport trips and of tips, as measured in many more samples of 2018 and 2019."""
    names = [name for name in COUNTS if name.startswith("yellow 201")]
    speed = mph(names)
    airport = total(names, "airport_trips") / total(names, "pickups") * 100
    tip = total(names, "card_tip_sum") / (total(names, "card_total_sum") - total(names, "card_tip_sum")) * 100
    assert Decimal("12.3") <= round(speed, 1) <= Decimal("12.4")
    assert Decimal("7.3") <= round(airport, 1) <= Decimal("7.7")
    assert Decimal("17.7") <= round(tip, 1) <= Decimal("17.9")


@pytest.mark.parametrize("name", ["green 2024-01", "yellow 2020-09"])
def test_parts_in_any_order_and_grouping_merge_to_the_same(name: str) -> None:
    found = curated(name)
    cut = len(found.trips) // 3
    a = kpis.partial(found.trips[:cut], found.adjustments)
    b = kpis.partial(found.trips[cut:], found.adjustments[:0])
    c = kpis.partial(found.trips[:0], found.adjustments[:0])
    whole = kpis.merge([kpis.partial(found.trips, found.adjustments)])
    assert whole.equals(kpis.merge([a, b, c]))
    assert whole.equals(kpis.merge([kpis.merge([b, c]), a]))
    assert whole["hour"].min() >= Month.parse(name[-7:]).start
