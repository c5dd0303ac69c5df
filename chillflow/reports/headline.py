"""The figures at the top of the page, and those of the terminal."""

import polars as pl

from chillflow.reports import account, sums
from chillflow.reports.columns import COLUMNS
from chillflow.reports.facts import Facts
from chillflow.reports.figure import Figure

NAMES = ("trips", "trips_per_day", "revenue", "revenue_per_trip", "mph", "tip_share", "airport_share", "flex_share")

col = pl.col


def headline(facts: Facts) -> Figure:
    """The whole time in a row of figures for each service."""
    table = (
        sums.sums(facts.zones)
        .join(sums.days(facts), on="service")
        .select(
            "service",
            trips=col("pickups"),
            trips_per_day=(col("pickups") / col("days")).round(1),
            revenue=col("total_sum"),
            revenue_per_trip=sums.REVENUE_PER_TRIP,
            mph=sums.MPH,
            tip_share=sums.TIP_SHARE,
            airport_share=sums.AIRPORT_SHARE,
            flex_share=sums.FLEX_SHARE,
        )
    )
    return Figure("headline", "In short", "", table, filters=("service",))


def offered(facts: Facts, figure: Figure) -> tuple[str, ...]:
    """The services to choose from: those with zone-hours, which a service may lack whose KPIs are not computed yet."""
    there = set(figure.table["service"])
    every = sums.services(facts)
    return tuple(service for service in every if service in there) or every


def tiles(figure: Figure) -> dict[str, list[tuple[str, str]]]:
    """Name and text of each figure, by service."""
    return {
        row["service"]: [(COLUMNS[name].label, text(name, row[name])) for name in NAMES]
        for row in figure.table.iter_rows(named=True)
    }


def line(facts: Facts, figure: Figure) -> str:
    """The headline figures of all services in a line for the terminal."""
    rows = figure.table.filter(service=offered(facts, figure)[0]).to_dicts() if facts.services else []
    if not rows:
        return "no trips"
    alerts = len(account.alerts(facts))
    told = [
        f"{text('trips', rows[0]['trips'])} trips",
        f"{text('revenue', rows[0]['revenue'])} revenue",
        f"{text('revenue_per_trip', rows[0]['revenue_per_trip'])} a trip",
        f"{text('mph', rows[0]['mph'])} mph",
        f"card tip {text('tip_share', rows[0]['tip_share'])}",
        f"airports {text('airport_share', rows[0]['airport_share'])}",
        f"{alerts} alert{'' if alerts == 1 else 's'}",
    ]
    return ", ".join(told)


def text(name: str, value: object) -> str:
    """A figure as it is written in a sentence; an en dash where it is suppressed or unknown."""
    if value is None:
        return "–"  # noqa: RUF001
    number = float(value)  # type: ignore[arg-type]
    match COLUMNS[name].kind:
        case "count":
            return f"{number:,.0f}"
        case "dollars" if number >= 1_000_000:
            return f"${number / 1e6:,.{1 if number >= 1e7 else 2}f} M"
        case "dollars":
            return f"${number:,.0f}"
        case "cents":
            return f"${number:,.2f}"
        case "share":
            return f"{number:.1%}"
        case _:
            return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:,.1f}"
