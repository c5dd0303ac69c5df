"""Figures of money: how trips are paid, tips, what a mile and a minute cost, the congestion fee."""

import altair as alt
import polars as pl

from chillflow.reports import sums
from chillflow.reports.facts import Facts
from chillflow.reports.figure import DASHED, DATA, LEVEL, TWO, Figure, axis, label, tooltips, with_room
from chillflow.reports.sums import CITY, MANHATTAN

PAYMENTS = {"card_trips": "card", "cash_trips": "cash", "flex_trips": "Flex Fare", "other_trips": "other"}

col = pl.col


def figures(facts: Facts) -> list[Figure]:
    return [payments(facts), tips(facts), fares(facts), congestion(facts)]


def _monthly(facts: Facts) -> pl.DataFrame:
    return sums.sums(facts.zones, "month")


def payments(facts: Facts) -> Figure:
    """Card, cash, Flex Fare and the rest, by month."""
    other = col("pickups") - col("card_trips") - col("cash_trips") - col("flex_trips")
    table = (
        _monthly(facts)
        .with_columns(other_trips=other)
        .unpivot(list(PAYMENTS), index=["service", "month", "pickups"], variable_name="payment", value_name="trips")
        .select(
            "service", sums.month_text(), payment=col("payment").replace_strict(PAYMENTS, return_dtype=pl.String),
            trips=col("trips"), payment_share=sums.ratio("trips", "pickups", "pickups"),
        )
        .sort("service", "month", maintain_order=True)
    )  # fmt: skip
    return Figure(
        "payments",
        "How trips are paid",
        "Flex Fare trips are booked in an app at an upfront price; how they are paid is not recorded.",
        table,
        {"Shares": _shares()},
        filters=("service",),
        findings=sums.told(table, _latest_flex),
    )


def _latest_flex(rows: pl.DataFrame) -> str:
    flex = rows.filter(payment="Flex Fare").drop_nulls("payment_share").sort("month")
    if not len(flex):
        return ""
    last = flex.row(-1, named=True)
    return f"{last['payment_share']:.1%} of the trips of {last['month']} were Flex Fare."


def _shares() -> alt.TopLevelMixin:
    kinds = list(PAYMENTS.values())
    return (
        alt.Chart(DATA)
        .transform_calculate(place=f"indexof({kinds}, datum.payment)")
        .mark_bar()
        .encode(
            x=alt.X("month:O", title=None, axis=LEVEL),
            y=alt.Y("payment_share:Q", title=None, stack="normalize", axis=alt.Axis(format=".0%")),
            color=alt.Color("payment:N", title=None, scale=alt.Scale(domain=kinds, range="category"), sort=kinds),
            order=alt.Order("place:Q"),
            tooltip=tooltips("month", "payment", "trips", "payment_share"),
        )
        .properties(width="container", height=240)
    )


def tips(facts: Facts) -> Figure:
    """Tips of card trips as a share of what they cost before the tip."""
    table = _monthly(facts).select("service", sums.month_text(), sums.TIP_SHARE).sort("service", "month")
    return Figure(
        "tips",
        "What riders tip by card",
        "Share of what the trip cost before the tip; cash tips are not recorded.",
        table,
        {"Card tip": _by_month("tip_share")},
        filters=("service",),
    )


def fares(facts: Facts) -> Figure:
    """Fare per mile and per minute."""
    table = _monthly(facts).select(
        "service", sums.month_text(), sums.FARE_PER_MILE, sums.FARE_PER_MINUTE, sums.REVENUE_PER_TRIP
    ).sort("service", "month")  # fmt: skip
    names = ("fare_per_mile", "fare_per_minute", "revenue_per_trip")
    return Figure(
        "fares",
        "What a mile and a minute cost",
        "Fares by the meter, without surcharges and tips, over all miles or minutes. Revenue per trip has all of it.",
        table,
        {label(name): _by_month(name) for name in names},
        filters=("service",),
    )


def _by_month(measure: str) -> alt.TopLevelMixin:
    line = (
        alt.Chart(DATA)
        .mark_line(point=alt.OverlayMarkDef(size=60), strokeWidth=2.5)
        .encode(
            x=alt.X("month:O", title=None, axis=LEVEL),
            y=alt.Y(f"{measure}:Q", scale=alt.Scale(zero=False), axis=axis(measure)),
            tooltip=tooltips("month", measure),
        )
    )
    return with_room(line, measure).properties(width="container", height=240)


def congestion(facts: Facts) -> Figure:
    """Speed of Manhattan and the city month by month, beside the share of trips that pay the congestion fee."""
    table = sums.sums(sums.by_area(facts.zones), "area", "month").select(
        "service", "area", sums.month_text(), sums.MPH, sums.CBD_SHARE, "cbd_sum"
    ).sort("service", "area", "month")  # fmt: skip
    charged = facts.zones["cbd_trips"].sum() > 0
    return Figure(
        "congestion",
        "Speed and the congestion fee" if charged else "Speed by month",
        "Taxi trips through Manhattan's centre pay $0.75 since January 5th, 2025. By the place of the pickup."
        if charged else "Manhattan and the whole city. No month here has the congestion fee, which began in 2025.",
        table,
        {label("mph"): _areas("mph")} | ({label("cbd_share"): _areas("cbd_share")} if charged else {}),
        filters=("service",),
        findings=sums.told(table, _effect) if charged else {},
    )  # fmt: skip


def _effect(rows: pl.DataFrame) -> str:
    """Manhattan's mean speed in the months before the fee and in the same months with it."""
    known = rows.filter(area=MANHATTAN).drop_nulls(["mph", "cbd_share"])
    number = known.with_columns(number=col("month").str.slice(5))
    paid, free = number.filter(col("cbd_share") > 0), number.filter(col("cbd_share") == 0)
    both = paid.join(free, on="number", suffix="_before")
    if not len(both):
        share = paid.select(pl.mean("cbd_share")).item() or 0.0
        return f"{share:.0%} of the trips that begin in Manhattan pay the fee."
    before, after = both.select(pl.mean("mph_before", "mph")).row(0)
    return f"Manhattan's speed in the same months: {before:.1f} mph before the fee, {after:.1f} mph with it."


def _areas(measure: str) -> alt.TopLevelMixin:
    areas = [MANHATTAN, CITY]
    lines = (
        alt.Chart(DATA)
        .mark_line(point=alt.OverlayMarkDef(size=60), strokeWidth=2.5)
        .encode(
            x=alt.X("month:O", title=None, axis=LEVEL),
            y=alt.Y(f"{measure}:Q", scale=alt.Scale(zero=measure != "mph"), axis=axis(measure)),
            color=alt.Color("area:N", title=None, scale=alt.Scale(domain=areas, range=TWO)),
            strokeDash=alt.StrokeDash("area:N", title=None, scale=alt.Scale(domain=areas, range=DASHED)),
            tooltip=tooltips("area", "month", "mph", "cbd_share", "cbd_sum"),
        )
    )
    return (with_room(lines, measure) if measure == "mph" else lines).properties(width="container", height=240)
