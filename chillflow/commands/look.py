"""`chillflow months` and `chillflow trip`: looking at what is in the warehouse."""

import uuid
from collections.abc import Iterable
from typing import Any

import click
import msgspec
from rich.table import Column, Table

from chillflow import console, quality
from chillflow.curation import FLAGS, REJECTS, REVISIONS
from chillflow.errors import BadTripId, TripUnknown, WarehouseEmpty
from chillflow.events import key_of
from chillflow.jobs import options, session
from chillflow.letters import Letter, to_line
from chillflow.settings import Settings
from chillflow.stores import dead_letters
from chillflow.stores.dead_letters import Sought
from chillflow.stores.warehouse import Warehouse

Row = dict[str, Any]


@click.command()
@options.as_json
def months(as_json: bool) -> None:
    """What became of each month: rows, reasons, flags, seconds, source, and an alert where something is unusual."""
    try:
        with Warehouse(session.postgres_dsn(Settings.read())) as warehouse:
            rows = [row | {"alerts": _alerts(row)} for row in warehouse.months()]
    except WarehouseEmpty:
        rows = []
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
    """Where the trip with this ID is, and why: in trips, quarantine, adjustments or incomplete_trips.

    With the revision of each of its events, and the dead letters that bear its key.
    """
    dsn = session.postgres_dsn(Settings.read())
    with Warehouse(dsn) as warehouse:
        try:
            rows = warehouse.trip(trip_id)
        except ValueError as fault:
            raise BadTripId(trip_id) from fault
    key = key_of(str(uuid.UUID(trip_id)))
    rows += (_letter(letter) for letter in dead_letters.each(dsn, Sought(key=key)))
    if not rows:
        raise TripUnknown(trip_id)
    if as_json:
        console.show_json(rows)
        return
    screen = console.screen()
    for row in rows:
        shown = Table("column", Column("value", overflow="fold"), title=row["table"], title_justify="left")
        for name, value in row.items():
            if value is not None and name != "table":
                shown.add_row(name, str(value))
        screen.print(shown)
        if "started_revision" in row:
            screen.print("\n".join(_history(row)))


def _history(row: Row) -> list[str]:
    """What is known of each event: its greatest revision, which is the one that counts."""
    told = []
    for event, name in zip(("trip_started", "trip_ended", "payment_processed"), REVISIONS, strict=True):
        revision = row[name]
        if row["table"] == "incomplete_trips" and not revision:
            text = "has not come"
        elif not revision:
            text = "as in the file"
        else:
            text = f"revision {revision}" + (", a correction" if revision > 1 else "")
        told.append(f"  {event:18}{text}")
    return told


def _letter(letter: Letter) -> Row:
    """A dead letter as a row of its table, plain."""
    shown: Row = msgspec.json.decode(to_line(letter))
    return {"table": "dead_letters", **shown}


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
