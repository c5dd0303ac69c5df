"""Figures by hour of the week: demand, speed, airports, nights and weekends."""

import altair as alt
import polars as pl

from chillflow.reports import sums, wall_time
from chillflow.reports.facts import Facts
from chillflow.reports.figure import DASHED, DATA, LEVEL, TWO, Figure, label, legend, tooltips
from chillflow.reports.sums import CITY, MANHATTAN, PLACES

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS = tuple(f"{hour:02d}" for hour in range(24))
AIRPORTS = {132: "JFK", 138: "LaGuardia", 1: "Newark"}
NIGHT = (20, 6)
WEEKEND = (6, 7)
PARTS = ("weekday day", "weekday night", "weekend day", "weekend night")

_AT = ("service", "zone_id", "hour")

col = pl.col


def week(facts: Facts) -> Figure:
    """Pickups, drop-offs and revenue of each hour of the week, by zone."""
    by_zone = sums.sums(facts.week, "zone_id", "weekday", "hour")
    city = sums.sums(facts.week, "weekday", "hour").with_columns(zone_id=pl.lit(None, pl.Int32))
    every = pl.concat([city.select(by_zone.columns), by_zone])
    table = (
        _per_hour(facts, every)
        .join(PLACES, on="zone_id", how="left")
        .select(
            "service", "zone_id", col("zone").fill_null(CITY), *_named(), "pickups_per_hour", "dropoffs_per_hour",
            "revenue_per_hour",
        )
    )  # fmt: skip
    return Figure(
        "week",
        "Hour by hour through the week",
        "Of the zone that is chosen, else of the whole city. The hour that spring leaves out and the one that autumn "
        "repeats are counted as the hours they were.",
        table,
        {label(name): heat(name) for name in ("pickups_per_hour", "dropoffs_per_hour", "revenue_per_hour")},
        filters=("service", "zone_id"),
        findings=sums.told(table.filter(col("zone_id").is_null()), _busiest),
    )  # fmt: skip


def _per_hour(facts: Facts, frame: pl.DataFrame) -> pl.DataFrame:
    hours = [
        wall_time.hours_of_week(facts.months_of(service)).with_columns(service=pl.lit(service))
        for service in sums.services(facts)
    ]
    per = {"pickups_per_hour": "pickups", "dropoffs_per_hour": "dropoffs", "revenue_per_hour": "total_sum"}
    schema = {"weekday": pl.Int32, "hour": pl.Int32, "hours": pl.Int64, "service": pl.String}
    every = pl.concat(hours) if hours else pl.DataFrame(schema=schema)
    return frame.join(every, on=["service", "weekday", "hour"]).with_columns(
        pl.when(col("hours") > 0).then(col(name).cast(pl.Float64) / col("hours")).round(2).alias(alias)
        for alias, name in per.items()
    ).sort("service", "zone_id", "weekday", "hour")  # fmt: skip


def _named() -> list[pl.Expr]:
    weekdays = dict(enumerate(WEEKDAYS, 1))
    return [
        col("weekday").replace_strict(weekdays, return_dtype=pl.String),
        col("hour").replace_strict(dict(enumerate(HOURS)), return_dtype=pl.String),
    ]


def _busiest(rows: pl.DataFrame) -> str:
    top = rows.sort("pickups_per_hour", descending=True, nulls_last=True).row(0, named=True)
    if not top["pickups_per_hour"]:
        return ""
    return f"Busiest on {top['weekday']} at {top['hour']}:00 with {top['pickups_per_hour']:,.0f} pickups an hour."


def heat(measure: str) -> alt.TopLevelMixin:
    """Hours across, weekdays down."""
    return (
        alt.Chart(DATA)
        .mark_rect()
        .encode(
            x=alt.X("hour:O", title=None, scale=alt.Scale(domain=list(HOURS)), axis=LEVEL),
            y=alt.Y("weekday:O", title=None, sort=list(WEEKDAYS), scale=alt.Scale(domain=list(WEEKDAYS))),
            color=alt.condition(
                f"isValid(datum.{measure})",
                alt.Color(f"{measure}:Q", title=None, scale=alt.Scale(zero=measure != "mph"),
                          legend=legend(measure, orient="bottom", gradientLength=180)),
                alt.value("#8888884d"),
            ),
            tooltip=tooltips("weekday", "hour", measure),
        )
        .properties(width="container", height=190)
    )  # fmt: skip


def speed(facts: Facts) -> Figure:
    """Speed by hour and weekday, in Manhattan and in the whole city, by the zone of the pickup."""
    table = (
        sums.sums(sums.by_area(facts.week), "area", "weekday", "hour")
        .select("service", "area", "weekday", "hour", sums.MPH)
        .with_columns(_named())
        .sort(col("area") == CITY, "service", maintain_order=True)
    )
    return Figure(
        "speed",
        "How fast the city moves",
        "Speed of trips by the hour and place of their pickup. Cells that rest on fewer than 10 trips stay empty.",
        table,
        {"Heat map": heat("mph"), "Lines": _speed_lines()},
        filters=("service", "area"),
        findings=sums.told(table.filter(area=MANHATTAN), _slowest),
    )


def _slowest(rows: pl.DataFrame) -> str:
    found = rows.drop_nulls("mph").sort("mph")
    if len(found) < 2:
        return ""
    low, high = found.row(0, named=True), found.row(-1, named=True)
    return (
        f"Manhattan is slowest on {low['weekday']} at {low['hour']}:00 ({low['mph']:.1f} mph) and fastest on "
        f"{high['weekday']} at {high['hour']}:00 ({high['mph']:.1f} mph)."
    )


