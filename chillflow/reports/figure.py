"""A figure: a table with a title, and the charts that may be drawn of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import polars as pl

from chillflow.reports.columns import COLUMNS, FORMATS

DATA = alt.NamedData("figure")
"""Where a chart finds its figure's rows: the page puts those there that the reader chose."""


@dataclass(frozen=True)
class Figure:
    """Pure: made of frames, known by `name`, which files and anchors bear.

    `table` holds the rows of all choices. `filters` are columns of which the page shows the rows of one value at a
    time: `service` and `zone_id` (null: the whole city) by the choice for the whole page, others by one of the
    figure's own.
    `charts` are alternatives by label; none means that the table stands for itself. `findings` say in a sentence, by
    service, what there is to see. `missing` says why there is nothing to draw.
    """

    name: str
    title: str
    note: str
    table: pl.DataFrame
    charts: Mapping[str, alt.TopLevelMixin] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    findings: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    wide: bool = False


LEVEL = alt.Axis(labelAngle=0, labelOverlap=True)
"""Labels that need no turned head."""

TWO = ["var(--series-1)", "var(--series-2)"]
DASHED = [[1, 0], [5, 3]]
"""Two series differ by colour and by dash, so that they do without colour."""


def with_room(line: alt.Chart, measure: str) -> alt.LayerChart | alt.FacetChart:
    """Leaves a twentieth free above and below, so that a change of next to nothing looks like it."""
    low, high = f"min({measure})", f"max({measure})"
    ends = alt.Chart(DATA).transform_aggregate(low=low, high=high)
    ends = ends.transform_calculate(low="0.95 * datum.low", high="1.05 * datum.high")
    unseen = ends.mark_rule(opacity=0, aria=False).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    return alt.layer(line, unseen)


def tooltips(*names: str) -> list[alt.Tooltip]:
    """What a mark tells of itself, with the names and formats of COLUMNS."""
    return [_tooltip(name) for name in names]


def _tooltip(name: str) -> alt.Tooltip:
    column = COLUMNS[name]
    if column.kind in FORMATS:
        return alt.Tooltip(field=name, type="quantitative", title=column.label, format=FORMATS[column.kind])
    if column.kind == "day":
        return alt.Tooltip(
            field=name, type="temporal", title=column.label, timeUnit="utcyearmonthdate", format="%a %b %d, %Y"
        )
    return alt.Tooltip(field=name, type="nominal", title=column.label)


def axis(name: str, **options: Any) -> alt.Axis:
    """The axis of a column's numbers, in its format; large counts and sums are written short."""
    return alt.Axis(title=None, **_written(name), **options)


def legend(name: str, **options: Any) -> alt.Legend:
    return alt.Legend(**_written(name), **options)


def _written(name: str) -> dict[str, Any]:
    kind = COLUMNS[name].kind
    if kind not in ("count", "dollars"):
        return {"format": ",.3~r" if kind == "number" else FORMATS[kind]} if kind in FORMATS else {}
    sign = "'$'" if kind == "dollars" else "''"
    steps = ((1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
    short = "".join(
        f"abs(datum.value) >= {least:g} ? format(datum.value / {by:g}, ',.3~r') + '{unit}' : "
        for least, by, unit in steps
    )
    return {"labelExpr": f"{sign} + ({short} format(datum.value, ',~r'))"}


def label(name: str) -> str:
    return COLUMNS[name].label


def number_format(name: str) -> str:
    return FORMATS[COLUMNS[name].kind]
