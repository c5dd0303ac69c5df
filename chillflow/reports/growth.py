"""Growth: years side by side, and the zones that grow or shrink fastest."""

import altair as alt
import polars as pl

from chillflow.months import Month
from chillflow.reports import sums
from chillflow.reports.facts import Facts, days_of
from chillflow.reports.figure import DATA, Figure, axis, label, tooltips
from chillflow.reports.sums import PLACES

RANKED = 12
LEAST_BEFORE = 50
"""Pickups that a zone must have had before, so that its change is more than chance."""

col = pl.col
Period = tuple[Month, ...]


def periods(months: Period) -> tuple[Period, Period] | None:
    """What is compared: the same months of the last two years that share some, else the first and the last month."""
    for month in reversed(months):
        earlier = Month(month.year - 1, month.number)
        if earlier in months:
            after = tuple(m for m in months if m.year == month.year and Month(m.year - 1, m.number) in months)
            return tuple(Month(m.year - 1, m.number) for m in after), after
    return ((months[0],), (months[-1],)) if len(months) > 1 else None


def movers(facts: Facts) -> Figure:
    """Pickups per day of each zone, before and after."""
    frames = [_change(facts, service) for service in sums.services(facts)]
    table = pl.concat(frames).sort("service", "change", descending=[False, True], nulls_last=True, maintain_order=True)
    told = " ".join(table["periods"].unique(maintain_order=True).head(1))
    return Figure(
        "movers",
        "Zones that grow and shrink",
        f"Pickups per day, {told}. Zones with fewer than {LEAST_BEFORE} pickups before are left out."
        if told else "Pickups per day of two periods.",
        table,
        {"Growing": _bars("descending"), "Shrinking": _bars("ascending")} if len(table) else {},
        filters=("service",),
        findings=sums.told(table, _extremes),
        missing="" if len(table) else "This needs two months of a service with enough trips.",
    )  # fmt: skip


def _change(facts: Facts, service: str) -> pl.DataFrame:
    found = periods(facts.comparable(service))
    before, after = found or ((), ())
    told = f"{_span(before)} to {_span(after)}" if found else ""
    of = facts.zones if service == sums.ALL else facts.zones.filter(service=service)
    return (
        _pickups(of, before, "before")
        .join(_pickups(of, after, "after"), on="zone_id", how="left")
        .with_columns(col("after").fill_null(0))
        .filter(col("before") >= LEAST_BEFORE)
        .with_columns(before=col("before") / max(days_of(before), 1), after=col("after") / max(days_of(after), 1))
        .join(PLACES, on="zone_id")
        .select(
            pl.lit(service).alias("service"), "zone_id", "zone", "borough", "before", "after",
            change=col("after") / col("before") - 1, periods=pl.lit(told),
        )
    )  # fmt: skip


def _pickups(zones: pl.DataFrame, period: Period, name: str) -> pl.DataFrame:
    dates = [month.date for month in period]
    return zones.filter(col("month").is_in(dates)).group_by("zone_id").agg(col("pickups").sum().alias(name))


def _span(period: Period) -> str:
    return str(period[0]) if len(period) < 2 else f"{period[0]}..{period[-1]}"


def _extremes(rows: pl.DataFrame) -> str:
    ranked = rows.sort("change")
    if len(ranked) < 2:
        return ""
    low, high = ranked.row(0, named=True), ranked.row(-1, named=True)
    told = []
    if high["change"] > 0:
        told.append(f"{high['zone']} grew most ({high['change']:+.0%})")
    if low["change"] < 0:
        told.append(f"{low['zone']} shrank most ({low['change']:+.0%})".replace("-", "\N{MINUS SIGN}"))
    return ", ".join(told) + "." if told else ""


def _bars(order: str) -> alt.TopLevelMixin:
    return (
        alt.Chart(DATA)
        .transform_window(rank="row_number()", sort=[alt.SortField("change", order=order)])  # type: ignore[arg-type]
        .transform_filter(f"datum.rank <= {RANKED}")
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X("change:Q", title="change of pickups per day", axis=alt.Axis(format="+.0%")),
            y=alt.Y("zone:N", title=None, sort=alt.EncodingSortField("rank"), axis=alt.Axis(labelLimit=190)),
            color=alt.condition("datum.change < 0", alt.value("var(--series-2)"), alt.value("var(--series-1)")),
            tooltip=tooltips("zone", "borough", "before", "after", "change"),
        )
        .properties(width="container", height=300)
    )


def year_on_year(facts: Facts) -> Figure | None:
    """Months that occur in two years or more, side by side; None where there is none."""
    monthly = sums.sums(facts.boroughs.with_columns(month=col("day").dt.truncate("1mo")), "month")
    months = {service: [month.date for month in facts.comparable(service)] for service in sums.services(facts)}
    kept = [monthly.filter(service=service).filter(col("month").is_in(dates)) for service, dates in months.items()]
    earlier = col("trips").shift(1)
    table = (
        pl.concat([monthly.clear(), *kept])
        .select("service", "month", trips="pickups", revenue="total_sum")
        .with_columns(year=col("month").dt.strftime("%Y"), number=col("month").dt.month())
        .filter(col("year").n_unique().over("service", "number") > 1)
        .sort("service", "number", "year")
        .with_columns(month_of_year=col("month").dt.strftime("%b"))
        .with_columns(
            change=pl.when(earlier >= sums.LEAST_TRIPS).then(col("trips") / earlier - 1).over("service", "number")
        )
        .select("service", "month_of_year", "year", "trips", "revenue", "change")
    )  # fmt: skip
    if not len(table):
        return None
    return Figure(
        "year_on_year",
        "Year on year",
        "Months of which there are two years or more. The change is that of trips to the year before.",
        table,
        {label(name): _years(name) for name in ("trips", "revenue")},
        filters=("service",),
    )


def _years(measure: str) -> alt.TopLevelMixin:
    return (
        alt.Chart(DATA)
        .mark_bar()
        .encode(
            x=alt.X("month_of_year:O", title=None, sort=list(MONTHS), axis=alt.Axis(labelAngle=0)),
            xOffset="year:O",
            y=alt.Y(f"{measure}:Q", axis=axis(measure)),
            color=alt.Color("year:O", title=None),
            tooltip=tooltips("month_of_year", "year", "trips", "revenue", "change"),
        )
        .properties(width="container", height=260)
    )


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
