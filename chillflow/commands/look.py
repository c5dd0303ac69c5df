"""`chillflow months` and `chillflow trip`: looking at what is in the warehouse."""

import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from chillflow import console, quality
from chillflow.curation import FLAGS, REJECTS
from chillflow.errors import BadTripId, TripUnknown
from chillflow.jobs import options, session
from chillflow.settings import Settings
from chillflow.stores.warehouse import Warehouse

Row = dict[str, Any]


@click.command()
@options.as_json
def months(as_json: bool) -> None:
    """What became of each month: rows, reasons, flags, seconds, source, and an alert where something is unusual."""
    with Warehouse(session.postgres_dsn(Settings.read())) as warehouse:
        rows = [row | {"alerts": _alerts(row)} for row in warehouse.months()]
    if as_json:
        console.show_json(rows)
        return
    if not rows:
        console.say("no month is loaded yet; begin with `chillflow backfill SERVICE MONTHS`")
        return
    screen = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    screen.print(_table(rows))
    for row in rows:
        for alert in row["alerts"]:
            screen.print(f"alert: {row['service']} {row['month']}: {alert}", style="yellow")


@click.command()
@click.argument("trip_id", metavar="ID")
@options.as_json
def trip(trip_id: str, as_json: bool) -> None:
    """Where the trip with this ID is, and why: in trips, quarantine or adjustments."""
    with Warehouse(session.postgres_dsn(Settings.read())) as warehouse:
        try:
            rows = warehouse.trip(trip_id)
        except ValueError as fault:
            raise BadTripId(trip_id) from fault
    if not rows:
        raise TripUnknown(trip_id)
    if as_json:
        console.show_json(rows)
        return
    screen = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    for row in rows:
        shown = Table("column", "value", title=row["table"], title_justify="left")
        for name, value in row.items():
            if value is not None and name != "table":
                shown.add_row(name, str(value))
        screen.print(shown)


def _table(rows: list[Row]) -> Table:
    table = Table("service", "month", "path", "status")
    for name in ("rows in", "trips", "quarantined", "adjustments", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("quarantine by reason")
    table.add_column("flags")
    table.add_column("source")
    for row in rows:
        share = f" ({100 * row['quarantined'] / row['rows_in']:.2f} %)" if row["rows_in"] else ""
        table.add_row(
            row["service"], row["month"], row["path"], row["status"],
            f"{row['rows_in']:,}", f"{row['trips']:,}", f"{row['quarantined']:,}{share}", f"{row['adjustments']:,}",
            f"{row['seconds']:.1f}" if row["seconds"] is not None else "",
            _counted(row["counts"], [rule.name for rule in REJECTS if rule.action == "reject"] + ["not_in_file"]),
            _counted(row["counts"], list(FLAGS)),
            row["source"] or "",
        )  # fmt: skip
    return table


def _counted(counts: dict[str, int], names: list[str]) -> str:
    return "\n".join(f"{name} {counts[name]:,}" for name in names if counts.get(name))


def _alerts(row: Row) -> list[str]:
    return quality.alerts(row["service"], row["rows_in"], row["trips"], row["counts"])
