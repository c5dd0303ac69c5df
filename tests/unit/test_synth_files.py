"""Synthetic files: named, typed and laid out as the city's, and with the city's habits in them."""

import hashlib
import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from chillflow.commands.synth import synth
from chillflow.errors import BadMonths, FolderUnwritable, NoSuchEra
from chillflow.months import Month
from chillflow.synth import Made, write_month
from chillflow.synth.truth import FLAGS

MODERN_19 = (
    "VendorID tpep_pickup_datetime tpep_dropoff_datetime passenger_count trip_distance RatecodeID store_and_fwd_flag "
    "PULocationID DOLocationID payment_type fare_amount extra mta_tax tip_amount tolls_amount improvement_surcharge "
    "total_amount congestion_surcharge airport_fee"
).split()
GREEN_20 = (
    "VendorID lpep_pickup_datetime lpep_dropoff_datetime store_and_fwd_flag RatecodeID PULocationID DOLocationID "
    "passenger_count trip_distance fare_amount extra mta_tax tip_amount tolls_amount ehail_fee improvement_surcharge "
    "total_amount payment_type trip_type congestion_surcharge"
).split()
CBD, SOURCE = "cbd_congestion_fee", "request_source"
CAPITAL_19 = [*MODERN_19[:-1], "Airport_fee"]
IDS = ("VendorID", "PULocationID", "DOLocationID")


@pytest.mark.parametrize(
    ("service", "month", "names", "ids", "codes", "text", "nulls"),
    [
        ("yellow", "2011-01", MODERN_19, "int64", "int64", "string", set()),
        ("yellow", "2014-08", MODERN_19, "int64", "int64", "string",
         {"improvement_surcharge", "congestion_surcharge", "airport_fee"}),
        ("yellow", "2018-01", MODERN_19, "int64", "int64", "string", {"congestion_surcharge"}),
        ("yellow", "2018-06", MODERN_19, "int64", "int64", "string", {"congestion_surcharge", "airport_fee"}),
        ("yellow", "2018-07", MODERN_19, "int64", "double", "string", {"congestion_surcharge", "airport_fee"}),
        ("yellow", "2019-01", MODERN_19, "int64", "double", "string", {"airport_fee"}),
        ("yellow", "2020-09", MODERN_19, "int64", "double", "string", set()),
        ("yellow", "2020-10", MODERN_19, "int64", "double", "string", {"airport_fee"}),
        ("yellow", "2023-01", MODERN_19, "int64", "double", "string", set()),
        ("yellow", "2023-02", CAPITAL_19, "int32", "int64", "large_string", set()),
        ("yellow", "2025-01", [*CAPITAL_19, CBD], "int32", "int64", "large_string", set()),
        ("yellow", "2026-06", [*CAPITAL_19, CBD, SOURCE], "int32", "int64", "large_string", set()),
        ("green", "2024-01", GREEN_20, "int32", "int64", "large_string", set()),
        ("green", "2025-01", [*GREEN_20, CBD], "int32", "int64", "large_string", set()),
        ("green", "2026-06", [*GREEN_20, CBD, SOURCE], "int32", "int64", "large_string", set()),
    ],
)  # fmt: skip
def test_a_file_has_the_columns_and_types_of_its_era(
    tmp_path: Path, service: str, month: str, names: list[str], ids: str, codes: str, text: str, nulls: set[str]
) -> None:
    made = write_month(service, Month.parse(month), 300, 1, tmp_path)
    assert made.path.name == f"{service}_tripdata_{month}.parquet"
    assert made.truth.name == f"{service}_tripdata_{month}.truth.parquet"
    schema = pq.read_schema(made.path)
    assert schema.names == names
    assert {str(schema.field(name).type) for name in IDS} == {ids}
    assert {str(schema.field(name).type) for name in ("passenger_count", "RatecodeID")} == {codes}
    assert str(schema.field("store_and_fwd_flag").type) == text
    assert {field.name for field in schema if pa.types.is_null(field.type)} == nulls
    assert {str(schema.field(position).type) for position in (1, 2)} == {"timestamp[us]"}
    assert str(schema.field("total_amount").type) == "double"


