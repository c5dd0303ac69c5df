"""What synthetic months say of their rows, against a second reading of the rules in SQL."""

import re
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chillflow import curation
from chillflow.months import Month
from chillflow.synth import Made, write_month
from chillflow.synth.city import sunday
from chillflow.synth.eras import era
from chillflow.synth.truth import FLAGS, REASONS

FOLD = Path(__file__).with_name("synth_fold.sql").read_text()
REAL = Path(__file__).parents[3] / "shared/data/tlc"


def fold(made: Made, rules: str = FOLD) -> duckdb.DuckDBPyConnection:
    """A connection with the tables `raw` (canonical columns), `truth` and `folded` (what SQL makes of `raw`)."""
    db = duckdb.connect()
    load(db, made.service, made.month, made.path)
    db.execute(f"create table truth as select * from '{made.truth}'")
    db.execute(f"create table folded as {rules}")
    return db


def load(db: duckdb.DuckDBPyConnection, service: str, month: Month, path: Path) -> None:
    published = era(service, month)
    present = set(pq.read_schema(path).names)
    names = zip(published.schema.names, published.canonical, strict=True)
    columns = {canonical: f'"{name}"' for name, canonical in names if name in present}
    absent = dict.fromkeys(("airport_fee", "cbd_congestion_fee", "trip_type"), "null::double")
    selected = ", ".join(f"{source} as {name}" for name, source in (absent | columns).items())
    rows = f"read_parquet('{path}', file_row_number = true)"
    db.execute(f"create table raw as select file_row_number as source_row, {selected} from {rows}")
    variables = {
        "service": service,
        "month_start": month.start,
        "month_end": month.next.start,
        "fall_back": sunday(month.year, 11, 1),
    }
    for name, value in variables.items():
        db.execute(f"set variable {name} = $value", {"value": value})


def differences(made: Made, rules: str = FOLD) -> list[tuple[object, ...]]:
    with fold(made, rules) as db:
        return db.execute(
            "select 'planted' as side, * from (from truth except all from folded) union all "
            "select 'folded' as side, * from (from folded except all from truth) order by source_row, side limit 20"
        ).fetchall()


@pytest.mark.parametrize(
    ("service", "month"),
    [
        ("yellow", "2011-01"),
        ("yellow", "2014-08"),
        ("yellow", "2018-11"),
        ("yellow", "2019-01"),
        ("yellow", "2020-09"),
        ("yellow", "2022-12"),
        ("yellow", "2025-11"),
        ("yellow", "2026-06"),
        ("green", "2013-08"),
        ("green", "2019-03"),
        ("green", "2024-01"),
        ("green", "2025-11"),
        ("green", "2026-07"),
    ],
)
def test_the_truth_is_what_the_rules_say(tmp_path: Path, service: str, month: str) -> None:
    made = write_month(service, Month.parse(month), 20_000, 11, tmp_path, row_group_rows=3_000)
    assert differences(made) == []


@settings(max_examples=25, deadline=None)
@given(
    service=st.sampled_from(["yellow", "green"]),
    month=st.builds(Month, st.integers(2014, 2027), st.integers(1, 12)),
    rows=st.one_of(st.integers(0, 500), st.integers(500, 6_000)),
    seed=st.integers(0, 2**63),
)
def test_the_truth_holds_for_any_size_and_seed(
    tmp_path_factory: pytest.TempPathFactory, service: str, month: Month, rows: int, seed: int
) -> None:
    made = write_month(service, month, rows, seed, tmp_path_factory.mktemp("synth"), row_group_rows=700)
    assert pq.read_metadata(made.path).num_rows == pq.read_metadata(made.truth).num_rows == rows
    assert differences(made) == []


AUTUMN = Month(2025, 11)


