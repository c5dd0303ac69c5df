"""The batch path as its users run it: months of Parquet to trips, KPIs and a ledger that adds up."""

import shutil
from pathlib import Path

import polars as pl
import psycopg
import pytest

from chillflow import kpis, tlc
from chillflow.months import Month, parse_months
from chillflow.stores.lake import Lake
from chillflow.synth import write_month
from chillflow.trips import to_frame, trip_id
from tests.fix_embedded import REPO, Cli
from tests.warehouse_dump import dump

REAL = REPO.parent / "shared" / "data" / "tlc"
MONTHS = "2018-11,2018-12,2019-03"


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Months whose row groups are small, so that pairs lie in different blocks."""
    folder = tmp_path_factory.mktemp("synthetic")
    for month in parse_months(MONTHS):
        write_month("yellow", month, 6_000, 11, folder, 1_500)
    write_month("green", Month(2018, 11), 3_000, 11, folder, 1_000)
    return folder


@pytest.fixture(scope="module")
def backfilled(shared_cli: Cli, synthetic: Path) -> Cli:
    """All these months in one warehouse; tests leave it as they found it."""
    shared_cli.run("backfill", "yellow", MONTHS, "--source", str(synthetic))
    shared_cli.run("backfill", "green", "2018-11", "--source", str(synthetic))
    return shared_cli


def test_every_synthetic_row_becomes_what_its_truth_says(backfilled, synthetic):
    lake = Lake(backfilled.env["CHILLFLOW_LAKE"])
    for month in parse_months(MONTHS):
        truth = pl.read_parquet(synthetic / f"yellow_tripdata_{month}.truth.parquet")
        unkept = {kind: _rows(lake, month, kind) for kind in ("quarantine", "adjustments")}
        assert _pairs(unkept["quarantine"], "source_row", "reason") == _pairs(
            truth.filter(outcome="quarantine"), "source_row", "reason"
        )
        assert set(unkept["adjustments"]["source_row"]) == set(truth.filter(outcome="adjustment")["source_row"])
        ids = _ids(synthetic, month).join(truth.filter(outcome="trip"), on="source_row")
        assert _pairs(_rows(lake, month, "trips"), "trip_id", "flags") == _pairs(ids, "trip_id", "flags")


def _rows(lake: Lake, month: Month, kind) -> pl.DataFrame:
    return pl.concat([to_frame(table) for table in lake.read("yellow", month, kind)])


def _pairs(frame: pl.DataFrame, *names: str) -> list:
    return sorted(frame.select(names).iter_rows())


def _ids(folder: Path, month: Month) -> pl.DataFrame:
    path = folder / tlc.file_name("yellow", month)
    with path.open("rb") as file:
        raw = pl.concat([tlc.read(file, block) for block in tlc.inspect(file, str(path), "yellow").blocks])
    return raw.select("source_row", trip_id(raw))


def test_a_backfill_adds_up_and_again_changes_nothing(backfilled, synthetic):
    before = dump(backfilled.dsn)

    again = backfilled.run("backfill", "yellow", MONTHS, "--source", str(synthetic))

    assert dump(backfilled.dsn) == before
    assert again.stderr.count("done already") == 3
    for row in backfilled.json("months"):
        assert row["status"] == "done"
        assert row["rows_in"] == row["trips"] + row["quarantined"] + row["adjustments"]
        assert row["rows_in"] == {"yellow": 6_000, "green": 3_000}[row["service"]]
    with psycopg.connect(backfilled.dsn) as connection:
        counted = connection.execute(
            "select (select count(*) from chillflow.trips) + (select count(*) from chillflow.quarantine) "
            "+ (select count(*) from chillflow.adjustments)"
        ).fetchone()
    assert counted == (21_000,)

    backfilled.run("backfill", "yellow", MONTHS, "--source", str(synthetic), "--force")
    assert dump(backfilled.dsn) == before


def test_all_ways_of_aggregating_give_what_a_backfill_gave(backfilled):
    cli, before = backfilled, dump(backfilled.dsn)

    for way in (["yellow", MONTHS], ["yellow", MONTHS, "--from", "lake"], []):
        with psycopg.connect(cli.dsn) as connection:
            connection.execute("insert into chillflow.kpi_dirty (service, hour) select distinct service, hour "
                               "from chillflow.kpi_zone_hourly where service = 'yellow'")  # fmt: skip
            connection.execute("delete from chillflow.kpi_zone_hourly where service = 'yellow'")
        cli.run("aggregate", *way)
        assert dump(cli.dsn) == before
    assert "is not in the warehouse" in cli.run("aggregate", "green", "2019-05", code=1).stderr
    assert "is not in the lake" in cli.run("aggregate", "green", "2019-05", "--from", "lake", code=1).stderr
    assert "MONTHS are missing" in cli.run("aggregate", "green", code=2).stderr


def test_a_month_whose_file_changed_is_done_again(cli, synthetic, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    shutil.copy(synthetic / "yellow_tripdata_2018-11.parquet", folder)
    cli.run("backfill", "yellow", "2018-11", "--source", str(folder))
    write_month("yellow", Month(2018, 11), 6_000, 12, folder, 1_500)

    cli.run("backfill", "yellow", "2018-11", "--source", str(folder))

    (row,) = cli.json("months")
    truth = pl.read_parquet(folder / "yellow_tripdata_2018-11.truth.parquet")
    assert row["trips"] == len(truth.filter(outcome="trip"))
    assert row["counts"]["not_in_file"] > 5_000


def test_the_lake_and_the_warehouse_have_the_same_kpis(backfilled):
    lake = Lake(backfilled.env["CHILLFLOW_LAKE"])
    parts = [table for month in parse_months(MONTHS) for table in lake.read("yellow", month, "kpis")]
    names = [*kpis.KEY, *(measure.name for measure in kpis.MEASURES)]
    merged: dict = {}
    for table in parts:
        for row in table.select(names).to_pylist():
            key, sums = tuple(row[name] for name in kpis.KEY), [row[name] for name in names[3:]]
            merged[key] = [a + b for a, b in zip(merged[key], sums, strict=True)] if key in merged else sums
    with psycopg.connect(backfilled.dsn) as connection:
        stored = connection.execute(
            f"select {', '.join(names)} from chillflow.kpi_zone_hourly where service = 'yellow'"
        ).fetchall()
    assert {tuple(row[:3]): list(row[3:]) for row in stored} == merged


def test_trip_says_where_a_trip_is_and_why(backfilled):
    with psycopg.connect(backfilled.dsn) as connection:
        found = dict(
            connection.execute(
                "select reason, min(trip_id::text) from chillflow.quarantine where trip_id is not null group by 1"
            ).fetchall()
        )

    rows = backfilled.json("trip", found["reversed_original"])
    assert [(row["table"], row["reason"]) for row in rows] == [("quarantine", "reversed_original")]
    assert "no table holds" in backfilled.run("trip", "00000000-0000-8000-8000-000000000000", code=1).stderr
    assert "is no trip id" in backfilled.run("trip", "nonsense", code=2).stderr


def test_the_steps_alone_and_both_services_side_by_side_give_the_same(backfilled, cli, synthetic):
    for service, months in (("green", "2018-11"), ("yellow", MONTHS)):
        cli.run("curate", service, months, "--source", str(synthetic))
        cli.run("load", service, months)
        cli.run("aggregate", service, months)

    assert dump(cli.dsn) == dump(backfilled.dsn)


@pytest.mark.skipif(not REAL.exists(), reason="the real TLC files of ../shared/data/tlc are not here")
def test_real_months_have_the_counts_of_an_independent_fold(cli):
    cli.run("backfill", "yellow", "2018-11,2019-01..2019-06,2020-09", "--source", str(REAL))
    cli.run("backfill", "green", "2024-01", "--source", str(REAL))

    months = {(row["service"], row["month"]): row for row in cli.json("months")}
    expected = {
        ("green", "2024-01"): (56_551, 55_123, 185, [2, 181, 41, 73, 804, 1, 141]),
        ("yellow", "2018-11"): (10_000, 9_914, 14, [3, 0, 2, 6, 55, 0, 6]),
        ("yellow", "2020-09"): (10_000, 9_847, 41, [1, 0, 5, 28, 55, 0, 23]),
    }
    reasons = (
        "pickup_outside_file_month", "reversed_original", "zero_total", "nonpositive_duration", "no_movement",
        "absurd_money", "impossible_speed",
    )  # fmt: skip
    for key, (rows_in, trips, adjustments, counts) in expected.items():
        row = months[key]
        assert (row["rows_in"], row["trips"], row["adjustments"]) == (rows_in, trips, adjustments)
        assert [row["counts"].get(reason, 0) for reason in reasons] == counts
    assert len(months) == 9
    for row in months.values():
        assert row["rows_in"] == row["trips"] + row["quarantined"] + row["adjustments"]
    with psycopg.connect(cli.dsn) as connection:
        kept = connection.execute("select sum(total_amount) from chillflow.trips where service = 'green'").fetchone()
    assert str(kept[0]) == "1237711.35"