@pytest.mark.parametrize(("service", "month"), [("yellow", "2010-12"), ("green", "2013-07")])
def test_a_month_before_zones_is_refused_with_the_first_that_has_them(tmp_path: Path, service: str, month: str) -> None:
    with pytest.raises(NoSuchEra, match=r"choose 201[13]-0[18] or later"):
        write_month(service, Month.parse(month), 10, 1, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_row_groups_are_as_large_as_asked_and_zstd(tmp_path: Path) -> None:
    made = write_month("yellow", Month(2019, 1), 2_500, 1, tmp_path, row_group_rows=1_000)
    for path in (made.path, made.truth):
        metadata = pq.read_metadata(path)
        assert [metadata.row_group(group).num_rows for group in range(3)] == [1_000, 1_000, 500]
        assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert sorted(tmp_path.iterdir()) == sorted([made.path, made.truth])


def digest(made: Made) -> str:
    rows = [pq.read_table(path).to_pydict() for path in (made.path, made.truth)]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("service", "month", "expected"),
    [("yellow", Month(2019, 11), "b93603ccb44a34bc"), ("green", Month(2025, 3), "7e2ac8ac02bdab95")],
)
def test_a_seed_gives_the_same_rows_on_every_machine(tmp_path: Path, service: str, month: Month, expected: str) -> None:
    assert digest(write_month(service, month, 3_000, 42, tmp_path / "a")) == expected
    assert digest(write_month(service, month, 3_000, 42, tmp_path / "b", row_group_rows=700)) == expected
    assert digest(write_month(service, month, 3_000, 43, tmp_path / "c")) != expected


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("months")
    wanted = ("yellow 2019-01", "yellow 2019-03", "yellow 2018-11", "yellow 2020-09", "yellow 2025-03", "green 2024-01")
    return {
        text: write_month(text.split()[0], Month.parse(text.split()[1]), 200_000, 3, folder, 50_000) for text in wanted
    }


def ask(made: Made, question: str) -> tuple[float, ...]:
    """One row of answers over `t`: a file's rows beside their truth, with `seconds` after fixes and `pickup`."""
    pickup = "tpep_pickup_datetime" if made.service == "yellow" else "lpep_pickup_datetime"
    with duckdb.connect() as db:
        db.execute(
            f"create view t as select raw.* exclude (trip_distance, passenger_count), truth.*, {pickup} as pickup, "
            f"epoch(truth.dropoff_at) - epoch({pickup}) as seconds from "
            f"read_parquet('{made.path}', file_row_number = true) raw join '{made.truth}' truth "
            "on raw.file_row_number = truth.source_row"
        )
        answer = db.execute(f"select {question} from t").fetchone()
    assert answer is not None
    return answer


REASON_SHARES = {
    "yellow 2018-11": {"reversal": 0.066, "zero_total": 0.013, "nonpositive_duration": 0.076, "no_movement": 0.468,
                       "impossible_speed": 0.075},
    "yellow 2019-01": {"reversal": 0.191, "zero_total": 0.027, "nonpositive_duration": 0.083, "no_movement": 0.488,
                       "impossible_speed": 0.077},
    "yellow 2020-09": {"reversal": 0.437, "zero_total": 0.047, "nonpositive_duration": 0.202, "no_movement": 0.568,
                       "impossible_speed": 0.095},
    "green 2024-01": {"reversal": 0.327, "reversed_original": 0.320, "zero_total": 0.073, "nonpositive_duration": 0.129,
                      "no_movement": 1.422, "impossible_speed": 0.249},
}  # fmt: skip
FLAG_SHARES = {
    "yellow 2018-11": {"long_duration": 0.205, "zero_distance": 0.138, "unknown_zone": 1.78, "passenger_unknown": 0.90,
                       "total_mismatch": 0.19, "unknown_code": 0.49},
    "yellow 2019-01": {"long_duration": 0.251, "zero_distance": 0.255, "unknown_zone": 1.14, "passenger_unknown": 2.84,
                       "flex_fare": 0.31, "total_mismatch": 0.22, "unknown_code": 0.33},
    "yellow 2020-09": {"long_duration": 0.188, "zero_distance": 1.21, "unknown_zone": 1.12, "passenger_unknown": 2.14,
                       "flex_fare": 6.48, "total_mismatch": 0.44},
    "yellow 2025-03": {"flex_fare": 23.0},
    "green 2024-01": {"bad_distance": 0.080, "long_duration": 0.386, "zero_distance": 3.31, "unknown_zone": 0.64,
                      "passenger_unknown": 0.88, "flex_fare": 6.14, "total_mismatch": 0.30},
}  # fmt: skip


