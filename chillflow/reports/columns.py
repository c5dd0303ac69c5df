"""What a column of a figure is called, how it is written and what it means: one table for charts, page and docs."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "month", "day", "hour", "count", "dollars", "cents", "share", "change", "number", "id"]

FORMATS: dict[Kind, str] = {
    "count": ",d",
    "dollars": "$,.0f",
    "cents": "$,.2f",
    "share": ".1%",
    "change": "+.1%",
    "number": ",.1f",
}
"""How d3 writes a number of that kind, in charts and tables alike."""


@dataclass(frozen=True)
class Column:
    """`meaning` is empty where the label says it all."""

    label: str
    kind: Kind
    meaning: str = ""


COLUMNS: dict[str, Column] = {
    "service": Column("Service", "text"),
    "taxis": Column("Taxis", "text"),
    "zone_id": Column("Zone id", "id"),
    "zone": Column("Zone", "text"),
    "borough": Column("Borough", "text"),
    "area": Column("Area", "text"),
    "month": Column("Month", "month"),
    "month_of_year": Column("Month of year", "text"),
    "year": Column("Year", "text"),
    "day": Column("Day", "day"),
    "weekday": Column("Weekday", "text"),
    "hour": Column("Hour", "hour"),
    "note": Column("Remark", "text"),
    "pickups": Column("Pickups", "count", "Trips that began in the zone and time."),
    "dropoffs": Column("Drop-offs", "count", "Trips that ended in the zone and time."),
    "net_flow": Column(
        "Net flow", "count", "Drop-offs less pickups: above zero, more taxis arrive with riders than leave with them."
    ),
    "trips": Column("Trips", "count", "Trips that curation kept, counted where and when they began."),
    "revenue": Column(
        "Revenue", "dollars",
        "All that passengers were charged: fare, surcharges, taxes, tolls and card tips. Cash tips are not recorded. "
        "It belongs to the zone and hour of the pickup.",
    ),
    "revenue_per_trip": Column("Revenue per trip", "cents", "Revenue divided by trips."),
    "mph": Column(
        "Speed (mph)", "number",
        "Miles of all trips divided by their hours, so that long trips count for more; standing in traffic is part of "
        "it. Trips without a plausible distance, or of more than 4 hours, are left out.",
    ),
    "tip_share": Column(
        "Card tip", "share",
        "Tips of card trips as a share of what those trips cost before the tip. The share of the fare alone would jump "
        "whenever a surcharge is added, since riders tip on the whole.",
    ),
    "airport_share": Column("Airport share", "share", "Trips that begin or end at Newark, JFK or LaGuardia."),
    "flex_share": Column(
        "Flex Fare share", "share",
        "Trips booked in an app at an upfront price (payment type 0). Their passengers, rate code and surcharge are "
        "not recorded.",
    ),
    "pickups_per_hour": Column(
        "Pickups per hour", "number",
        "Pickups divided by the hours there were: the spring day has no 02:00, and the autumn day has 01:00 twice.",
    ),
    "dropoffs_per_hour": Column("Drop-offs per hour", "number", "As pickups per hour."),
    "revenue_per_hour": Column("Revenue per hour", "dollars", "Revenue divided by the hours there were."),
    "pickup_zone": Column("From", "text"),
    "dropoff_zone": Column("To", "text"),
    "pickup_borough": Column("From", "text"),
    "dropoff_borough": Column("To", "text"),
    "median_fare": Column(
        "Median fare", "cents",
        "The fare by the meter that half of the trips stay below. It is exact for two zones and a month; for several "
        "it is the median of those medians, each weighted by its trips.",
    ),
    "minutes": Column("Minutes", "number", "Mean duration of a trip; trips of more than 4 hours are left out."),
    "airport": Column("Airport", "text"),
    "direction": Column("Direction", "text"),
    "trips_per_day": Column("Trips per day", "number", "Trips divided by the days of the loaded months."),
    "payment": Column("Payment", "text"),
    "payment_share": Column("Share of trips", "share"),
    "fare_per_mile": Column("Fare per mile", "cents", "Fares by the meter divided by the miles of trips."),
    "fare_per_minute": Column(
        "Fare per minute", "cents", "Fares by the meter divided by the minutes of trips of up to 4 hours."
    ),
    "cbd_share": Column(
        "Trips with the fee", "share",
        "Trips that paid the congestion fee of Manhattan's centre ($0.75 a taxi trip since 2025-01-05).",
    ),
    "cbd_sum": Column("Congestion fees", "dollars"),
    "part": Column("Part of the week", "text", "Night is 20:00 to 05:59; the weekend is Saturday and Sunday."),
    "part_share": Column("Share of pickups", "share"),
    "before": Column("Pickups per day before", "number"),
    "after": Column("Pickups per day after", "number"),
    "change": Column("Change", "change", "Of pickups per day; zones with fewer than 50 pickups before are not ranked."),
    "periods": Column("Compared", "text"),
    "path": Column("Path", "text"),
    "rule": Column("Rule", "text"),
    "action": Column("Action", "text"),
    "rows": Column("Rows", "count"),
    "rows_in": Column("Rows in", "count", "Rows of the month's file, or trips replayed as events."),
    "quarantined": Column("Quarantined", "count", "Rows that a rule rejected; each is kept with its reason."),
    "adjustments": Column("Adjustments", "count", "Negative rows that take an earlier trip back."),
    "row_share": Column("Share", "share", "Of the rows that came in; for flags, of the trips that were kept."),
    "usual_share": Column("Usual share", "share", "What real months show at most."),
    "times_usual": Column("Times usual", "number"),
    "alert": Column("Alert", "text"),
    "usual": Column("Usual", "number", "The mean of the same weekday a week before and a week after."),
    "headline": Column("Figure", "text"),
    "value": Column("Value", "number"),
}  # fmt: skip
