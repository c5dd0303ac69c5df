"""Figures are sums of their facts, keep quiet about few trips, and know the clock."""

import datetime as dt
import json
from functools import cache

import polars as pl
import pytest

from chillflow.months import Month
from chillflow.reports import contents, days, growth, headline, hours, places, sums, wall_time
from chillflow.reports.columns import COLUMNS
from chillflow.reports.facts import Facts
from chillflow.reports.figure import Figure
from tests.report_samples import facts, pairs, zone_hours

BOTH = ("yellow", "green")
col = pl.col


@cache
def autumn() -> Facts:
    """Two Novembers of yellow, one of green."""
    yellow = zone_hours(["2018-11", "2019-11"])
    green = zone_hours(["2019-11"], ["green"], seed=8)
    return facts(pl.concat([yellow, green]), pairs(["2018-11", "2019-11"], BOTH), {"no_movement": 4_000})


@cache
def figures(given: Facts) -> dict[str, Figure]:
    return {figure.name: figure for section in contents.sections(given) for figure in section.figures}


def test_each_column_of_each_figure_has_a_label() -> None:
    names = {name for figure in figures(autumn()).values() for name in figure.table.columns}
    assert names <= set(COLUMNS)


def test_all_taxis_are_the_sum_of_the_services() -> None:
    table = places.zones(autumn()).table
    for measure in ("pickups", "dropoffs", "net_flow", "revenue"):
        by_service = dict(table.group_by("service").agg(col(measure).sum()).iter_rows())
        assert by_service["all"] == by_service["yellow"] + by_service["green"]


@pytest.mark.parametrize("name", ["zones", "zone_months", "daily", "payments", "headline"])
def test_sums_are_those_of_the_facts(name: str) -> None:
    given = autumn()
    table = (figures(given) | {"headline": headline.headline(given)})[name].table.filter(service="yellow")
    for choice, value in (("zone_id", None), ("borough", days.WHOLE)):
        if name != "zones" and choice in table.columns:
            table = table.filter(col(choice).eq_missing(pl.lit(value, table.schema[choice])))
    of = given.zones.filter(service="yellow")
    trips = table["pickups" if "pickups" in table.columns else "trips"].sum()
    assert trips == of["pickups"].sum() > 0
    if "revenue" in table.columns:
        assert table["revenue"].sum() == of["total_sum"].sum()


def test_net_flow_is_what_arrives_less_what_leaves() -> None:
    row = places.zones(autumn()).table.row(3, named=True)
    assert row["net_flow"] == row["dropoffs"] - row["pickups"]


@pytest.mark.parametrize(("trips", "told"), [(9, None), (10, 2.5)])
def test_ratios_of_fewer_than_ten_trips_are_suppressed(trips: int, told: float | None) -> None:
    frame = pl.DataFrame({"over": [25], "under": [10], "trips": [trips]})
    assert frame.select(sums.ratio("over", "under", "trips")).item() == told


def test_no_ratio_of_the_report_rests_on_fewer_than_ten_trips() -> None:
    few = facts(zone_hours(["2019-07"], busy=0.02), pairs(["2019-07"], busy=2))
    trips = dict(few.zones.group_by("zone_id").agg(col("pickups").sum()).iter_rows())
    assert min(trips.values()) < 10
    for row in places.zones(few).table.iter_rows(named=True):
        if trips.get(row["zone_id"], 0) < 10:
            assert (row["mph"], row["tip_share"]) == (None, None)
    flows = places.pairs(few).table
    assert flows.filter(col("trips") < 10)["median_fare"].null_count() == len(flows.filter(col("trips") < 10)) > 0
    assert flows.filter(col("trips") < 10)["minutes"].null_count() == len(flows.filter(col("trips") < 10))


def test_the_median_of_several_months_weighs_them_by_their_trips() -> None:
    two = pairs(["2019-07", "2019-08"]).filter(pickup_zone_id=1, dropoff_zone_id=4).with_columns(
        trips=pl.Series([90, 100]), median_fare=pl.Series(["12.00", "30.00"]).cast(pl.Decimal(38, 2))
    )  # fmt: skip
    assert [float(fare) for fare in places._merged(two, "pickup_zone_id")["median_fare"]] == [30.0]
    turned = two.with_columns(trips=pl.Series([110, 100]))
    assert [float(fare) for fare in places._merged(turned, "pickup_zone_id")["median_fare"]] == [12.0]