@pytest.mark.parametrize("name", REASON_SHARES)
def test_rows_are_rejected_as_often_as_in_the_city(months: dict[str, Made], name: str) -> None:
    for reason, share in REASON_SHARES[name].items():
        (found,) = ask(months[name], f"100 * avg((coalesce(reason, '') = '{reason}')::int)")
        assert found == pytest.approx(share, rel=0.1, abs=0.004), reason


@pytest.mark.parametrize("name", FLAG_SHARES)
def test_trips_are_flagged_as_often_as_in_the_city(months: dict[str, Made], name: str) -> None:
    for flag, share in FLAG_SHARES[name].items():
        (found,) = ask(months[name], f"100 * avg((flags & {FLAGS[flag]} > 0)::int) filter (outcome = 'trip')")
        assert found == pytest.approx(share, rel=0.1, abs=0.005), flag


def test_since_2024_two_and_a_half_to_four_per_cent_are_rejected(months: dict[str, Made]) -> None:
    (rejected,) = ask(months["yellow 2025-03"], "100 * avg((outcome <> 'trip')::int)")
    assert 2.5 < rejected < 4


@pytest.mark.parametrize(
    ("name", "mph"), [("yellow 2018-11", 12.3), ("yellow 2019-03", 12.3), ("yellow 2020-09", 16.7)]
)
def test_traffic_is_as_fast_as_it_was(months: dict[str, Made], name: str, mph: float) -> None:
    (found,) = ask(
        months[name],
        "sum(if(seconds <= 14400, trip_distance, 0)) * 3600 "
        "/ sum(if(seconds <= 14400 and trip_distance is not null, seconds, 0))",
    )
    assert found == pytest.approx(mph, abs=0.5)


def test_rides_tips_and_airports_look_like_the_citys(months: dict[str, Made]) -> None:
    made = months["yellow 2019-03"]
    card = "payment_type = 1 and outcome = 'trip'"
    airport, tips, miles, minutes, cards = ask(
        made,
        "avg((PULocationID in (1, 132, 138) or DOLocationID in (1, 132, 138))::int), "
        f"sum(tip_amount) filter ({card}) / sum(total_amount - tip_amount) filter ({card}), "
        "median(trip_distance), median(seconds) / 60, avg((payment_type = 1)::int)",
    )
    assert airport == pytest.approx(0.075, abs=0.006)
    assert tips == pytest.approx(0.178, abs=0.006)
    assert miles == pytest.approx(1.65, abs=0.25)
    assert minutes == pytest.approx(10.7, abs=1.5)
    assert cards == pytest.approx(0.71, abs=0.03)
    morning, evening, night = ask(
        made, ", ".join(f"count(*) filter (hour(pickup) = {hour} and isodow(pickup) = 3)" for hour in (8, 18, 4))
    )
    assert night * 5 < morning < evening


def test_nobody_is_picked_up_in_the_hour_that_spring_skips(months: dict[str, Made]) -> None:
    sunday = "pickup::date = date '2019-03-10' and hour(pickup)"
    before, skipped, after = ask(
        months["yellow 2019-03"], ", ".join(f"count(*) filter ({sunday} = {hour})" for hour in (1, 2, 3))
    )
    assert skipped == 0
    assert min(before, after) > 0


