"""`chillflow report` as its users run it, and its page in a real browser."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from chillflow.stores.warehouse import Warehouse
from tests.fix_browser import OpenPage
from tests.fix_embedded import REPO
from tests.warehouse_samples import ask

FIGURES = (
    "zones", "week", "zone_pairs", "zone_months", "daily", "movers", "year_on_year", "clock_changes", "speed",
    "airports", "profile", "congestion", "borough_pairs", "fares", "payments", "tips", "quality", "ledger",
)  # fmt: skip
TABLE_ONLY = {"ledger"}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


HOME = TemporaryDirectory(prefix="cf-report-")
"""Of all runs, so that the chart library is bundled once."""


def run(dsn: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("CHILLFLOW_")}
    env |= {"CHILLFLOW_POSTGRES_DSN": dsn, "CHILLFLOW_HOME": HOME.name, "PYTHONPATH": str(REPO)}
    return subprocess.run(
        [sys.executable, "-m", "chillflow.jobs.report", *arguments],
        env=env, cwd=folder, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(reported_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report of all months and its figures."""
    folder = tmp_path_factory.mktemp("a report")
    done = run(reported_dsn, folder, "--to", "report.html", "--data", "figures")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "report.html\n"
    assert "trips" in done.stderr
    assert "revenue" in done.stderr
    return folder


@pytest.fixture
def page(made: Path, browse: Callable[..., OpenPage]) -> Iterator[Any]:
    """The report, opened; it must say nothing and ask for nothing but itself."""
    opened = browse(viewport={"width": 1280, "height": 900})
    yield opened.open(made / "report.html")
    assert opened.said == []
    assert opened.asked == [(made / "report.html").as_uri()]


def marks(page: Any, figure: str) -> str:
    """The drawing of a figure, as text."""
    return str(page.locator(f"#{figure} .chart svg").inner_html())


def rows_of(page: Any, figure: str) -> list[dict[str, str]]:
    """The table of a figure, as it is read."""
    details = page.locator(f"#{figure} > details")
    if details.get_attribute("open") is None:
        details.locator("summary").first.click()
    details.locator("table").wait_for()
    if details.locator("button.all").is_visible():
        details.locator("button.all").click()
    names = details.locator("thead th").all_inner_texts()
    cells = page.evaluate(
        "name => [...document.querySelectorAll(`#${name} tbody tr`)]"
        ".map(row => [...row.children].map(cell => cell.textContent))",
        figure,
    )
    return [dict(zip(names, row, strict=True)) for row in cells]


def test_each_figure_is_there_as_csv_and_parquet(made: Path) -> None:
    for name in FIGURES:
        table = pl.read_parquet(made / "figures" / f"{name}.parquet")
        with (made / "figures" / f"{name}.csv").open() as file:
            assert len(list(csv.reader(file))) == len(table) + 1
    assert (made / "report.html").stat().st_size < 5_000_000


