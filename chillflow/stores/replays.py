"""Replays in PostgreSQL: what is sent, how far it is, and whether one runs."""

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from psycopg import sql
from psycopg.types.json import Jsonb

from chillflow.errors import PartitionsChanged, ReplayBusy
from chillflow.months import Month
from chillflow.positions import Topic
from chillflow.stores.copying import copy_rows
from chillflow.stores.ledger import MonthEntry, slice_of
from chillflow.stores.migrations import connected
from chillflow.stores.postgres import Connection, address, translated
from chillflow.stores.queries import query
from chillflow.stores.sessions import PatientConnection
from chillflow.stores.trip_rows import FORMS

PATIENCE = 60.0
"""Seconds without an answer after which a connection is given up: a load may hold a month's lock for a while."""


@dataclass(frozen=True)
class Replay:
    """A replay, known by what decides its events and their order; `id` is a hash of it.

    `sources` are the checksums of the months' files, `options` the planted faults and their seed.
    """

    id: uuid.UUID
    service: str
    months: tuple[Month, ...]
    topic: Topic
    options: Mapping[str, float]
    sources: tuple[str, ...]
    code_version: str


@dataclass(frozen=True)
class Noted:
    """How far a replay is: events before number `acknowledged` are at the broker."""

    total: int
    acknowledged: int
    ended_at: dt.datetime | None


class Replays:
    """A session that holds what a running replay holds; for one thread at a time. Raises ServiceDown and its kin."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.address = dsn, address(dsn)
        self._held: uuid.UUID | None = None
        self._connection = self._open()

    def close(self) -> None:
        self._connection.close()

    def hold(self, replay: uuid.UUID) -> None:
        """Takes the replay; raises ReplayBusy where another process sends it."""
        with self._connected() as connection:
            self._take(connection, replay)

    def read(self, replay: uuid.UUID) -> Noted | None:
        with self._connected() as connection:
            row = connection.execute(query("read_replay"), {"id": replay}).fetchone()
        return _noted(row) if row else None

    def check(self, topic: Topic) -> None:
        """Raises PartitionsChanged where a topic has another number of partitions than when it was first used."""
        names = {"topic": topic.name, "topic_id": topic.topic_id}
        with self._connected() as connection:
            rows = connection.execute(query("partitions_of_topic"), names).fetchall()
        for row in rows:
            if row["partitions"] != topic.partitions:
                raise PartitionsChanged(topic.name, row["partitions"], topic.partitions)

    def begin(self, replay: Replay, total: int, *, anew: bool) -> Noted:
        """Notes that a replay of `total` events goes on, or begins (anew); returns from where."""
        names = {
            "id": replay.id,
            "service": replay.service,
            "months": [month.date for month in replay.months],
            "topic": replay.topic.name,
            "topic_id": replay.topic.topic_id,
            "partitions": replay.topic.partitions,
            "options": Jsonb(dict(replay.options)),
            "sources": Jsonb(list(replay.sources)),
            "total": total,
            "code_version": replay.code_version,
            "anew": anew,
        }
        with self._connected() as connection:
            return _noted(connection.execute(query("begin_replay"), names).fetchone())

    def note(self, replay: uuid.UUID, acknowledged: int) -> None:
        """Notes how far the broker has acknowledged a replay; never back."""
        with self._connected() as connection:
            connection.execute(query("note_replay"), {"id": replay, "acknowledged": acknowledged})

    def stop(self, replay: uuid.UUID) -> None:
        """Notes that the replay is interrupted on purpose: nobody need wait for it."""
        with self._connected() as connection:
            connection.execute(query("stop_replay"), {"id": replay})

    def end(self, replay: uuid.UUID, months: Sequence[MonthEntry]) -> None:
        """Notes that all events are acknowledged, and the months in the ledger."""
        with self._connected() as connection, connection.transaction():
            for entry in months:
                names = vars(entry) | {"month": entry.month.date}
                connection.execute(query("write_stream_month"), names)
            connection.execute(query("end_replay"), {"id": replay})

    def quarantine(self, service: str, month: Month, rejected: Iterator[pa.Table]) -> int:
        """Adds rows (schema QUARANTINE) that the file's own rules reject; returns how many were not there yet.

        A month that has a loaded file has them from there.
        """
        names, form = slice_of(service, month), FORMS["quarantine"]
        added = 0
        for rows in rejected:
            with self._connected() as connection, connection.transaction():
                connection.execute(query("lock_month_shared"), names)
                if connection.execute(query("read_month"), names | {"path": "batch"}).fetchone():
                    return added
                connection.execute(query("create_rejected"))
                copy_rows(connection, sql.Identifier("pg_temp", "rejected"), form, _written(rows, month))
                added += connection.execute(query("insert_rejected")).rowcount
        return added

    def settled(self, topic: Topic) -> tuple[int, int]:
        """The offsets up to which a topic's partitions are assembled, summed up, and how many partitions there are."""
        names = {"topic": topic.name, "topic_id": topic.topic_id}
        with self._connected() as connection:
            row = connection.execute(query("committed_of_group"), names).fetchone()
        assert row is not None
        return row["settled"], row["partitions"]

    def _open(self, **options: float) -> Connection:
        connection = connected(self.dsn, self.address, PatientConnection, **options)
        assert isinstance(connection, PatientConnection)
        connection.patience = PATIENCE
        try:
            with translated(connection, self.address):
                connection.execute(query("hold_replays"))
                if self._held is not None:
                    self._take(connection, self._held)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take(self, connection: Connection, replay: uuid.UUID) -> None:
        row = connection.execute(query("hold_replay"), {"id": replay}).fetchone()
        if row is None or not row["held"]:
            raise ReplayBusy()
        self._held = replay

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self._connection.closed or self._connection.broken:
            self._connection = self._open(patience=0)
        with translated(self._connection, self.address):
            yield self._connection


def replay_running(dsn: str) -> bool:
    """Whether a replay runs (or ran seconds ago and was not stopped): it is over soon after its process is killed."""
    place = address(dsn)
    with closing(connected(dsn, place)) as connection, translated(connection, place):
        row = connection.execute(query("replay_runs")).fetchone()
    return bool(row and row["runs"])


def _noted(row: Mapping[str, Any] | None) -> Noted:
    assert row is not None
    return Noted(row["total"], row["acknowledged"], row["ended_at"])


def _written(rows: pa.Table, month: Month) -> pa.Table:
    """Rejected rows with what the table has beside the file's columns."""
    number, form = len(rows), FORMS["quarantine"]
    more = {"month": month.date, "source": "stream"} | {name: 0 for name in form.names if name.endswith("_revision")}
    for name, value in more.items():
        rows = rows.append_column(form.field(name), pa.repeat(pa.scalar(value, form.field(name).type), number))
    return rows