def _speed_lines() -> alt.TopLevelMixin:
    weekday = alt.Scale(domain=list(WEEKDAYS), range="ramp")
    return (
        alt.Chart(DATA)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("hour:O", title=None, axis=LEVEL),
            y=alt.Y("mph:Q", title=label("mph"), scale=alt.Scale(zero=False)),
            color=alt.Color("weekday:O", title=None, sort=list(WEEKDAYS), scale=weekday),
            strokeDash=alt.condition(
                "datum.weekday == 'Sat' || datum.weekday == 'Sun'", alt.value([4, 3]), alt.value([1, 0])
            ),
            tooltip=tooltips("weekday", "hour", "mph"),
        )
        .properties(width="container", height=220)
    )


def airports(facts: Facts) -> Figure:
    """Pickups and drop-offs at the airports by hour of the day."""
    at = facts.week.filter(col("zone_id").is_in(list(AIRPORTS)))
    summed = sums.sums(at, "zone_id", "weekday", "hour")
    order = {name: place for place, name in enumerate(AIRPORTS.values())}
    ways = {"pickups": "from the airport", "dropoffs": "to the airport"}
    table = (
        _per_day(facts, summed)
        .unpivot(list(ways), index=_AT, variable_name="direction", value_name="trips_per_day")
        .select(
            "service",
            airport=col("zone_id").replace_strict(AIRPORTS, return_dtype=pl.String),
            direction=col("direction").replace_strict(ways, return_dtype=pl.String),
            hour=col("hour").replace_strict(dict(enumerate(HOURS)), return_dtype=pl.String),
            trips_per_day=col("trips_per_day"),
        )
        .sort(col("airport").replace_strict(order), "service", "direction", "hour")
    )  # fmt: skip
    return Figure(
        "airports",
        "Airports by hour",
        "Trips that begin or end in an airport's zone, per hour of an average day.",
        table,
        {"Trips per day": _directions()} if len(table) else {},
        filters=("service", "airport"),
        missing="" if len(table) else "No trip began or ended at an airport.",
    )


def _per_day(facts: Facts, frame: pl.DataFrame) -> pl.DataFrame:
    """Pickups and drop-offs of an hour, divided by the days of the months."""
    by_hour = frame.group_by(_AT).agg(col("pickups", "dropoffs").sum()).join(sums.days(facts), on="service")
    return by_hour.with_columns((col("pickups", "dropoffs") / col("days")).round(2))


def _directions() -> alt.TopLevelMixin:
    names = ["from the airport", "to the airport"]
    return (
        alt.Chart(DATA)
        .mark_line(strokeWidth=2.5, point=True)
        .encode(
            x=alt.X("hour:O", title=None, axis=LEVEL),
            y=alt.Y("trips_per_day:Q", title=None),
            color=alt.Color("direction:N", title=None, scale=alt.Scale(domain=names, range=TWO)),
            strokeDash=alt.StrokeDash("direction:N", title=None, scale=alt.Scale(domain=names, range=DASHED)),
            tooltip=tooltips("airport", "direction", "hour", "trips_per_day"),
        )
        .properties(width="container", height=240)
    )


def profile(facts: Facts) -> Figure:
    """How much of a borough's demand falls into nights and weekends."""
    night = (col("hour") >= NIGHT[0]) | (col("hour") < NIGHT[1])
    part = pl.concat_str(
        pl.when(col("weekday").is_in(list(WEEKEND))).then(pl.lit("weekend ")).otherwise(pl.lit("weekday ")),
        pl.when(night).then(pl.lit("night")).otherwise(pl.lit("day")),
    )
    placed = facts.week.join(PLACES, on="zone_id").with_columns(part=part)
    every = pl.concat([placed, placed.with_columns(borough=pl.lit(CITY))])
    whole = col("pickups").sum().over("service", "borough")
    table = (
        sums.sums(every, "borough", "part")
        .filter(whole >= sums.LEAST_TRIPS)
        .select("service", "borough", "part", "pickups", part_share=col("pickups") / whole)
        .sort("service", "borough", "part")
    )
    return Figure(
        "profile",
        "Nights and weekends",
        "Night is 20:00 to 05:59, the weekend Saturday and Sunday. By borough of the pickup.",
        table,
        {"Shares": _parts()},
        filters=("service",),
        findings=sums.told(table.filter(borough=CITY), _nightly),
    )


def _nightly(rows: pl.DataFrame) -> str:
    share = rows.filter(col("part").str.ends_with("night"))["part_share"].sum()
    return f"{share:.0%} of all pickups are at night."


def _parts() -> alt.TopLevelMixin:
    return (
        alt.Chart(DATA)
        .transform_calculate(place=f"indexof({list(PARTS)}, datum.part)")
        .mark_bar()
        .encode(
            x=alt.X("part_share:Q", title=None, stack="normalize", axis=alt.Axis(format=".0%")),
            y=alt.Y("borough:N", title=None, sort=[CITY, *sums.BOROUGHS], axis=alt.Axis(labelLimit=110)),
            color=alt.Color("part:N", title=None, scale=alt.Scale(domain=list(PARTS), range="category"),
                            legend=alt.Legend(orient="bottom", columns=2)),
            order=alt.Order("place:Q"),
            tooltip=tooltips("borough", "part", "pickups", "part_share"),
        )
        .properties(width="container", height=240)
    )  # fmt: skip
