"""The KPIs' tables in PostgreSQL as jobs keep them: zone-hours by slices, pairs of zones by months."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa

from chillflow.months import Month
from chillflow.slices import Slice, halves
from chillflow.stores import aggregating
from chillflow.stores.lasting import Lasting
from chillflow.stores.ledger import slice_of
from chillflow.stores.pairing import refresh_pairs
from chillflow.stores.postgres import Connection
from chillflow.stores.queries import query

Given = ParamSpec("Given")
Result = TypeVar("Result")
ServiceMonth = tuple[str, Month]


@dataclass(frozen=True)
class Noted:
    """A slice whose hours are noted in `kpi_dirty`, and by how many notes."""

    hours: Slice
    notes: int


class Aggregates(Lasting):
    """A connection of its own, opened when needed and again where it was lost; not for use by two threads.

    Every method may be repeated. All raise what those of Warehouse raise.
    """

    def noted(self) -> list[Noted]:
        """The slices with notes, the earliest first."""
        rows = self._call(_rows, "read_noted", {})
        return [Noted(Slice(row["slice"], row["service"]), row["notes"]) for row in rows]

    def all_of(self, hours: Slice) -> int:
        """Computes all zone-hours of a slice from the trips; returns how many were not right."""
        return self._call(aggregating.aggregate_all, hours)

    def noted_of(self, hours: Slice) -> int:
        """Computes the zone-hours of a slice that are noted, and takes these notes away."""
        return self._call(aggregating.aggregate_noted, hours)

    def head_of(self, hours: Slice) -> int:
        """Computes the first 25 hours of a slice, in which trips of the month before may end."""
        return self._call(aggregating.aggregate_head, hours)

    def given(
        self, hours: Slice, measures: Iterable[pa.Table], loaded: Callable[[dict[str, Any] | None], bool]
    ) -> int | None:
        """Takes the zone-hours of a slice from the measures of its month's file; None unless that file is `loaded`."""
        return self._call(aggregating.aggregate_given, hours, measures, loaded)

    def month(self, service: str, month: Month) -> int:
        """Computes all that the trips of a month touch, its pairs too; returns the changed zone-hours."""
        first, second = halves(service, month)
        changed = self.all_of(first) + self.all_of(second) + self.head_of(halves(service, month.next)[0])
        self.finish(service, month)
        return changed

    def finish(self, service: str, month: Month) -> None:
        """Brings the pairs of a month up to date, and calls it done if nothing of it is noted.

        The months beside it too: their trips end in this one's hours or the other way, so that notes which held them
        up may have been the last thing that was missing.
        """
        if (service, month) in self.stale_pairs():
            self.pairs(service, month)
        for near in (month.previous, month, month.next):
            self.mark(service, near)

    def stale_pairs(self) -> list[ServiceMonth]:
        """Months whose pairs of zones are older than their zone-hours."""
        return [(row["service"], Month.of(row["month"])) for row in self._call(_rows, "read_stale_pairs", {})]

    def pairs(self, service: str, month: Month) -> int:
        """Computes the pairs of zones of a month; returns how many were not right."""
        return self._call(refresh_pairs, service, month)

    def loaded(self) -> list[ServiceMonth]:
        """Months whose last load is not known to be in the KPIs."""
        return [(row["service"], Month.of(row["month"])) for row in self._call(_rows, "read_loaded", {})]

    def mark(self, service: str, month: Month) -> bool:
        """Says in the ledger that a loaded month is done, unless hours of it are noted; returns whether it did."""
        return self._call(_mark, service, month)

    def has(self, service: str, month: Month) -> bool:
        """Whether the warehouse knows anything of a month."""
        [row] = self._call(_rows, "has_rows", slice_of(service, month))
        return bool(row["there"])

    def _call(
        self, what: Callable[Concatenate[Connection, Given], Result], *args: Given.args, **options: Given.kwargs
    ) -> Result:
        with self._connected() as connection:
            return what(connection, *args, **options)


def _rows(connection: Connection, name: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    return connection.execute(query(name), names).fetchall()


def _mark(connection: Connection, service: str, month: Month) -> bool:
    names = slice_of(service, month)
    with connection.transaction():
        row = connection.execute(query("try_to_hold_month"), names).fetchone()
        if row is None or not row["held"]:
            return False
        return connection.execute(query("mark_aggregated"), names).rowcount == 1
