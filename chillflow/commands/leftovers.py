"""`chillflow dead-letters` and `chillflow incomplete`: what is no whole trip yet, or cannot be read."""

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from chillflow import console
from chillflow.errors import FileThere, FileUnwritable
from chillflow.jobs import options, session
from chillflow.letters import to_line
from chillflow.months import Month, parse_months
from chillflow.settings import Settings
from chillflow.stores.dead_letters import Sought, count, each
from chillflow.stores.warehouse import Warehouse

SHOWN = 100
_limit = click.option("--limit", type=click.IntRange(0), help=f"at most so many [default: {SHOWN}, all with --json]")
_WIDTH = 60


@click.command()
@click.option("--topic", help="of this topic only")
@click.option("--reason", metavar="TEXT", help="whose reason holds this text")
@_limit
@click.option(
    "--export", "export", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="write them to FILE, a line of JSON each, to be repaired there and sent by `chillflow redrive FILE`",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="export those too that were redriven already")
@options.as_json
def dead_letters(
    topic: str | None, reason: str | None, limit: int | None, export: Path | None, everything: bool, as_json: bool
) -> None:
    """Records of the log that could not be read, the latest first, each with the reason."""
    dsn = session.postgres_dsn(Settings.read())
    if export:
        sought = Sought(topic=topic, holds=reason, redriven=None if everything else False)
        console.say(f"{_export(dsn, sought, limit, export):,} letters written to {export}")
        return
    pattern = None if reason is None else f"%{_escaped(reason)}%"
    with Warehouse(dsn) as warehouse:
        rows = warehouse.dead_letters(topic, reason=pattern, limit=_at_most(limit, as_json))
    if as_json:
        console.show_json(rows)
        return
    letters, redriven = count(dsn)
    shown = Table()
    for name in ("topic", "place", "at", "reason", "key", "payload", "redriven"):
        shown.add_column(name, overflow="fold")
    for row in rows:
        place = f"{row['partition']}:{row['offset']}"
        payload = row["payload"] or ""
        shown.add_row(
            row["topic"], place, row["at"][:19], row["reason"], row["key"] or "",
            payload if len(payload) <= _WIDTH else f"{payload[:_WIDTH]}.. ({len(payload):,})",
            (row["redriven_at"] or "")[:19],
        )  # fmt: skip
    _show(shown, bool(rows))
    console.say(f"{letters:,} dead letters, {redriven:,} of them redriven; {len(rows):,} shown")


@click.command()
@click.argument("service", type=click.Choice(["yellow", "green"]), required=False)
@click.argument("months", type=parse_months, metavar="[MONTHS]", required=False)
@click.option(
    "--missing", type=click.Choice(["trip_started", "trip_ended", "payment_processed"]), help="that lack this event"
)
@_limit
@options.as_json
def incomplete(
    service: str | None, months: tuple[Month, ...] | None, missing: str | None, limit: int | None, as_json: bool
) -> None:
    """Trips that lack an event and that assembly let go of, the latest pickup first. A late event still finds them."""
    most = _at_most(limit, as_json)
    rows: list[dict[str, Any]] = []
    with Warehouse(session.postgres_dsn(Settings.read())) as warehouse:
        for month in reversed(months) if months else (None,):
            left = None if most is None else most - len(rows)
            rows += warehouse.incomplete(service, month, missing, left)
    if as_json:
        console.show_json(rows)
        return
    shown = Table()
    for name in ("trip_id", "service", "pickup_at", "missing", "total_amount", "spilled_at"):
        shown.add_column(name, overflow="fold")
    for row in rows:
        lacks = ", ".join(row["missing"])
        total = row["total_amount"] or ""
        shown.add_row(row["trip_id"], row["service"], row["pickup_at"], lacks, total, row["spilled_at"][:19])
    _show(shown, bool(rows))
    console.say(f"{len(rows):,} incomplete trips shown" if rows else "there are no incomplete trips")


def _show(table: Table, any_rows: bool) -> None:
    if any_rows:
        console.screen().print(table)


def _at_most(limit: int | None, as_json: bool) -> int | None:
    return SHOWN if limit is None and not as_json else limit


def _escaped(text: str) -> str:
    """The text for SQL's like, which then finds it as it is."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _export(dsn: str, sought: Sought, limit: int | None, file: Path) -> int:
    """Writes letters to a new file; returns how many. Raises FileThere."""
    written = 0
    try:
        with file.open("xb") as lines:
            for letter in each(dsn, sought, limit):
                lines.write(to_line(letter))
                written += 1
    except FileExistsError as fault:
        raise FileThere(str(file)) from fault
    except OSError as fault:
        raise FileUnwritable(str(file), fault.strerror or str(fault)) from fault
    return written
