"""Calendar months, the unit in which trips are published, curated and loaded."""

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass

from chillflow.errors import BadMonths

_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, order=True)
class Month:
    """A month of New York wall time; `str(month)` is `2019-01`."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    @property
    def date(self) -> dt.date:
        return dt.date(self.year, self.number, 1)

    @property
    def start(self) -> dt.datetime:
        return dt.datetime(self.year, self.number, 1)

    @property
    def next(self) -> "Month":
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def previous(self) -> "Month":
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)

    @classmethod
    def of(cls, day: dt.date) -> "Month":
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, text: str) -> "Month":
        """The month that `text` names; raises BadMonths."""
        match = _MONTH.fullmatch(text.strip())
        if not match:
            raise BadMonths(text, "a month is written YYYY-MM")
        year, number = int(match[1]), int(match[2])
        if not 1 <= number <= 12:
            raise BadMonths(text, f"there is no month {match[2]}")
        if not 2009 <= year <= 2100:
            raise BadMonths(text, "trip records begin in 2009")
        return cls(year, number)


def parse_months(text: str) -> tuple[Month, ...]:
    """Months of `2019-01`, `2019-01..2019-06` or a comma list of both: sorted, each once; raises BadMonths."""
    found: set[Month] = set()
    for part in text.split(","):
        first, dots, last = part.partition("..")
        month, end = Month.parse(first), Month.parse(last if dots else first)
        if end < month:
            raise BadMonths(text, f"{end} comes before {month}")
        while month <= end:
            found.add(month)
            month = month.next
    return tuple(sorted(found))


def spans(months: Iterable[Month]) -> str:
    """Months as `parse_months` reads them, those that follow one another as a span."""
    found: list[tuple[Month, Month]] = []
    for month in sorted(set(months)):
        if found and found[-1][1].next == month:
            found[-1] = found[-1][0], month
        else:
            found.append((month, month))
    return ",".join(str(first) if first == last else f"{first}..{last}" for first, last in found)
