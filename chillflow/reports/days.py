"""Figures by day: trips and revenue, and what the clock did on its two odd days."""

import datetime as dt

import altair as alt
import polars as pl

from chillflow.months import Month
from chillflow.reports import sums, wall_time
from chillflow.reports.facts import Facts
from chillflow.reports.figure import DATA, LEVEL, Figure, axis, label, tooltips

DAYS = "utcFormat(datum.value, span(domain('x')) > 185 * 864e5 ? '%b %Y' : '%b %d')"
"""Of more than half a year, with the year: nothing else tells its months from those of the next."""
WHOLE = "All boroughs"
SERVICES = alt.Scale(domain=["yellow", "green"], range=["var(--yellow)", "var(--green)"])
DASHES = alt.Scale(domain=["yellow", "green"], range=[[1, 0], [5, 3]])

col = pl.col


def daily(facts: Facts) -> Figure:
    """Trips and revenue of each day, by service and borough of the pickup."""
    names = ["service", "borough", "day", "pickups", "total_sum"]
    whole = facts.boroughs.group_by("service", "day").agg(col("pickups", "total_sum").sum())
    every = pl.concat(
        [
            whole.with_columns(borough=pl.lit(WHOLE)).select(names),
            facts.boroughs.select(names).with_columns(sums.borough_name()),
        ]
    )
    notes = {day: wall_time.remark(day) for day in wall_time.changes(facts.months)}
    table = every.select(
        "service", "borough", "day", trips="pickups", revenue="total_sum",
        note=col("day").replace_strict(notes, default="", return_dtype=pl.String),
    ).sort(pl.col("borough") != WHOLE, "borough", "service", "day", descending=[False, False, True, False])  # fmt: skip
    return Figure(
        "daily",
        "Day by day",
        "Pickups of each day and the mean of the seven days around it. Rings mark the days on which the clock is "
        "changed: they have 23 or 25 hours.",
        table,
        {label(name): _lines(name) for name in ("trips", "revenue")},
        filters=("borough",),
        findings=_extremes(table.filter(borough=WHOLE), facts.services),
        wide=True,
    )


def _extremes(days: pl.DataFrame, services: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for service in (sums.ALL, *services) if len(services) > 1 else services:
        of = days if service == sums.ALL else days.filter(service=service)
        ranked = of.group_by("day").agg(col("trips").sum()).sort("trips", "day")
        if len(ranked) > 1:
            (low, fewest), (high, most) = ranked.row(0), ranked.row(-1)
            found[service] = f"Most trips on {_day(high)} ({most:,}), fewest on {_day(low)} ({fewest:,})."
    return found


def _day(day: dt.date) -> str:
    return f"{day:%A, %B} {day.day}, {day.year}"


def _lines(measure: str) -> alt.TopLevelMixin:
    dates = alt.Axis(labelExpr=DAYS, labelOverlap=True, tickCount=8)
    days = alt.Chart(DATA).encode(
        x=alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=dates),
        color=alt.Color("service:N", scale=SERVICES, title=None),
        strokeDash=alt.StrokeDash("service:N", scale=DASHES, title=None),
    )  # fmt: skip
    nearest = alt.selection_point(
        name="near", nearest=True, on="pointerover", fields=["day"], empty=False, clear="pointerout"
    )
    height = alt.Y(f"{measure}:Q", axis=axis(measure))
    told = tooltips("day", "service", "borough", "trips", "revenue", "note")
    stretches = (
        days.transform_window(before="lag(day)", groupby=["service"], sort=[alt.SortField("day")])
        .transform_calculate(gap="isValid(datum.before) && datum.day - datum.before > 129600000 ? 1 : 0")
        .transform_window(stretch="sum(gap)", frame=[None, 0], groupby=["service"], sort=[alt.SortField("day")])
        .encode(detail="stretch:N")
    )
    line = stretches.mark_line(strokeWidth=1, opacity=0.45).encode(y=height)
    smooth = (
        stretches.transform_window(
            mean=f"mean({measure})", frame=[-3, 3], groupby=["service", "stretch"], sort=[alt.SortField("day")]
        )
        .mark_line(strokeWidth=2.5)
        .encode(y="mean:Q")
    )
    odd = days.transform_filter("datum.note").mark_point(size=90, strokeWidth=2, filled=False).encode(
        y=height, strokeDash=alt.value([1, 0]), tooltip=told
    )  # fmt: skip
    points = days.mark_point(filled=True, size=70).encode(
        y=height, opacity=alt.condition(nearest, alt.value(1), alt.value(0)), strokeDash=alt.value([1, 0]), tooltip=told
    ).add_params(nearest)  # fmt: skip
    return alt.layer(line, smooth, odd, points).properties(width="container", height=280)


def clock_changes(facts: Facts) -> Figure | None:
    """The odd days hour by hour beside the same weekday a week before and after; None where there is no such day."""
    changes = wall_time.changes(facts.months)
    rows = []
    for day, change in changes.items():
        for service in sums.services(facts):
            if Month.of(day) not in facts.months_of(service):
                continue
            of = facts.hours if service == sums.ALL else facts.hours.filter(service=service)
            pickups = dict(of.group_by("at").agg(col("pickups").sum()).iter_rows())
            rows += [_hour(service, day, hour, change, pickups) for hour in range(24)]
    if not rows:
        return None
    table = pl.DataFrame(rows, infer_schema_length=None)
    return Figure(
        "clock_changes",
        "The days on which the clock is changed",
        "Bars are the pickups of that day, ticks the mean of the same weekday a week before and after. In spring "
        "nothing can begin at 02:00; in autumn 01:00 comes twice and is one bar, since the records do not tell the "
        "two apart.",
        table.with_columns(day=col("day").dt.strftime("%Y-%m-%d")),
        {"Pickups": _clock()},
        filters=("service", "day"),
        wide=True,
    )


def _hour(service: str, day: dt.date, hour: int, change: int, pickups: dict[dt.datetime, int]) -> dict[str, object]:
    at = dt.datetime(day.year, day.month, day.day, hour)
    weeks = [pickups[near] for days in (-7, 7) if (near := at + dt.timedelta(days=days)) in pickups]
    odd = {(1, 2): "does not exist", (-1, 1): "two hours in one"}.get((change, hour), "")
    return {
        "service": service, "day": day, "hour": f"{hour:02d}:00", "pickups": pickups.get(at, 0),
        "usual": sum(weeks) / len(weeks) if weeks else None, "note": odd,
    }  # fmt: skip


def _clock() -> alt.TopLevelMixin:
    hours = alt.Chart(DATA).encode(x=alt.X("hour:O", title=None, axis=LEVEL))
    told = tooltips("day", "hour", "pickups", "usual", "note")
    bars = hours.mark_bar().encode(
        y=alt.Y("pickups:Q", axis=axis("pickups")), tooltip=told,
        color=alt.condition("datum.note", alt.value("var(--series-2)"), alt.value("var(--series-1)")),
    )  # fmt: skip
    ticks = hours.mark_tick(thickness=2, color="var(--ink)").encode(y="usual:Q", tooltip=told)
    told_above = alt.MarkDef("text", dy=-12, dx=-6, align="left", fontSize=12, fontWeight=600, color="var(--ink)")
    text = hours.transform_filter("datum.note").encode(y=alt.value(14), text="note:N")
    text.mark = told_above
    return alt.layer(bars, ticks, text).properties(width="container", height=240)