def test_json_tells_the_headline(reported_dsn: str, made: Path, tmp_path: Path) -> None:
    [told] = json.loads(run(reported_dsn, tmp_path, "--months", "2018-11", "--json").stdout)
    [trips] = ask(reported_dsn, "select count(*) as n from chillflow.trips where pickup_at < '2019-01-01'")
    assert told["months"] == ["2018-11"]
    assert [row["trips"] for row in told["headline"]] == [trips["n"]]
    assert (tmp_path / told["report"]).stat().st_size == told["bytes"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--months", "2018-11..2019-01"), 1, "no trips of 2018-12, 2019-01 are in the warehouse; load them first"),
        (("--months", "someday"), 2, "a month is written YYYY-MM"),
        (("--to", "no/such/folder/report.html"), 1, "there is no such folder"),
        (("--to", "report.html", "--data", "file"), 2, "is a file"),
    ],
)
def test_bad_input_ends_in_a_sentence(
    reported_dsn: str, tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    (tmp_path / "file").touch()
    done = run(reported_dsn, tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(reported_dsn: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o500)
    done = run(reported_dsn, tmp_path, "--to", "mine/report.html")
    assert done.returncode == 1
    assert "cannot write mine/report.html" in done.stderr


def test_a_missing_library_is_named(reported_dsn: str, tmp_path: Path) -> None:
    from chillflow.jobs import report

    names = {"altair": "altair", "no_such_module": "no-such-package"}
    found = pytest.MonkeyPatch()
    try:
        found.setattr(report, "NEEDED", names)
        with pytest.raises(report.ReportsMissing, match=r"needs no-such-package.*chillflow\[report\]"):
            report._check_extra()
    finally:
        found.undo()


@pytest.mark.parametrize("migrated", [False, True])
def test_an_empty_database_gives_a_page(
    migrated: bool, empty_dsn: str, tmp_path: Path, browse: Callable[..., OpenPage]
) -> None:
    if migrated:
        with Warehouse(empty_dsn) as warehouse:
            warehouse.migrate()
    done = run(empty_dsn, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no month is loaded yet" in done.stderr
    opened = browse()
    assert "No trips are loaded yet" in opened.open(tmp_path / "report.html").locator("header").inner_text()
    assert opened.said == []


def test_every_chart_is_drawn(page: Any) -> None:
    for name in set(FIGURES) - TABLE_ONLY:
        if page.locator(f"#{name} .chart").count() and not page.locator(f"#{name} .none").is_visible():
            assert page.locator(f"#{name} .chart svg path").count() > 2, name
    assert page.locator("#zones svg .mark-shape path").count() == 260


def test_no_axis_says_the_same_twice(page: Any) -> None:
    axes = page.evaluate(
        "[...document.querySelectorAll('.chart svg .role-axis-label')].map(axis => [axis.closest('[id]').id, "
        "[...axis.querySelectorAll('text')].filter(one => one.getAttribute('opacity') !== '0')"
        ".map(one => one.textContent).filter(text => text)])"
    )
    assert len(axes) > 20
    assert [(name, labels) for name, labels in axes if len(set(labels)) < len(labels)] == []


def test_headline_figures_are_those_of_the_database(page: Any, reported_dsn: str) -> None:
    [sums] = ask(reported_dsn, "select count(*) as trips, round(sum(total_amount)) as revenue from chillflow.trips")
    labels, texts = (page.locator(f".tiles.shown {tag}").all_inner_texts() for tag in ("dt", "dd"))
    tiles = dict(zip(labels, texts, strict=True))
    assert tiles["Trips"] == f"{sums['trips']:,}"
    assert tiles["Revenue"] == f"${sums['revenue']:,}"


def test_tables_are_those_of_the_database(page: Any, reported_dsn: str) -> None:
    asked = ask(
        reported_dsn,
        "select zone_id, sum(pickups) as pickups, sum(dropoffs) as dropoffs, round(sum(total_sum)) as dollars "
        "from chillflow.kpi_zone_monthly join chillflow.months using (service, month) group by 1",
    )
    shown = {row["Zone id"]: row for row in rows_of(page, "zones")}
    assert len(shown) == 265
    for row in asked:
        mine = shown[str(row["zone_id"])]
        assert (mine["Pickups"], mine["Drop-offs"]) == (f"{row['pickups']:,}", f"{row['dropoffs']:,}")
        assert abs(int(mine["Revenue"].replace("$", "").replace(",", "")) - row["dollars"]) <= 1, "halves of a dollar"


def test_a_chosen_zone_changes_what_is_drawn_and_told(page: Any, reported_dsn: str) -> None:
    before = {name: marks(page, name) for name in ("zones", "week", "zone_months")}
    page.locator("#zone").select_option("237")
    page.locator("#card", has_text="Upper East Side South").wait_for()
    page.wait_for_function("was => document.querySelector('#week .chart svg').innerHTML !== was", arg=before["week"])
    assert all(marks(page, name) != drawn for name, drawn in before.items())
    [asked] = ask(
        reported_dsn,
        "select sum(pickups) as pickups from chillflow.kpi_zone_monthly join chillflow.months using (service, month) "
        "where zone_id = 237",
    )
    assert f"Pickups\n{asked['pickups']:,}" in page.locator("#card").inner_text()
    assert sum(int(row["Pickups"].replace(",", "")) for row in rows_of(page, "zone_months")) == asked["pickups"]
    of_zone = marks(page, "week")
    page.locator("#clear").click()
    page.wait_for_function("was => document.querySelector('#week .chart svg').innerHTML !== was", arg=of_zone)
    assert page.locator("#card").is_hidden()


def test_a_click_on_the_map_chooses_the_zone(page: Any) -> None:
    page.locator("#zones .chart svg").scroll_into_view_if_needed()
    place = page.evaluate(
        "() => { const paths = [...document.querySelectorAll('#zones svg .mark-shape path')];"
        "const boxes = paths.map(p => p.getBoundingClientRect()); const big = boxes.reduce((a, b) => "
        "a.width * a.height > b.width * b.height ? a : b);"
        "for (let x = big.left; x < big.right; x += 4)"
        "for (let y = big.top; y < Math.min(big.bottom, innerHeight - 5); y += 4)"
        " if (document.elementFromPoint(x, y)?.closest('.mark-shape')) return [x, y]; }"
    )
    page.mouse.click(*place)
    page.locator("#card").wait_for(state="visible")
    assert page.locator("#zone").input_value() != ""


def test_the_service_changes_all_figures(page: Any, reported_dsn: str) -> None:
    before = marks(page, "payments")
    page.locator("nav input[value=green]").check()
    page.wait_for_function("was => document.querySelector('#payments .chart svg').innerHTML !== was", arg=before)
    [green] = ask(reported_dsn, "select count(*) as n from chillflow.trips where service = 'green'")
    assert page.locator(".tiles.shown dd").first.inner_text() == f"{green['n']:,}"
    assert "Nothing is known of this choice" in page.locator("#year_on_year").inner_text()


def test_measures_tables_and_boroughs_can_be_chosen_by_keyboard(page: Any) -> None:
    before = marks(page, "zones")
    page.locator("#zones input[value=Pickups]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("was => document.querySelector('#zones .chart svg').innerHTML !== was", arg=before)
    assert page.locator("#zones input:checked").get_attribute("value") == "Drop-offs"
    page.locator("#movers summary").focus()
    page.keyboard.press("Enter")
    table = page.locator("#movers table")
    table.wait_for()
    page.locator("#movers th button", has_text="Change").focus()
    page.keyboard.press("Enter")
    assert page.locator("#movers th", has_text="Change").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert page.locator("#movers th", has_text="Change").get_attribute("aria-sort") == "ascending"
    page.locator("#zones summary").press("Enter")
    page.locator("#zones input[type=search]").fill("jfk")
    assert page.locator("#zones tbody tr").count() == 1


def test_a_figure_can_be_saved(page: Any, made: Path) -> None:
    page.locator("#tips summary").click()
    with page.expect_download() as download:
        page.locator("#tips button", has_text="Save as CSV").click()
    saved = Path(download.value.path()).read_text().splitlines()
    assert saved[0] == "service,month,tip_share"
    assert len(saved) == 1 + len(pl.read_parquet(made / "figures/tips.parquet").filter(service="all"))


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_nothing_serious(made: Path, browse: Callable[..., OpenPage], look: dict[str, Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python (the dev extra)")
    page = browse(**look).open(made / "report.html")
    page.locator("#speed summary").click()
    page.locator("#speed table").wait_for()
    page.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    serious = [
        (fault["id"], fault["nodes"][0]["html"][:200])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_nothing_is_wider_than_a_phone(made: Path, browse: Callable[..., OpenPage]) -> None:
    page = browse(**PHONE).open(made / "report.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nothing_is_wider_than_paper(made: Path, browse: Callable[..., OpenPage]) -> None:
    """A4 less its margins, with the widest tables open."""
    paper = 688
    page = browse(viewport={"width": 1280, "height": 900}).open(made / "report.html")
    for name in ("zones", "quality", "ledger"):
        rows_of(page, name)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": paper, "height": 1000})
    ends = page.evaluate(
        "[...document.querySelectorAll('.figure, table')].map(one => one.getBoundingClientRect()).map(box => box.right)"
    )
    assert len(ends) > 10
    assert max(ends) <= paper + 1


def test_the_page_follows_the_browser_into_the_dark(made: Path, browse: Callable[..., OpenPage]) -> None:
    opened = browse(color_scheme="light")
    page = opened.open(made / "report.html")
    before = marks(page, "zones")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("was => document.querySelector('#zones .chart svg')?.innerHTML !== was", arg=before)
    assert opened.said == []
