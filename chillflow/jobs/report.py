"""The report job: zone-hour KPIs as one HTML page that needs no network, and as CSV and Parquet files."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chillflow import console
from chillflow.errors import FileUnwritable, MonthsNeverLoaded, ReportsMissing, WarehouseEmpty
from chillflow.jobs import options, session
from chillflow.months import Month, parse_months
from chillflow.settings import Settings
from chillflow.stores import reporting
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from chillflow.reports.facts import Entry

NEEDED = {"altair": "altair", "jinja2": "jinja2", "vl_convert": "vl-convert-python"}


@click.command()
@click.option(
    "--months", type=parse_months, metavar="MONTHS", help="the months to tell of [default: all that are loaded]"
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    default="report.html",
    metavar="FILE.html",
    show_default=True,
    help="the page",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="also write each figure there as CSV and Parquet",
)
@options.as_json
def report(months: tuple[Month, ...] | None, target: Path, data: Path | None, as_json: bool) -> None:
    """Make a page of maps, charts and tables of the zone-hour KPIs, which opens in any browser without a network."""
    _check_extra()
    from chillflow.reports import contents, files, headline, page, vega

    settings = Settings.read()
    _check_target(target)
    dsn = session.postgres_dsn(settings)
    ledger = _ledger(dsn, months)
    with ThreadPoolExecutor(1) as beside:
        bundle = beside.submit(vega.bundle, settings.home / "cache")
        facts = reporting.read_facts(dsn, ledger, session.redis_if_any(settings))
        top, sections = headline.headline(facts), contents.sections(facts)
        text = page.render(facts, top, sections, bundle.result())
    _write(target, text)
    figures = [top, *(figure for section in sections for figure in section.figures)]
    written = [str(path) for path in files.write(figures, data)] if data else []
    if as_json:
        console.show_json(
            [
                {
                    "report": str(target),
                    "bytes": len(text.encode()),
                    "months": [str(month) for month in facts.months],
                    "headline": top.table.to_dicts(),
                    "data": written,
                }
            ]
        )
        return
    click.echo(str(target))
    console.say(headline.line(facts, top))


def _check_extra() -> None:
    for module, package in NEEDED.items():
        if find_spec(module) is None:
            raise ReportsMissing(package)


def _check_target(target: Path) -> None:
    """Raises FileUnwritable before the work rather than after it."""
    folder = target.absolute().parent
    if not folder.is_dir():
        raise FileUnwritable(str(target), "there is no such folder" if not folder.exists() else "its folder is a file")
    if not os.access(folder, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise FileUnwritable(str(target), "you may not write there")


def _ledger(dsn: str, months: Sequence[Month] | None) -> "list[Entry]":
    """The ledger's entries of the months; says which KPIs are not there yet. Raises MonthsNeverLoaded."""
    try:
        with Warehouse(dsn) as warehouse, Aggregates(dsn) as aggregates:
            rows = warehouse.months()
            noted = {(each.hours.service, each.hours.month) for each in aggregates.noted()}
    except WarehouseEmpty:
        rows, noted = [], set()
    found = reporting.ledger_of(rows, months, noted)
    missing = [str(month) for month in months or () if month not in {entry.month for entry in found}]
    if missing:
        raise MonthsNeverLoaded(tuple(missing))
    for entry in found:
        if entry.stale:
            console.say(
                f"{entry.service} {entry.month}: its KPIs are older than its trips; "
                f"`chillflow aggregate {entry.service} {entry.month}` brings them up to date"
            )
    if not found:
        console.say("no month is loaded yet; begin with `chillflow backfill SERVICE MONTHS`")
    return found


def _write(target: Path, text: str) -> None:
    """The page appears whole or not at all; raises FileUnwritable."""
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            half.write_text(text, encoding="utf-8")
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise FileUnwritable(str(target), error.strerror or str(error)) from error


def main() -> None:
    console.run(report, "chillflow report")


if __name__ == "__main__":
    main()