def test_flex_fares_stand_at_the_end_without_passengers_and_surcharge(months: dict[str, Made]) -> None:
    made = months["yellow 2025-03"]
    flex = f"flags & {FLAGS['flex_fare']} > 0"
    first, last, kept, others_after = ask(
        made,
        f"min(source_row) filter ({flex}), max(source_row), count(*) filter ({flex}), "
        "count(*) filter (payment_type = 0 and passenger_count is not null)",
    )
    assert last - first + 1 == pytest.approx(kept, abs=5)
    assert others_after < 5
    nulls = ask(
        made,
        ", ".join(
            f"count({name}) filter ({flex})"
            for name in ("passenger_count", "RatecodeID", "store_and_fwd_flag", "congestion_surcharge")
        ),
    )
    assert nulls == (0, 0, 0, 0)
    below_zero, hidden = ask(
        made,
        f"avg((fare_amount < 0)::int) filter ({flex} and total_amount > 0), avg((abs(total_amount - 2.5 - fare_amount "
        "- extra - mta_tax - tip_amount - tolls_amount - improvement_surcharge - cbd_congestion_fee "
        f"- coalesce(airport_fee, 0)) < 0.001)::int) filter ({flex})",
    )
    assert below_zero == pytest.approx(0.03, abs=0.006)
    assert hidden == pytest.approx(0.88, abs=0.02)


def test_pairs_lie_beside_each_other_and_across_row_groups(months: dict[str, Made]) -> None:
    made = months["yellow 2019-01"]
    key = "VendorID, pickup, tpep_dropoff_datetime, PULocationID, DOLocationID"
    pair = f"over (partition by {key} order by source_row)"
    with_next = f"(select reason, source_row, lead(reason) {pair} as other, lead(source_row) {pair} as next from t)"
    original = "(reason, other) in (('reversal', 'reversed_original'), ('reversed_original', 'reversal'))"
    beside, far, copied_far = ask(
        made,
        f"any_value((select count(*) from {with_next} where {original} and next - source_row <= 3)), "
        f"any_value((select count(*) from {with_next} where {original} and next // 50000 > source_row // 50000)), "
        f"any_value((select count(*) from {with_next} where other = 'duplicate' "
        "and next // 50000 > source_row // 50000))",
    )
    assert beside > far > 10
    assert copied_far > 0


def test_the_command_writes_each_month_and_tells_where(tmp_path: Path) -> None:
    call = ["yellow", "2019-01..2019-02", "--rows", "200", "--seed", "9", "--to", str(tmp_path)]
    done = CliRunner().invoke(synth, call)
    paths = [str(tmp_path / f"yellow_tripdata_2019-0{month}.parquet") for month in (1, 2)]
    assert (done.exit_code, done.stdout.splitlines()) == (0, paths)
    told = json.loads(CliRunner().invoke(synth, [*call, "--json"]).stdout)
    assert [(one["month"], one["rows"], one["path"]) for one in told] == [
        ("2019-01", 200, paths[0]),
        ("2019-02", 200, paths[1]),
    ]


def test_a_month_is_the_same_alone_and_among_others(tmp_path: Path) -> None:
    for folder, months in (("alone", "2019-02"), ("among", "2019-01..2019-03")):
        CliRunner().invoke(synth, ["green", months, "--rows", "500", "--to", str(tmp_path / folder)])
    name = "green_tripdata_2019-02.parquet"
    alone, among = (repr(pq.read_table(tmp_path / folder / name).to_pydict()) for folder in ("alone", "among"))
    assert alone == among


@pytest.mark.parametrize(
    ("months", "error"), [("2019-13", BadMonths), ("2019-06..2019-01", BadMonths), ("2010-12..2011-01", NoSuchEra)]
)
def test_months_that_cannot_be_made_are_wrong_usage_and_leave_nothing(
    tmp_path: Path, months: str, error: type[BadMonths | NoSuchEra]
) -> None:
    done = CliRunner().invoke(synth, ["yellow", months, "--rows", "10", "--to", str(tmp_path)])
    assert isinstance(done.exception, error)
    assert done.exception.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderUnwritable, match=r"cannot write .*file.inside: .*; free some space"):
        write_month("yellow", Month(2019, 1), 10, 1, tmp_path / "file" / "inside")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full to play a disk without space")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    part = tmp_path / "yellow_tripdata_2019-01.parquet.part"
    os.symlink("/dev/full", part)
    with pytest.raises(FolderUnwritable, match="No space left"):
        write_month("yellow", Month(2019, 1), 100, 1, tmp_path)
    assert list(tmp_path.iterdir()) == []
