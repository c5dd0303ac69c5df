"""`chillflow kpis`: trips, money and speed by place and time."""

import difflib
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

import click
from rich.table import Column, Table

from chillflow import console
from chillflow.errors import NoKpis, UnknownZone
from chillflow.jobs import options, session
from chillflow.months import Month, parse_months
from chillflow.settings import Settings
from chillflow.stores.kpi_reads import By, KpiReads, Per, Question
from chillflow.zones import ZONES

FEW = 10
"""Trips; a quotient of fewer says more about them than about the place."""


@click.command()
@click.option("--months", type=parse_months, metavar="MONTHS", help="which ones [default: all of which there are KPIs]")
@click.option("--service", type=click.Choice(["yellow", "green"]), help="one of them [default: both]")
@click.option("--by", type=click.Choice(["zone", "borough", "city"]), default="city", show_default=True)
@click.option("--per", type=click.Choice(["hour", "day", "month"]), default="month", show_default=True)
@click.option("--zone", "zones", multiple=True, metavar="ID|NAME", help="only this zone; may be given again")
@options.as_json
def kpis(
    months: tuple[Month, ...] | None, service: str | None, by: By, per: Per, zones: tuple[str, ...], as_json: bool
) -> None:
    """KPIs by place and time: trips, money, speed; --json has all measures."""
    settings = Settings.read()
    wanted = tuple(sorted({zone for text in zones for zone in zones_called(text)})) if zones else None
    services = (service,) if service else ("yellow", "green")
    with closing(KpiReads(session.postgres_dsn(settings), session.redis_if_any(settings))) as reads:
        known = reads.months(services)
        asked = months or known
        missing = sorted(set(asked) - set(known))
        if missing or not asked:
            raise NoKpis(" and ".join(services), tuple(map(str, missing)))
        rows = reads.read(Question(asked, services, by, per, wanted))
        rate = reads.hit_rate
    if as_json:
        console.show_json(rows)
        return
    console.screen().print(_table(rows, by, per))
    source = "from Redis" if reads.hits else "from PostgreSQL"
    console.say(source if rate is None else f"{source}; {rate:.0%} of all reads so far were from Redis")


def zones_called(text: str) -> list[int]:
    """The ids of the zones of a name, or that of a number; raises UnknownZone, with names that are near."""
    if text.isdecimal() and 1 <= int(text) <= len(ZONES):
        return [int(text)]
    names = {zone.name.casefold(): zone.name for zone in ZONES}
    found = [zone.id for zone in ZONES if zone.name.casefold() == text.casefold()]
    if found:
        return found
    near = [name for folded, name in names.items() if text.casefold() in folded]
    near += [names[folded] for folded in difflib.get_close_matches(text.casefold(), names, 3, 0.5)]
    raise UnknownZone(text, tuple(dict.fromkeys(near[:5])))


def _table(rows: Sequence[dict[str, Any]], by: By, per: Per) -> Table:
    places = {"zone": ["zone_id", "zone"], "borough": ["borough"], "city": []}[by]
    figures = ("pickups", "dropoffs", "fare_sum", "total_sum", "mph", "minutes", "card tip %")
    table = Table("service", *places, per, *(Column(name, justify="right") for name in figures))
    for row in rows:
        told = [f"{row['pickups']:,}", f"{row['dropoffs']:,}", *(f"{Decimal(row[name]):,}" for name in figures[2:4])]
        told.append(_quotient(row["speed_distance_sum"], row["speed_duration_sum"], 3600, row["distance_n"]))
        told.append(_quotient(row["duration_sum"], row["duration_n"] * 60, 1, row["duration_n"]))
        before_tip = Decimal(row["card_total_sum"]) - Decimal(row["card_tip_sum"])
        told.append(_quotient(row["card_tip_sum"], before_tip, 100, row["card_trips"]))
        table.add_row(row["service"], *(str(row[name]) for name in places), str(row[per]), *told)
    return table


def _quotient(above: Any, below: Any, times: int, trips: int) -> str:
    return "" if trips < FEW or not below else f"{Decimal(above) * times / Decimal(below):.1f}"