@pytest.fixture(scope="module", params=["yellow", "green"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return write_month(request.param, AUTUMN, 2_000, 5, tmp_path_factory.mktemp("small"), row_group_rows=400)


def test_every_outcome_reason_flag_and_fix_occurs_in_a_small_file(small: Made) -> None:
    truth = pq.read_table(small.truth).to_pylist()
    assert {row["outcome"] for row in truth} == {"trip", "quarantine", "adjustment"}
    assert {row["reason"] for row in truth} == {None, *REASONS}
    for name, bit in FLAGS.items():
        assert any(row["flags"] & bit for row in truth), name
    fixed = {name for row in truth if row["fixed"] for name in row["fixed"].split(",")}
    assert fixed == {"trip_distance", "dropoff_at", "passenger_count"}


def test_reasons_and_flags_are_named_and_numbered_as_curation_names_them() -> None:
    assert list(REASONS) == [rule.name for rule in curation.REJECTS]
    assert FLAGS == curation.FLAGS


@pytest.mark.parametrize(
    ("rule", "misread"),
    [
        ("when pickup_at is null or dropoff_at is null then", "when pickup_at is null then"),
        ("pickup_at < getvariable('month_start')", "pickup_at <= getvariable('month_start')"),
        ("pickup_at >= getvariable('month_end')", "pickup_at > getvariable('month_end')"),
        ("when occurrence > 1 then 'duplicate'", "when occurrence > 2 then 'duplicate'"),
        ("order by source_row) as occurrence", "order by source_row desc) as occurrence"),
        ("when trip_distance is null then 'null'", "when trip_distance is null then 'nan'"),
        ("not isfinite(coalesce(trip_distance, 0))", "isinf(coalesce(trip_distance, 0))"),
        ("total_amount is null or not", "not"),
        (" > 999999999 or", " > 99999999999999999 or"),
        ("pickup_zone_id not between 1 and 265", "pickup_zone_id not between 0 and 265"),
        ("dropoff_zone_id not between 1 and 265", "dropoff_zone_id not between 1 and 266"),
        ("when cents < 0 then 'reversal'", "when cents < 0 and raw_us > 0 then 'reversal'"),
        ("when r.pickup_at is not null then", "when r.pickup_at is not null and f.trip_distance > 0 then"),
        ("when cents = 0 then 'zero_total'", "when cents = 0 and seconds > 0 then 'zero_total'"),
        ("when seconds <= 0 then", "when seconds < 0 then"),
        ("when seconds > 86400 then", "when seconds >= 86400 then"),
        ("when f.trip_distance = 0 and seconds < 60 then", "when f.trip_distance = 0 and seconds < 59 then"),
        ("when f.trip_distance = 0 and seconds < 60 then", "when f.trip_distance = 0 and seconds <= 60 then"),
        ("cents > 100000 or", "cents >= 100000 or"),
        ("cents > 100000 or", ""),
        ("or fare_amount > 500 then", "or fare_amount >= 500 then"),
        ("miles * 3600 > 100 * seconds", "miles * 3600 >= 100 * seconds"),
        ("miles * 3600 > 100 * seconds", "f.trip_distance * 3600 > 100 * seconds"),
        ("trip_distance between 0 and 100 then", "trip_distance between 0 and 99.99 then"),
        ("trip_distance between 0 and 100 then", "trip_distance <= 100 then"),
        ("raw_us > -3600000000", "raw_us > -2000000000"),
        ("hour(pickup_at) < 2", "hour(pickup_at) < 3"),
        ("seconds > 14400, 4", "seconds >= 14400, 4"),
        ("trip_distance = 0 and seconds >= 60, 8", "trip_distance = 0 and seconds > 60, 8"),
        ("passenger_count between 1 and 6", "passenger_count between 0 and 6"),
        ("passenger_count between 1 and 6", "passenger_count between 1 and 9"),
        ("coalesce(payment_type, 0) = 0 and passenger_count is null", "passenger_count is null"),
        ("coalesce(payment_type, 0) = 0 and passenger_count is null", "coalesce(payment_type, 0) = 0"),
        ("if(abs(cents - expected) > 1\n", "if(abs(cents - expected) > 0\n"),
        ("if(abs(cents - expected) > 1\n", "if(abs(cents - expected) > 2\n"),
        ("and not (flex and congestion_surcharge is null", "and not (congestion_surcharge is not null"),
        ("- if(coalesce(vendor_id = 1, false), congestion_cents, 0)", ""),
        ("coalesce(vendor_id not in (1, 2, 6, 7), false)", "coalesce(vendor_id not in (1, 2, 6, 7), true)"),
        ("coalesce(payment_type not between 0 and 6, false)", "false"),
        ("coalesce(rate_code not in (1, 2, 3, 4, 5, 6, 99), false)", "coalesce(rate_code > 6, false)"),
    ],
)
def test_a_rule_misread_is_found_out(small: Made, rule: str, misread: str) -> None:
    assert FOLD.count(rule) == 1
    assert differences(small, FOLD.replace(rule, misread)) != []


def test_a_green_rule_misread_is_found_out(tmp_path: Path) -> None:
    made = write_month("green", AUTUMN, 2_000, 5, tmp_path)
    rule = "- if(coalesce(vendor_id = 1, false) and getvariable('service') = 'green', improvement_cents, 0)"
    assert FOLD.count(rule) == 1
    assert differences(made, FOLD.replace(rule, "")) != []


CLAUSES = {reason: clause for clause, reason in re.findall(r"(when (?:(?!when).)+? then\s+'(\w+)')", FOLD, re.DOTALL)}


@pytest.mark.parametrize(
    ("rule", "later"),
    [
        ("ts_missing", "zone_invalid"),
        ("pickup_outside_file_month", "value_invalid"),
        ("pickup_outside_file_month", "zone_invalid"),
        ("pickup_outside_file_month", "reversal"),
        ("duplicate", "value_invalid"),
        ("duplicate", "reversal"),
        ("value_invalid", "zone_invalid"),
        ("value_invalid", "reversal"),
        ("zone_invalid", "reversal"),
        ("reversed_original", "nonpositive_duration"),
        ("reversed_original", "duration_over_24h"),
        ("reversed_original", "no_movement"),
        ("reversed_original", "absurd_money"),
        ("zero_total", "nonpositive_duration"),
        ("zero_total", "duration_over_24h"),
        ("zero_total", "no_movement"),
        ("nonpositive_duration", "no_movement"),
        ("nonpositive_duration", "absurd_money"),
        ("duration_over_24h", "absurd_money"),
        ("no_movement", "absurd_money"),
        ("absurd_money", "impossible_speed"),
    ],
)
def test_rules_in_another_order_are_found_out(small: Made, rule: str, later: str) -> None:
    swapped = FOLD.replace(CLAUSES[rule], "@").replace(CLAUSES[later], CLAUSES[rule]).replace("@", CLAUSES[later])
    assert differences(small, swapped) != []


@pytest.mark.skipif(not REAL.is_dir(), reason="the real months of ../shared/data/tlc are absent")
@pytest.mark.parametrize(
    ("service", "month", "trips", "adjustments", "quarantined"),
    [
        ("green", "2024-01", 55_123, 185, {"pickup_outside_file_month": 2, "reversed_original": 181, "zero_total": 41,
                                           "nonpositive_duration": 73, "no_movement": 804, "absurd_money": 1,
                                           "impossible_speed": 141}),
        ("yellow", "2018-11", 9_914, 14, {"pickup_outside_file_month": 3, "zero_total": 2, "nonpositive_duration": 6,
                                          "no_movement": 55, "impossible_speed": 6}),
        ("yellow", "2020-09", 9_847, 41, {"pickup_outside_file_month": 1, "zero_total": 5, "nonpositive_duration": 28,
                                          "no_movement": 55, "impossible_speed": 23}),
    ],
)  # fmt: skip
def test_the_second_reading_agrees_with_what_is_known_of_real_months(
    service: str, month: str, trips: int, adjustments: int, quarantined: dict[str, int]
) -> None:
    with duckdb.connect() as db:
        load(db, service, Month.parse(month), REAL / f"{service}_tripdata_{month}.parquet")
        counts = dict(db.execute(f"select coalesce(reason, 'trip'), count(*) from ({FOLD}) group by 1").fetchall())
    assert counts == {"trip": trips, "reversal": adjustments, **quarantined}
