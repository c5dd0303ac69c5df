"""The page holds all its figures, asks for nothing, and makes sense of an empty database."""

import base64
import gzip
import json
import re
from functools import cache
from typing import Any

import pytest

pytest.importorskip("altair", reason="needs the report extra")

from chillflow.reports import contents, headline, page
from chillflow.reports.facts import Facts
from chillflow.reports.files import write
from tests.report_samples import facts, pairs, zone_hours


@cache
def spring() -> Facts:
    return facts(zone_hours(["2019-03"], ["yellow", "green"]), pairs(["2019-03"]))


@cache
def sections() -> list[page.Section]:
    return contents.sections(spring())


@cache
def spring_page() -> str:
    return page.render(spring(), headline.headline(spring()), sections(), "window.vegaEmbed = null;")


def rendered(given: Facts) -> str:
    return page.render(given, headline.headline(given), contents.sections(given), "window.vegaEmbed = null;")


def data_of(text: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/gzip" id="data">([^<]+)</script>', text)
    assert match
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(match[1])))
    return found


def test_the_page_has_every_row_of_every_figure() -> None:
    given, data = spring(), data_of(spring_page())["figures"]
    for section in sections():
        for figure in section.figures:
            assert data[figure.name]["rows"] == len(figure.table)
            assert set(data[figure.name]["columns"]) == set(figure.table.columns)
    zones = data["zones"]["columns"]
    assert sum(zones["pickups"]) == 2 * given.zones["pickups"].sum(), "of each service and of all"
    assert sum(zones["revenue"]) == pytest.approx(2 * float(given.zones["total_sum"].sum()))


def test_the_page_names_nothing_elsewhere() -> None:
    text = spring_page()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:,)""", text)
    assert not re.search(r"url\(|@import", text)


def test_the_same_facts_give_the_same_page() -> None:
    assert rendered(spring()) == spring_page()


def test_an_empty_database_gives_a_page_that_says_what_to_do() -> None:
    text = rendered(Facts.none())
    assert "No trips are loaded yet" in text
    assert "chillflow backfill" in text


def test_a_month_of_rejected_rows_only_has_its_account() -> None:
    none = Facts.none()
    text = rendered(Facts(spring().ledger[:1], none.boroughs, none.zones, none.week, none.hours, none.pairs))
    assert data_of(text)["figures"]["ledger"]["rows"] == 1


@pytest.mark.parametrize(("both", "one"), [("2019-03", "2019-04"), ("2019-04", "2019-03")])
@pytest.mark.parametrize("alone", ["yellow", "green"])
def test_a_month_that_lacks_a_service_is_told_as_such(both: str, one: str, alone: str) -> None:
    import polars as pl

    found = pl.concat([zone_hours([both], ["yellow", "green"]), zone_hours([one], [alone])])
    given = facts(found, pl.concat([pairs([both], ["yellow", "green"]), pairs([one], [alone])]))
    lacking = "green" if alone == "yellow" else "yellow"
    figures = {figure.name: figure.table for section in contents.sections(given) for figure in section.figures}

    daily = figures["daily"].filter(borough="All boroughs", service=lacking)["day"]
    assert {f"{day:%Y-%m}" for day in daily} == {both}, "no line of zeros where nothing was loaded"
    by_month = figures["zone_months"].filter(pl.col("zone_id").is_null()).select("service", "month").rows()
    assert sorted(by_month) == sorted(
        [(service, both) for service in ("all", "green", "yellow")] + [(service, one) for service in ("all", alone)]
    )
    assert set(figures["movers"]["service"]) == {alone}, "all taxis of two and of one service are not compared"
    per_day = headline.headline(given).table.filter(service=lacking)
    days = {"2019-03": 31, "2019-04": 30}[both]
    assert per_day["trips_per_day"].item() == pytest.approx(per_day["trips"].item() / days, abs=0.05)
    assert data_of(rendered(given))["figures"]["ledger"]["rows"] == 3


def test_a_service_whose_kpis_are_not_computed_yet_hides_nothing_of_the_other() -> None:
    yellow = facts(zone_hours(["2019-03"], ["yellow"]), pairs(["2019-03"], ["yellow"]))
    given = Facts(spring().ledger, yellow.boroughs, yellow.zones, yellow.week, yellow.hours, yellow.pairs)
    assert given.services == ("yellow", "green")
    assert '<body data-service="yellow">' in rendered(given)
    trips = f"{yellow.zones['pickups'].sum():,} trips"
    assert headline.line(given, headline.headline(given)).startswith(trips)


def test_names_of_zones_are_escaped() -> None:
    text = spring_page()
    assert '<option value="103">Governor&#39;s Island' in text


def test_each_outline_is_one_shape_wound_as_vega_wants_it() -> None:
    from chillflow.reports.shapes import _area, shapes

    found = shapes()
    assert len({shape["properties"]["zone_id"] for shape in found}) == len(found) == 260
    for shape in found:
        for polygon in shape["geometry"]["coordinates"]:
            assert _area(polygon[0]) < 0


def test_each_figure_is_written_as_csv_and_parquet(tmp_path: Any) -> None:
    import polars as pl

    figures = [figure for section in sections() for figure in section.figures]
    paths = list(write(figures, tmp_path / "new" / "folder"))
    assert {path.suffix for path in paths} == {".csv", ".parquet"}
    for figure in figures:
        kept = pl.read_parquet(tmp_path / "new" / "folder" / f"{figure.name}.parquet")
        assert kept.equals(figure.table)
        header = (tmp_path / "new" / "folder" / f"{figure.name}.csv").read_text().splitlines()[0]
        assert header == ",".join(figure.table.columns)
