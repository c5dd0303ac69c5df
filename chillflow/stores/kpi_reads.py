"""KPIs as people ask for them, remembered in Redis by the revisions of what was read: a stale answer is never found."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, LiteralString

import msgspec
from psycopg import sql

from chillflow.kpis import NAMES
from chillflow.months import Month
from chillflow.stores import migrations
from chillflow.stores.aggregating import snapshot
from chillflow.stores.answers import Answers, key_of
from chillflow.stores.postgres import Connection, address, translated
from chillflow.stores.queries import query

By = Literal["zone", "borough", "city"]
Per = Literal["hour", "day", "month"]
Row = dict[str, Any]

_PLACES: dict[By, tuple[LiteralString, ...]] = {
    "zone": ("zone_id", "zone", "borough"),
    "borough": ("borough",),
    "city": (),
}
_TIMES: dict[Per, LiteralString] = {
    "hour": "hour",
    "day": "hour::date",
    "month": "date_trunc('month', hour)::date",
}


@dataclass(frozen=True)
class Question:
    """Which KPIs: of these months and services, in all zones or some, summed up by place and per time."""

    months: tuple[Month, ...]
    services: tuple[str, ...] = ("yellow", "green")
    by: By = "city"
    per: Per = "month"
    zones: tuple[int, ...] | None = None


class KpiReads:
    """Reads through Redis at `redis_url`; without it, or while it does not answer, everything is only slower.

    `hits` and `misses` count the answers that Redis had and had not. Not for use by two threads.
    """

    def __init__(self, dsn: str, redis_url: str | None) -> None:
        self.address = address(dsn)
        self._dsn = dsn
        self._connection: Connection | None = None
        self._answers = Answers(redis_url)
        self.hits = self.misses = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._answers.close()

    @property
    def hit_rate(self) -> float | None:
        """See Answers."""
        return self._answers.hit_rate()

    def months(self, services: Sequence[str]) -> tuple[Month, ...]:
        """The months of which there are KPIs of any of the services."""
        connection = self._connected()
        with translated(connection, self.address):
            rows = connection.execute(query("read_kpi_months"), {"services": list(services)})
            return tuple(Month.of(row["month"]) for row in rows)

    def read(self, question: Question) -> list[Row]:
        """Rows by service, place and time with all measures; times as ISO text, dollars and miles as decimal text."""
        names = {
            "services": list(question.services),
            "months": [month.date for month in question.months],
            "start": min(question.months).start,
            "end": max(question.months).next.start,
            "zones": None if question.zones is None else list(question.zones),
        }
        connection = self._connected()
        with translated(connection, self.address), snapshot(connection):
            revisions = connection.execute(query("read_kpi_revisions"), names).fetchall()
            key = _key(question, revisions)
            found = self._recall(key) if revisions else None
            if found is not None:
                self.hits += 1
                return found
            self.misses += 1
            rows = [_plain(row) for row in connection.execute(_statement(question), names)]
        if revisions:
            self._answers.remember(key, msgspec.json.encode(rows))
        return rows

    def _recall(self, key: str) -> list[Row] | None:
        stored = self._answers.recall(key)
        try:
            return None if stored is None else msgspec.json.decode(stored, type=list[Row])
        except msgspec.MsgspecError:
            return None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = migrations.connected(self._dsn, self.address)
        return self._connection


def _key(question: Question, revisions: list[Row]) -> str:
    """The name of an answer: of what was asked, of which measures, in which state of the database."""
    months = [str(month) for month in question.months]
    return key_of(revisions, question.services, months, question.by, question.per, question.zones, NAMES)


def _statement(question: Question) -> sql.Composed:
    time = sql.SQL(_TIMES[question.per])
    columns = [sql.Identifier("service"), *map(sql.Identifier, _PLACES[question.by])]
    measures = (sql.SQL("sum({0}) as {0}").format(sql.Identifier(name)) for name in NAMES)
    return query(
        "read_kpis",
        key=sql.SQL(", ").join([*columns, sql.SQL("{} as {}").format(time, sql.Identifier(question.per))]),
        places=sql.SQL(", ").join([*columns, time]),
        measures=sql.SQL(", ").join(measures),
    )


def _plain(row: Row) -> Row:
    return {name: _value(name, value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else str(value)
    return value.isoformat() if isinstance(value, dt.date) else value
