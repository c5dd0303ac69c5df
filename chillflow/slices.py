"""Slices: halves of a month, the parts in which zone-hours are computed, each in a transaction of its own."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from chillflow.months import Month

REACH = dt.timedelta(hours=25)
"""A trip lasts at most 24 h: it ends within so many hours, counted from the beginning of its own."""


@dataclass(frozen=True, order=True)
class Slice:
    """A service's hours from `first`, the 1st or 16th day of a month, to the next slice."""

    first: dt.date
    service: str

    def __str__(self) -> str:
        return f"{self.service} {self.first}"

    @property
    def month(self) -> Month:
        return Month.of(self.first)

    @property
    def start(self) -> dt.datetime:
        return dt.datetime(self.first.year, self.first.month, self.first.day)

    @property
    def end(self) -> dt.datetime:
        return self.start + dt.timedelta(days=15) if self.first.day == 1 else self.month.next.start

    @property
    def names(self) -> dict[str, Any]:
        """The parameters by which queries know it."""
        return {"service": self.service, "slice": self.first, "start": self.start, "end": self.end}


def halves(service: str, month: Month) -> tuple[Slice, Slice]:
    """The slices of a month."""
    return Slice(month.date, service), Slice(month.date.replace(day=16), service)
