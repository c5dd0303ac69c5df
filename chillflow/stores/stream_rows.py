"""What the stream wrote, as frames to be compared, slice by slice; and where the stream stands."""

import datetime as dt
import io
import re
from collections.abc import Mapping
from typing import Any

import polars as pl
from psycopg import sql

from chillflow.assembly import prefix_of
from chillflow.months import Month
from chillflow.positions import Topic
from chillflow.reconciliation import BY_ROW, BY_TRIP
from chillflow.stores.lasting import Lasting
from chillflow.stores.ledger import slice_of
from chillflow.stores.queries import query
from chillflow.trips import MONEY, RAW_COLUMNS, ids_of_text, original_of

Row = dict[str, Any]
_TEXTS = ("store_and_fwd", "request_source", "unrepresentable")
"""Texts that may be empty. They come with a sign before them, since CSV's reader takes empty texts for nulls."""
_MILLISECOND = dt.timedelta(milliseconds=1)
_KEY = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch


def _selected(name: str) -> sql.Composable:
    column = sql.Identifier(name)
    return sql.SQL("'=' || {}").format(column) if name in _TEXTS else column


_COLUMNS = sql.SQL(", ").join([_selected(name) for name in RAW_COLUMNS if name != "service"])


class StreamRows(Lasting):
    """A connection that reads. Every method raises ServiceDown, WarehouseRefused, SchemaTooOld and SchemaTooNew."""

    def by_trip(self, service: str, month: Month, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """Rows that stand for trips with these pickups, as BY_TRIP. The month's first and last slice are open."""
        names = slice_of(service, month) | {"start": start, "end": end}
        names["first"] = "-infinity" if start == month.start else start
        names["last"] = "infinity" if end == month.next.start else end
        return self._copied("copy_stream_rows", names, BY_TRIP)

    def by_row(self, service: str, month: Month, start: int, end: int) -> pl.DataFrame:
        """Rows under file rules from these places of the file, as BY_ROW."""
        return self._copied("copy_stream_file_rows", slice_of(service, month) | {"start": start, "end": end}, BY_ROW)

    def incomplete(self, service: str, start: dt.datetime, end: dt.datetime) -> pl.Series:
        """The ids, reversal bit cleared, of incomplete trips with these pickups."""
        with self._connected() as connection:
            rows = connection.execute(query("incomplete_between"), {"service": service, "start": start, "end": end})
            ids = ids_of_text(pl.Series("trip_id", [row["trip_id"] for row in rows], pl.String))
        return pl.select(original_of(pl.lit(ids))).to_series()

    def dead(self, start: dt.datetime, end: dt.datetime) -> pl.Series:
        """The keys of dead letters that are ids with these pickups."""
        names = {"first": prefix_of(start).encode(), "last": prefix_of(end).encode()}
        with self._connected() as connection:
            rows = connection.execute(query("dead_keys_between"), names)
            keys = [row["key"] for row in rows if _KEY(row["key"])]
        return ids_of_text(pl.Series("key", keys, pl.String))

    def is_streamed(self, service: str, month: Month) -> bool:
        """Whether the stream has written anything of a month."""
        with self._connected() as connection:
            row = connection.execute(query("is_streamed"), slice_of(service, month)).fetchone()
        return bool(row and row["there"])

    def is_unfinished(self, service: str, month: Month) -> bool:
        """Whether replays of a month were begun, and none has ended."""
        with self._connected() as connection:
            row = connection.execute(query("is_unfinished"), slice_of(service, month)).fetchone()
        return bool(row and row["unfinished"])

    def standing(self) -> tuple[Topic, list[Row]] | None:
        """The topic that the warehouse takes, and the rows of its partitions; None where nothing was assembled yet."""
        with self._connected() as connection:
            group = connection.execute(query("read_groups")).fetchone()
            if group is None:
                return None
            positions = connection.execute(query("read_positions"), {"group": group["name"]}).fetchall()
        return Topic(group["topic"], group["topic_id"], group["partitions"]), positions

    def _copied(self, name: str, names: Row, schema: Mapping[str, Any]) -> pl.DataFrame:
        sink = io.BytesIO()
        with self._connected() as connection, connection.cursor() as cursor:
            with cursor.copy(query(name, columns=_COLUMNS), names) as copy:
                for data in copy:
                    sink.write(data)
        if not sink.tell():
            return pl.DataFrame(schema=schema)
        sink.seek(0)
        return _typed(pl.read_csv(sink, has_header=False, schema={name: _read_as(name, schema) for name in schema}))


def _read_as(name: str, schema: Mapping[str, Any]) -> Any:
    if name in MONEY:
        return pl.Float64
    return pl.String if name == "trip_id" or isinstance(schema[name], pl.Datetime) else schema[name]


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """CSV's values as the kernels have them: cents, ids, times."""
    money = [(pl.col(name) * 100).round().cast(pl.Int32, strict=False) for name in MONEY]
    times = [
        pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        for name in ("pickup_at", "dropoff_at")
    ]
    texts = [pl.col(name).str.slice(1) for name in _TEXTS if name in frame.columns]
    return frame.with_columns(*money, *times, *texts, trip_id=ids_of_text(frame["trip_id"]))
