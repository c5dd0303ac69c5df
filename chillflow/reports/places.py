"""Figures of zones: maps, the months of one zone, where trips go, and which zones grow or shrink."""

import altair as alt
import polars as pl

from chillflow.reports import sums
from chillflow.reports.facts import Facts
from chillflow.reports.figure import DATA, LEVEL, Figure, axis, label, legend, number_format, tooltips
from chillflow.reports.sums import PLACES

SHAPES = alt.NamedData("shapes")
MAPPED = ("pickups", "dropoffs", "net_flow", "revenue", "mph", "tip_share")
LEFT_OUT = alt.value("#8888884d")
CHOSEN = "datum.zone_id === chosen"
BARS = 15

col = pl.col


def figures(facts: Facts) -> list[Figure]:
    return [zones(facts), zone_months(facts), pairs(facts), boroughs(facts)]


def zones(facts: Facts) -> Figure:
    """The whole time by zone: one map for each measure."""
    summed = sums.sums(facts.zones, "zone_id")
    everywhere = PLACES.join(summed.select("service").unique(), how="cross")
    table = everywhere.join(summed, on=["service", "zone_id"], how="left").with_columns(
        col("pickups", "dropoffs", "total_sum").fill_null(0)
    ).select(
        "service", "zone_id", "zone", "borough", "pickups", "dropoffs", sums.NET_FLOW, sums.REVENUE, sums.MPH,
        sums.TIP_SHARE,
    ).sort("service", "pickups", descending=[False, True], maintain_order=True)  # fmt: skip
    return Figure(
        "zones",
        "The city by zone",
        "Choose a zone on the map or by its name above: the charts beside the map then tell of it. Zones 57, 104 and "
        "105 are drawn by the city as parts of 56 and 103, and 264 (unknown) and 265 (outside) lie nowhere; the table "
        "has them all.",
        table,
        {label(measure): _map(measure) for measure in MAPPED},
        filters=("service",),
        findings=sums.told(table, _busiest),
    )


def _busiest(rows: pl.DataFrame) -> str:
    whole = int(rows["pickups"].sum())
    if not whole:
        return ""
    top = rows.sort("pickups", descending=True).head(10)
    share = int(top["pickups"].sum()) / whole
    return f"{top['zone'][0]} is the busiest zone; the ten busiest have {share:.0%} of all pickups."


def _map(measure: str) -> alt.TopLevelMixin:
    scale = {
        "net_flow": alt.Scale(type="symlog", domainMid=0),
        "mph": alt.Scale(zero=False),
        "tip_share": alt.Scale(zero=False),
    }.get(measure, alt.Scale(type="sqrt"))
    key = legend(measure, orient="top-left", direction="vertical", gradientLength=150)
    colour = alt.Color(f"{measure}:Q", title=label(measure), scale=scale, legend=key)
    outlines = alt.LookupData(SHAPES, key="properties.zone_id", fields=["type", "geometry"])
    here = alt.selection_point(name="here", on="pointerover", clear="pointerout", fields=["zone_id"], empty=False)
    return (
        alt.Chart(DATA)
        .transform_lookup("zone_id", from_=outlines)
        .transform_filter("isValid(datum.geometry)")
        .mark_geoshape(cursor="pointer")
        .encode(
            color=alt.condition(f"isValid(datum.{measure})", colour, LEFT_OUT),
            stroke=alt.condition(f"{CHOSEN} || (isValid(here.zone_id) && here.zone_id[0] === datum.zone_id)",
                                 alt.value("var(--ink)"), alt.value("var(--paper)")),
            strokeWidth=alt.condition(CHOSEN, alt.value(2.5), alt.value(0.5)),
            tooltip=tooltips("zone", "borough", *MAPPED),
        )
        .project(type="mercator")
        .add_params(alt.param(name="chosen", value=None), here)
        .properties(width="container", height=640)
    )  # fmt: skip


def zone_months(facts: Facts) -> Figure:
    """The months of each zone, and of the city where no zone is chosen."""
    by_zone = sums.sums(facts.zones, "zone_id", "month")
    city = sums.sums(facts.zones, "month").with_columns(zone_id=pl.lit(None, pl.Int32)).select(by_zone.columns)
    table = (
        pl.concat([city, by_zone])
        .join(PLACES, on="zone_id", how="left")
        .select(
            "service", "zone_id", col("zone").fill_null(sums.CITY), sums.month_text(), "pickups", "dropoffs",
            sums.REVENUE, sums.MPH, sums.TIP_SHARE,
        )
        .sort("service", "zone_id", "month")
    )  # fmt: skip
    few = len(facts.months) < 2
    return Figure(
        "zone_months",
        "Month by month",
        "Of the zone that is chosen, else of the whole city.",
        table,
        {} if few else {label(name): _months(name) for name in ("pickups", "dropoffs", "revenue", "mph", "tip_share")},
        filters=("service", "zone_id"),
        wide=True,
    )


def _months(measure: str) -> alt.TopLevelMixin:
    zero = measure not in ("mph", "tip_share")
    return (
        alt.Chart(DATA)
        .mark_line(point=True, strokeWidth=2.5)
        .encode(
            x=alt.X("month:O", title=None, axis=LEVEL),
            y=alt.Y(f"{measure}:Q", axis=axis(measure), scale=alt.Scale(zero=zero)),
            tooltip=tooltips("zone", "month", measure),
        )
        .properties(width="container", height=150)
    )


