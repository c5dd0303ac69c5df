"""What a report is made of: frames of sums and counts, as the warehouse's KPI tables hold them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from chillflow import kpis
from chillflow.months import Month

EXACT = pl.Decimal(38, 2)
"""Dollars and miles."""

Schema = Mapping[str, pl.DataType]

MEASURES: Schema = {measure.name: EXACT if measure.unit in kpis.HUNDREDTHS else pl.Int64() for measure in kpis.MEASURES}

_SERVICE: Schema = {"service": pl.String()}
_TRIPS_AND_MONEY = ("pickups", "total_sum")
BOROUGHS: Schema = {
    **_SERVICE, "borough": pl.String(), "day": pl.Date(), **{name: MEASURES[name] for name in _TRIPS_AND_MONEY}
}  # fmt: skip
ZONE_MEASURES = (
    "pickups", "dropoffs", "distance_sum", "distance_n", "duration_sum", "duration_n", "speed_distance_sum",
    "speed_duration_sum", "fare_sum", "total_sum", "card_trips", "card_tip_sum", "card_total_sum", "cash_trips",
    "flex_trips", "airport_trips", "cbd_trips", "cbd_sum",
)  # fmt: skip
ZONES: Schema = {
    **_SERVICE, "month": pl.Date(), "zone_id": pl.Int32(), **{name: MEASURES[name] for name in ZONE_MEASURES}
}  # fmt: skip
WEEK_MEASURES = (
    "pickups", "dropoffs", "total_sum", "distance_n", "duration_n", "speed_distance_sum", "speed_duration_sum",
)  # fmt: skip
WEEK: Schema = {
    **_SERVICE, "zone_id": pl.Int32(), "weekday": pl.Int32(), "hour": pl.Int32(),
    **{name: MEASURES[name] for name in WEEK_MEASURES},
}  # fmt: skip
HOURS: Schema = {**_SERVICE, "at": pl.Datetime("us"), "pickups": pl.Int64()}
PAIRS: Schema = {
    **_SERVICE, "month": pl.Date(), "pickup_zone_id": pl.Int32(), "dropoff_zone_id": pl.Int32(), "trips": pl.Int64(),
    "fare_sum": EXACT, "duration_sum": pl.Int64(), "duration_n": pl.Int64(), "median_fare": EXACT,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A month of the ledger."""

    service: str
    month: Month
    path: str
    status: str
    rows_in: int
    trips: int
    quarantined: int
    adjustments: int
    counts: dict[str, int]
    stale: bool = False
    """Whether trips were written that its KPIs do not know yet."""


@dataclass(frozen=True, eq=False)
class Facts:
    """Sums and counts of the months of a report, with the columns above.

    `weekday` is 1 on Mondays, `hour` the hour of wall time. `hours` holds the whole city's hours of days on which the
    clock is changed, and of the days a week before and after.
    """

    ledger: tuple[Entry, ...]
    boroughs: pl.DataFrame
    zones: pl.DataFrame
    week: pl.DataFrame
    hours: pl.DataFrame
    pairs: pl.DataFrame

    @classmethod
    def none(cls) -> "Facts":
        frames = (pl.DataFrame(schema=schema) for schema in (BOROUGHS, ZONES, WEEK, HOURS, PAIRS))
        return cls((), *frames)

    @cached_property
    def months(self) -> tuple[Month, ...]:
        return tuple(sorted({entry.month for entry in self.ledger}))

    @cached_property
    def services(self) -> tuple[str, ...]:
        """Yellow before green, which is also by size."""
        return tuple(sorted({entry.service for entry in self.ledger}, reverse=True))

    def months_of(self, service: str) -> tuple[Month, ...]:
        """The months of a service; of any service for any other word."""
        of = {entry.month for entry in self.ledger if entry.service == service}
        return tuple(sorted(of)) or self.months

    def comparable(self, service: str) -> tuple[Month, ...]:
        """Months that may be compared: those of a service; those that all services have for any other word."""
        if service in self.services:
            return self.months_of(service)
        return tuple(month for month in self.months if all(month in self.months_of(each) for each in self.services))


def days_of(months: Iterable[Month]) -> int:
    return sum((month.next.date - month.date).days for month in months)
