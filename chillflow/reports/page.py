"""Figures to one HTML page that needs no network: data, charts, scripts and styles are in it."""

import base64
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from typing import Any

import jinja2
import polars as pl

from chillflow.months import Month
from chillflow.reports import account, headline, sums
from chillflow.reports.columns import COLUMNS
from chillflow.reports.facts import Facts
from chillflow.reports.figure import Figure
from chillflow.reports.shapes import shapes
from chillflow.zones import ZONES

NAMES = {sums.ALL: "All taxis", "yellow": "Yellow", "green": "Green"}
DIGITS = 6
"""Digits of a ratio that the page keeps; sums keep all."""


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    anchor: str
    title: str
    figures: tuple[Figure, ...]


def render(facts: Facts, top: Figure, sections: Sequence[Section], vega: str) -> str:
    """The page; `vega` is a script that sets the global vegaEmbed."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chillflow.reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    figures = [figure for section in sections for figure in section.figures]
    services = headline.offered(facts, top)
    return environment.get_template("report.html").render(
        title=f"New York's taxis, {span(facts.months)}" if facts.months else "New York's taxis",
        months=len(facts.months),
        lead=_lead(facts),
        services=[(service, NAMES[service]) for service in services],
        chosen=services[0] if services else "",
        zones=ZONES,
        tiles=headline.tiles(top),
        meanings={column.label: column.meaning for column in _used(top, *figures) if column.meaning},
        alerts=account.alerts(facts),
        sections=sections,
        columns=COLUMNS,
        data=_packed(
            {
                "figures": {figure.name: _plain(figure) for figure in figures},
                "shapes": shapes(),
                "columns": {name: [each.label, each.kind] for name, each in COLUMNS.items()},
            }
        ),
        vega=vega.replace("</script", "<\\/script"),
        source=_source,
        initial=_initial,
    )  # fmt: skip


def _lead(facts: Facts) -> str:
    if not facts.months:
        return ""
    several = f"{len(facts.months)} months" if len(facts.months) > 1 else "one month"
    return f"{several} of {' and '.join(facts.services)} taxi trips, by zone and hour"


def span(months: Sequence[Month]) -> str:
    """Months in words: January 2019, or January to June 2019."""
    if not months:
        return "no month"
    first, last = months[0].date, months[-1].date
    if first == last:
        return f"{first:%B %Y}"
    if first.year == last.year:
        return f"{first:%B} to {last:%B %Y}"
    return f"{first:%B %Y} to {last:%B %Y}"


def _used(*figures: Figure) -> Iterable[Any]:
    names = dict.fromkeys(name for figure in figures for name in figure.table.columns)
    return [COLUMNS[name] for name in names]


def _plain(figure: Figure) -> dict[str, Any]:
    """A figure as the page's script reads it; that its charts are valid is a matter of tests, and takes a second."""
    drawn = len(figure.table) > 0
    return {
        "columns": {series.name: _values(series) for series in figure.table},
        "rows": len(figure.table),
        "filters": list(figure.filters),
        "charts": {name: chart.to_dict(validate=False) for name, chart in figure.charts.items()} if drawn else {},
    }


def _values(series: pl.Series) -> Any:
    """Texts and dates by their place in a list of different ones, numbers as they are."""
    if series.dtype == pl.Date:
        series = series.dt.strftime("%Y-%m-%d")
    if series.dtype == pl.String:
        texts = series.unique(maintain_order=True)
        places = {text: place for place, text in enumerate(texts)}
        return {"texts": texts.to_list(), "places": [places[text] for text in series]}
    if series.dtype.is_float():
        return [None if value is None else _number(value) for value in series]
    return [float(value) if isinstance(value, Decimal) else value for value in series]


def _number(value: float) -> float | int:
    if not value:
        return 0
    short = round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))
    return int(short) if short.is_integer() else short


def _packed(value: Any) -> str:
    """JSON, compressed for a script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def _source(name: str) -> str:
    return resources.files("chillflow.reports").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _initial(figure: Figure, name: str) -> list[str]:
    """The values that a figure's own filter offers."""
    return [str(value) for value in figure.table[name].unique(maintain_order=True)]