def test_the_spring_day_has_23_hours_and_the_autumn_day_25() -> None:
    assert wall_time.changes([Month(2019, 3), Month(2019, 11)]) == {dt.date(2019, 3, 10): 1, dt.date(2019, 11, 3): -1}
    spring, autumn = (wall_time.hours_of_week([Month(2019, number)]) for number in (3, 11))
    assert spring["hours"].sum() == 31 * 24 - 1
    assert autumn["hours"].sum() == 30 * 24 + 1
    sunday = {"weekday": 7}
    assert spring.filter(**sunday, hour=2)["hours"].item() == 4
    assert autumn.filter(**sunday, hour=1)["hours"].item() == 5


def test_the_double_hour_is_shown_as_two_and_averaged_over_two() -> None:
    figure = days.clock_changes(autumn())
    assert figure is not None
    assert figure.table.filter(hour="01:00")["note"].unique().to_list() == ["two hours in one"]
    assert set(figure.table.filter(service="yellow")["day"]) == {"2018-11-04", "2019-11-03"}
    assert set(figure.table.filter(service="green")["day"]) == {"2019-11-03"}
    week = hours.week(autumn()).table.filter(col("zone_id").is_null()).filter(service="green", weekday="Sun", hour="01")
    given = autumn().week.filter(service="green", weekday=7, hour=1)
    assert week["pickups_per_hour"].item() == pytest.approx(given["pickups"].sum() / 5, abs=0.01)


def test_the_hour_that_does_not_exist_is_named() -> None:
    figure = days.clock_changes(facts(zone_hours(["2019-03"]), pairs(["2019-03"])))
    assert figure is not None
    hour = figure.table.filter(day="2019-03-10", hour="02:00")
    assert (hour["note"].item(), hour["pickups"].item()) == ("does not exist", 0)
    assert days.clock_changes(facts(zone_hours(["2019-07"]), pairs(["2019-07"]))) is None


def test_odd_days_bear_a_remark() -> None:
    noted = days.daily(autumn()).table.filter(col("note") != "")
    assert set(noted["day"]) == {dt.date(2018, 11, 4), dt.date(2019, 11, 3)}
    assert set(noted["note"]) == {"25 hours: 01:00 comes twice"}


def test_years_are_compared_where_a_service_has_the_month_twice() -> None:
    figure = growth.year_on_year(autumn())
    assert figure is not None
    assert set(figure.table["service"]) == {"yellow"}, "green has one November, so all taxis cannot be compared either"
    first, second = figure.table["trips"]
    assert figure.table["change"].to_list() == [None, pytest.approx(second / first - 1)]


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        (["2019-01"], None),
        (["2019-01", "2019-03"], (["2019-01"], ["2019-03"])),
        (["2018-01", "2018-02", "2019-02", "2019-03"], (["2018-02"], ["2019-02"])),
        (["2018-01", "2018-02", "2019-01", "2019-02"], (["2018-01", "2018-02"], ["2019-01", "2019-02"])),
    ],
)
def test_growth_compares_the_same_months_of_two_years_if_it_can(months: list[str], expected: object) -> None:
    found = growth.periods(tuple(map(Month.parse, months)))
    assert (found and tuple([str(month) for month in period] for period in found)) == expected


def test_alerts_are_told_with_their_rule() -> None:
    quality = figures(autumn())["quality"].table.filter(taxis="green", rule="no_movement")
    assert quality["alert"].str.contains("usual is 1.422 %").all()
    assert quality["times_usual"].min() > 3
    ledger = figures(autumn())["ledger"].table
    assert (ledger["rows_in"] == ledger["trips"] + ledger["quarantined"] + ledger["adjustments"]).all()


def test_charts_are_what_vega_lite_understands() -> None:
    vl_convert = pytest.importorskip("vl_convert")
    for figure in figures(autumn()).values():
        for name, chart in figure.charts.items():
            spec = chart.to_dict() | {"datasets": {"figure": [], "shapes": []}}
            compiled = vl_convert.vegalite_to_vega(spec)
            assert compiled["marks"], f"{figure.name}: {name}"
            fields = set(json.dumps(spec).split('"')) & set(COLUMNS)
            assert fields & set(figure.table.columns), f"{figure.name}: {name} draws none of its columns"


def test_findings_speak_of_each_service() -> None:
    for figure in figures(autumn()).values():
        assert set(figure.findings) <= {"all", "yellow", "green"}
    assert "is the busiest zone" in places.zones(autumn()).findings["green"]
