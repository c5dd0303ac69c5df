"""Partials are what a fold in plain Python finds, however the rows are split."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from chillflow import curation, kpis
from chillflow.curation import Curated
from chillflow.trips import ADJUSTMENTS, TRIPS, to_table
from tests.kpi_fold import ZERO, of_trip
from tests.strategies import MONTH, raw_frame, raw_rows

parts = st.lists(raw_rows(), min_size=1, max_size=3)


def curated(rows: list[dict[str, Any]]) -> Curated:
    return curation.curate(raw_frame(rows), MONTH)


def folded(blocks: list[Curated]) -> list[dict[str, Any]]:
    hours: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(lambda: dict(ZERO))

    def add(row: dict[str, Any], end: str, measures: dict[str, Any]) -> None:
        hour = row[f"{end}_at"].replace(minute=0, second=0, microsecond=0)
        for name, value in measures.items():
            hours[row["service"], row[f"{end}_zone_id"], hour][name] += value

    for block in blocks:
        for trip in to_table(block.trips, TRIPS).to_pylist():
            add(trip, "pickup", of_trip(trip))
            add(trip, "dropoff", {"dropoffs": 1})
        for row in to_table(block.adjustments, ADJUSTMENTS).to_pylist():
            add(row, "pickup", {"reversed_trips": 1, "reversed_sum": row["total_amount"]})
    return [dict(zip(kpis.KEY, key, strict=True)) | hours[key] for key in sorted(hours)]


def partial(block: Curated) -> pl.DataFrame:
    return kpis.partial(block.trips, block.adjustments)


@given(parts)
def test_merged_partials_are_the_fold_of_all_rows(rows):
    blocks = [curated(part) for part in rows]

    assert kpis.to_table(kpis.merge(map(partial, blocks))).to_pylist() == folded(blocks)


@given(parts)
def test_in_any_order_and_grouping_they_merge_to_the_same(rows):
    found = [partial(curated(part)) for part in rows]

    assert kpis.merge(reversed(found)).equals(kpis.merge(found))
    assert kpis.merge([found[0], kpis.merge([found[0].clear(), *found[1:]])]).equals(kpis.merge(found))


def test_sums_of_the_greatest_amounts_are_exact():
    block = curated([])
    row = {name: None for name in block.trips.columns}
    row |= {"service": "yellow", "pickup_at": MONTH.start, "dropoff_at": MONTH.next.start, "flags": 0}
    row |= {"pickup_zone_id": 1, "dropoff_zone_id": 2, "total_amount": 999_999_999}
    trips = pl.DataFrame([row], schema=block.trips.schema).select(pl.all().repeat_by(100_000).explode())

    (pickups, _) = kpis.to_table(kpis.merge([kpis.partial(trips, block.adjustments)])).to_pylist()

    assert pickups["total_sum"] == Decimal("9999999.99") * 100_000
