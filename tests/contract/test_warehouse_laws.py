"""Whatever a month was before: after a load the tables are those of a fresh load, and what the file lacks is kept."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chillflow.stores.warehouse import Warehouse
from tests.strategies import raw_rows
from tests.warehouse_samples import MONTH, CuratedMonth, ask, contents, curated, empty, load, versions

Rows = list[dict[str, Any]]


def trip_ids(found: dict[str, list[dict[str, Any]]]) -> set[str]:
    """The trips that the tables know of, rows that stand for no trip left out."""
    of_file = {"ts_missing", "pickup_outside_file_month", "duplicate", "value_invalid"}
    rows = [row for table in found.values() for row in table if row.get("reason") not in of_file]
    return {row["trip_id"] for row in rows}


@st.composite
def republished(draw: st.DrawFn) -> list[Rows]:
    """Versions of a month's file: rows leave, come, come back, change places."""
    pool = draw(raw_rows()) + draw(raw_rows())
    chosen = st.lists(st.sampled_from(pool), max_size=len(pool)) if pool else st.just([])
    versions = draw(st.lists(chosen, min_size=2, max_size=4))
    return [[row | {"source_row": number} for number, row in enumerate(rows)] for rows in versions]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(republished())
def test_the_last_file_stands(warehouse: Warehouse, files: list[Rows]) -> None:
    months = [curated(rows) for rows in files]
    truth = fresh(warehouse, months[-1])
    empty(warehouse.dsn)
    known: set[str] = set()
    for month in months:
        load(warehouse, month)
        known |= trip_ids(contents(warehouse.dsn))
    found = contents(warehouse.dsn)
    assert {row["trip_id"] for row in found.pop("not_in_file")} == known - trip_ids(truth)
    truth.pop("not_in_file")
    assert found == truth
    before = versions(warehouse.dsn)
    load(warehouse, months[-1])
    assert versions(warehouse.dsn) == before


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw_rows())
def test_no_row_is_lost(warehouse: Warehouse, rows: Rows) -> None:
    found = fresh(warehouse, curated(rows))
    assert sum(map(len, found.values())) == len(rows)
    [entry] = warehouse.months()
    assert entry["rows_in"] == entry["trips"] + entry["quarantined"] + entry["adjustments"] == len(rows)


def fresh(warehouse: Warehouse, month: CuratedMonth) -> dict[str, list[dict[str, Any]]]:
    empty(warehouse.dsn)
    load(warehouse, month)
    assert ask(warehouse.dsn, "select count(*) from chillflow.months where month = %s", MONTH.date) == [{"count": 1}]
    return contents(warehouse.dsn)
