"""The warehouse: PostgreSQL, schema `chillflow`. docs/warehouse.md describes its tables."""

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pyarrow as pa
from psycopg.rows import tuple_row

from chillflow.months import Month
from chillflow.stores import claims, loading, migrations
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.lasting import Lasting
from chillflow.stores.ledger import Loaded, MonthEntry, ZonesChanged, slice_of
from chillflow.stores.partitions import create_partition
from chillflow.stores.postgres import Connection, connect, translated
from chillflow.stores.queries import query

Row = dict[str, Any]
_LETTER = ("topic_ids", "partitions", "offsets")
_EPOCH = dt.datetime(1970, 1, 1)
_LAST = (dt.datetime(9999, 12, 31) - _EPOCH) // dt.timedelta(milliseconds=1)


class Warehouse(Lasting):
    """A connection to the warehouse, opened when needed and again where it was lost; not for use by two threads.

    Every method raises ServiceDown, WarehouseFull or WarehouseRefused where PostgreSQL does not do its part, and all
    but `migrate` raise SchemaTooOld and SchemaTooNew. What raises leaves nothing behind.
    """

    def migrate(self) -> tuple[str, ...]:
        """Brings the schema up to date; returns the migrations that were applied. Safe when two do it at once."""
        with (
            connect(self.dsn, autocommit=True) as connection,
            translated(connection, self.address),
        ):
            connection.row_factory = tuple_row  # type: ignore[assignment]
            return migrations.migrate(connection, self.address)

    def ensure_partition(self, month: Month) -> None:
        """Makes the month's partition of `trips` unless it is there."""
        with self._transaction() as connection:
            create_partition(connection, month)

    def load_month(
        self,
        entry: MonthEntry,
        trips: Iterable[pa.Table],
        quarantine: Iterable[pa.Table],
        adjustments: Iterable[pa.Table],
    ) -> Loaded:
        """Makes the file's rows (schemas TRIPS, QUARANTINE, ADJUSTMENTS) the month's rows; idempotent.

        Rows that are there already stay untouched, others are replaced; rows that the file lacks go to `quarantine`
        as `not_in_file`. The ledger says `loaded`. Tables are consumed one by one. Raises MonthInconsistent where the
        rows are not those that `entry` counts.
        """
        with self._transaction() as connection:
            return loading.load(connection, entry, trips, quarantine, adjustments)

    def aggregate(self, service: str, month: Month) -> int:
        """Computes the KPIs of all hours that the month's trips touch; returns the zone-hours that changed.

        The ledger says `done`, unless rows have changed meanwhile.
        """
        with Aggregates(self.dsn) as aggregates:
            return aggregates.month(service, month)

    def load_zones(self, zones: Iterable[tuple[int, str, str, str]]) -> ZonesChanged:
        """Makes `zones` the rows (zone_id, borough, zone, service_zone) of the table; returns what was different."""
        with self._transaction() as connection:
            connection.execute(query("lock_zones"))
            connection.execute(query("create_zones"))
            with connection.cursor().copy(query("copy_zones")) as copy:
                for zone in zones:
                    copy.write_row(zone)
            before = {row["zone_id"] for row in connection.execute(query("delete_zones"))}
            after = {row["zone_id"] for row in connection.execute(query("insert_zones"))}
        return ZonesChanged(*(tuple(sorted(ids)) for ids in (after - before, before - after, before & after)))

    def months(self) -> list[Row]:
        """The ledger, by service, month and path; values are plain, `month` is `2019-01`."""
        with self._transaction() as connection:
            return [_plain_month(row) for row in connection.execute(query("read_months"))]

    def month(self, service: str, month: Month, path: str = "batch") -> Row | None:
        """The ledger's entry of a month, as in `months`; None where there is none."""
        names = {"service": service, "month": month.date, "path": path}
        with self._transaction() as connection:
            row = connection.execute(query("read_month"), names).fetchone()
        return _plain_month(row) if row else None

    def trip(self, trip_id: str | uuid.UUID) -> list[Row]:
        """What is known of a trip: rows with plain values and the `table` of each; raises ValueError for no UUID."""
        given = uuid.UUID(str(trip_id))
        names: Row = {"trip_id": given, **_pickup_range(given)}
        found: list[Row] = []
        with self._transaction() as connection:
            for name in ("trip_in_trips", "trip_in_adjustments", "trip_in_quarantine", "trip_in_incomplete_trips"):
                found += (_plain(row) for row in connection.execute(query(name), names))
        return found

    def count_stream(self, service: str, month: Month) -> Row | None:
        """Brings the ledger's entry of a replayed month up to date, and returns it; None where a replay wrote none."""
        with self._transaction() as connection:
            connection.execute(query("count_stream"), slice_of(service, month))
        return self.month(service, month, "stream")

    def partitions(self, group: str) -> list[Row]:
        """How far a group has assembled each partition of its topic, plain values; raises NoSuchGroup."""
        with self._transaction() as connection:
            return [_plain(row) for row in claims.read_positions(connection, group)]

    def incomplete(
        self,
        service: str | None = None,
        month: Month | None = None,
        missing: str | None = None,
        limit: int | None = 100,
    ) -> list[Row]:
        """Incomplete trips with plain values, the latest pickup first; `missing` is the type of an event."""
        names: Row = {"service": service, "missing": missing, "limit": limit}
        names |= {"start": month and month.start, "end": month and month.next.start}
        with self._transaction() as connection:
            return [_plain(row) for row in connection.execute(query("read_incomplete"), names)]

    def dead_letters(
        self,
        topic: str | None = None,
        partition: int | None = None,
        reason: str | None = None,
        redriven: bool | None = None,
        limit: int | None = 100,
        raw: bool = False,
    ) -> list[Row]:
        """Dead letters, the latest first; `reason` is a pattern of SQL's like.

        Values are plain, key and payload as text where they are UTF-8; `raw` leaves values as they are.
        """
        names = {"topic": topic, "partition": partition, "reason": reason, "redriven": redriven, "limit": limit}
        with self._transaction() as connection:
            rows = connection.execute(query("read_dead_letters"), names).fetchall()
        return rows if raw else [_plain(row) for row in rows]

    def mark_redriven(self, letters: Iterable[tuple[str, int, int]]) -> int:
        """Dead letters (topic id, partition, offset) that were repaired and sent; returns how many were found."""
        given = list(letters)
        names = {name: [letter[place] for letter in given] for place, name in enumerate(_LETTER)}
        with self._transaction() as connection:
            return connection.execute(query("mark_redriven"), names).rowcount

    def count(self, service: str, month: Month) -> list[Row]:
        """Rows of a month by `table` and, in quarantine, by `reason`: counted, not read from the ledger."""
        with self._transaction() as connection:
            return [_plain(row) for row in connection.execute(query("count_rows"), slice_of(service, month))]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._connected() as connection, connection.transaction():
            yield connection


def _pickup_range(trip_id: uuid.UUID) -> Row:
    """The millisecond of the pickup, which the id begins with: it tells the partition."""
    milliseconds = min(trip_id.int >> 80, _LAST)
    start = _EPOCH + dt.timedelta(milliseconds=milliseconds)
    return {"start": start, "end": start + dt.timedelta(milliseconds=1)}


def _plain_month(row: Row) -> Row:
    return _plain(row) | {"month": str(Month.of(row["month"]))}


def _plain(row: Row) -> Row:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    match value:
        case Decimal() | uuid.UUID():
            return str(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dt.date():
            return value.isoformat()
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
    return value
