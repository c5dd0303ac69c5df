"""Data quality: what became of each row, by rule and month, and what is unusual about it."""

import altair as alt
import polars as pl

from chillflow import quality
from chillflow.curation import RULES
from chillflow.reports.facts import Entry, Facts
from chillflow.reports.figure import DATA, Figure, tooltips
from chillflow.trips import SERVICES

STALE = "its KPIs are older than its trips, so that figures below may lack some"
MOST_WRITTEN = 14
"""Months of which the shares can be written into the cells."""
_RULES = {
    "taxis": pl.String, "month": pl.String, "path": pl.String, "rule": pl.String, "action": pl.String,
    "rows": pl.Int64, "row_share": pl.Float64, "usual_share": pl.Float64, "times_usual": pl.Float64, "alert": pl.String,
}  # fmt: skip
_LEDGER = {
    "service": pl.String, "month": pl.String, "path": pl.String, "rows_in": pl.Int64, "trips": pl.Int64,
    "quarantined": pl.Int64, "adjustments": pl.Int64, "row_share": pl.Float64, "alert": pl.String,
}  # fmt: skip


def alerts(facts: Facts) -> list[str]:
    """A sentence for each cause for alarm, the latest month first."""
    ordered = sorted(facts.ledger, key=lambda entry: (entry.month, entry.service), reverse=True)
    return [f"{entry.service} {entry.month}: {told}" for entry in ordered for told in _alerts(entry)]


def _alerts(entry: Entry) -> list[str]:
    found = quality.alerts(entry.service, entry.rows_in, entry.trips, entry.counts)
    return [STALE, *found] if entry.stale else found


def rules(facts: Facts) -> Figure:
    """Rows per rule and month, beside the usual share."""
    rows = [row for entry in facts.ledger for row in _rows(entry)]
    table = pl.DataFrame(rows, schema=_RULES, orient="row").sort("taxis", descending=True, maintain_order=True)
    return Figure(
        "quality",
        "Data quality by rule and month",
        "Rows that each rule rejected, took back or flagged. The colour says how many times the usual share of real "
        "months it is: three times (!) "
        "is worth an alert.",
        table,
        {"Times usual": _heat(len(facts.months))} if len(table) else {},
        filters=("taxis",),
        missing="" if len(table) else "No month is loaded.",
        wide=True,
    )


def _rows(entry: Entry) -> list[dict[str, object]]:
    told = _alerts(entry)
    place = SERVICES.index(entry.service)
    found = []
    for rule in RULES:
        of = entry.trips if rule.action == "flag" else entry.rows_in
        count, usual = entry.counts.get(rule.name, 0), rule.usual[place] / 100
        share = count / of if of else None
        found.append({
            "taxis": entry.service, "month": str(entry.month), "path": entry.path, "rule": rule.name,
            "action": rule.action, "rows": count, "row_share": share, "usual_share": usual,
            "times_usual": share / usual if share is not None and usual else None,
            "alert": next((text for text in told if text.startswith(f"{rule.name}:")), ""),
        })  # fmt: skip
    return found


def _heat(months: int) -> alt.TopLevelMixin:
    order = [rule.name for rule in RULES]
    cells = alt.Chart(DATA).encode(
        x=alt.X("month:O", title=None, axis=alt.Axis(orient="top", labelAngle=0, labelOverlap=True)),
        y=alt.Y("rule:N", title=None, sort=order, axis=alt.Axis(labelLimit=200)),
        tooltip=tooltips(*_RULES),
    )  # fmt: skip
    squares = cells.mark_rect(stroke="var(--paper)").encode(
        color=alt.condition(
            "isValid(datum.times_usual)",
            alt.Color("times_usual:Q", title="times the usual share", scale=alt.Scale(domain=[0, 3], clamp=True)),
            alt.value("#88888826"),
        )
    )
    on_ramp = "isValid(datum.times_usual)"
    dark = f"{on_ramp} && luminance(scale('color', datum.times_usual)) < 0.35"
    text = cells.transform_calculate(
        told="format(datum.row_share, '.2%') + (datum.alert ? '  !' : '')"
    ).mark_text(fontSize=11).encode(
        text="told:N",
        color=alt.when(dark).then(alt.value("#fff")).when(on_ramp).then(alt.value("#111")).otherwise(alt.value("var(--ink)")),
    )  # fmt: skip
    return (squares + text if months <= MOST_WRITTEN else squares).properties(width="container", height=20 * len(RULES))


def ledger(facts: Facts) -> Figure:
    """What became of the rows of each month: a table."""
    rows = [
        {
            "service": entry.service, "month": str(entry.month), "path": entry.path, "rows_in": entry.rows_in,
            "trips": entry.trips, "quarantined": entry.quarantined, "adjustments": entry.adjustments,
            "row_share": entry.quarantined / entry.rows_in if entry.rows_in else None,
            "alert": "; ".join(_alerts(entry)),
        }
        for entry in facts.ledger
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=_LEDGER, orient="row").sort("service", "month", descending=[True, False])
    return Figure(
        "ledger",
        "What became of each row",
        "Rows in = trips + quarantined + adjustments, for every month. The share is that of quarantined rows.",
        table,
        missing="" if len(table) else "No month is loaded.",
        wide=True,
    )