def pairs(facts: Facts) -> Figure:
    """Where the trips of each zone go; for the city, its busiest pairs of zones."""
    merged = _merged(facts.pairs, "pickup_zone_id", "dropoff_zone_id")
    per_zone = (
        merged.with_columns(zone_id=col("pickup_zone_id"))
        .sort("trips", "dropoff_zone_id", descending=[True, False])
        .group_by("service", "zone_id", maintain_order=True).head(BARS)
    )  # fmt: skip
    city = (
        merged.with_columns(zone_id=pl.lit(None, pl.Int32))
        .sort("trips", "pickup_zone_id", "dropoff_zone_id", descending=[True, False, False])
        .group_by("service", maintain_order=True).head(10 * BARS)
    )  # fmt: skip
    names = PLACES.select("zone_id", "zone")
    table = (
        pl.concat([city.select(sorted(city.columns)), per_zone.select(sorted(city.columns))])
        .join(names.rename({"zone_id": "pickup_zone_id", "zone": "pickup_zone"}), on="pickup_zone_id")
        .join(names.rename({"zone_id": "dropoff_zone_id", "zone": "dropoff_zone"}), on="dropoff_zone_id")
        .select("service", "zone_id", "pickup_zone", "dropoff_zone", "trips", "median_fare", "minutes")
        .sort(
            "service", "zone_id", "trips", "pickup_zone", "dropoff_zone", descending=[False, False, True, False, False]
        )
    )
    return Figure(
        "zone_pairs",
        "Where trips go",
        f"The {BARS} most frequent destinations of the zone that is chosen; without one, the city's busiest pairs.",
        table,
        {"Trips": _destinations()},
        filters=("service", "zone_id"),
        missing="" if len(table) else "No trips between zones are known for these months.",
    )


def _destinations() -> alt.TopLevelMixin:
    way = "isValid(datum.zone_id) ? datum.dropoff_zone : datum.pickup_zone + ' → ' + datum.dropoff_zone"
    return (
        alt.Chart(DATA)
        .transform_calculate(way=way)
        .transform_window(rank="row_number()", sort=[alt.SortField("trips", order="descending")])
        .transform_filter(f"datum.rank <= {BARS}")
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X("trips:Q", axis=axis("trips", tickCount=4)),
            y=alt.Y("way:N", title=None, sort="-x", axis=alt.Axis(labelLimit=230)),
            tooltip=tooltips("pickup_zone", "dropoff_zone", "trips", "median_fare", "minutes"),
        )
        .properties(width="container", height=300)
    )


def boroughs(facts: Facts) -> Figure:
    """The matrix of boroughs."""
    names = PLACES.select("zone_id", "borough")
    placed = facts.pairs.join(
        names.rename({"zone_id": "pickup_zone_id", "borough": "pickup_borough"}), on="pickup_zone_id"
    ).join(names.rename({"zone_id": "dropoff_zone_id", "borough": "dropoff_borough"}), on="dropoff_zone_id")
    table = _merged(placed, "pickup_borough", "dropoff_borough").sort(
        "service", "pickup_borough", "dropoff_borough"
    ).select("service", "pickup_borough", "dropoff_borough", "trips", "median_fare", "minutes")  # fmt: skip
    return Figure(
        "borough_pairs",
        "From borough to borough",
        "Rows are where trips begin, columns where they end. Fares and minutes of fewer than 10 trips are left out.",
        table,
        {label(name): _matrix(name) for name in ("trips", "median_fare", "minutes")},
        filters=("service",),
        findings=sums.told(table, _within),
        missing="" if len(table) else "No trips between zones are known for these months.",
    )


def _within(rows: pl.DataFrame) -> str:
    whole = int(rows["trips"].sum())
    inside = rows.filter(col("pickup_borough") == col("dropoff_borough")).sort("trips", descending=True)
    if not whole or not len(inside):
        return ""
    share = int(inside["trips"].sum()) / whole
    return f"{share:.0%} of trips stay within their borough, most of them in {inside['pickup_borough'][0]}."


def _matrix(measure: str) -> alt.TopLevelMixin:
    scale = alt.Scale(type="symlog") if measure == "trips" else alt.Scale(zero=False)
    form = ".3~s" if measure == "trips" else number_format(measure)
    cells = alt.Chart(DATA).encode(
        x=alt.X(
            "dropoff_borough:N",
            title="to",
            sort=sums.BOROUGHS,
            axis=alt.Axis(orient="top", labelAngle=0, labelLimit=78),
        ),
        y=alt.Y("pickup_borough:N", title="from", sort=sums.BOROUGHS),
    )
    squares = cells.mark_rect().encode(
        color=alt.condition(
            f"isValid(datum.{measure})",
            alt.Color(f"{measure}:Q", scale=scale, legend=None), LEFT_OUT,
        ),
        tooltip=tooltips("pickup_borough", "dropoff_borough", "trips", "median_fare", "minutes"),
    )  # fmt: skip
    text = cells.mark_text(fontSize=11, fontWeight=600).encode(
        text=alt.Text(f"{measure}:Q", format=form),
        color=alt.condition(f"isValid(datum.{measure}) && luminance(scale('color', datum.{measure})) > 0.35",
                            alt.value("#111"), alt.value("#fff")),
    )  # fmt: skip
    return (squares + text).properties(width="container", height=330)


def _merged(pairs: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Pairs of all months by service and `by`: trips, median fare (weighted by trips) and mean minutes."""
    several = pairs["service"].n_unique() > 1
    every = pl.concat([pairs, pairs.with_columns(service=pl.lit(sums.ALL))]) if several else pairs
    grouped = every.sort("median_fare").group_by("service", *by).agg(
        col("trips").sum(),
        median=col("median_fare").filter(col("trips").cum_sum() * 2 >= col("trips").sum()).first(),
        minutes=sums.ratio(col("duration_sum").sum() / 60, col("duration_n").sum(), col("duration_n").sum()),
    )  # fmt: skip
    enough = col("trips") >= sums.LEAST_TRIPS
    return grouped.with_columns(median_fare=pl.when(enough).then("median")).drop("median")
