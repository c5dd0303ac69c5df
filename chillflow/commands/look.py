"""`chillflow months` and `chillflow trip`: looking at what is in the warehouse."""

import sys
from collections.abc import Iterable
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
    for row in rows:
        click.echo("\n".join(_lines(row)))


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


def _lines(row: Row) -> list[str]:
    share = f" ({100 * row['quarantined'] / row['rows_in']:.2f} %)" if row["rows_in"] else ""
    took = f", {row['seconds']:.1f} s" if row["seconds"] is not None else ""
    details = {
        "quarantine": _counted(
            row["counts"], [*(rule.name for rule in REJECTS if rule.action == "reject"), "not_in_file"]
        ),
        "flags": _counted(row["counts"], FLAGS),
        "source": row["source"] or "",
        "alert": "; ".join(row["alerts"]),
    }
    return [
        f"{row['service']} {row['month']} {row['path']}: {row['status']}{took}: {row['rows_in']:,} rows = "
        f"{row['trips']:,} trips + {row['quarantined']:,} quarantined{share} + {row['adjustments']:,} adjustments",
        *(f"    {name:11}{text}" for name, text in details.items() if text),
    ]


def _counted(counts: dict[str, int], names: Iterable[str]) -> str:
    return ", ".join(f"{name} {counts[name]:,}" for name in names if counts.get(name))


def _alerts(row: Row) -> list[str]:
    return quality.alerts(row["service"], row["rows_in"], row["trips"], row["counts"])
