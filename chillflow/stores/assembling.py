"""PostgreSQL as assembly sees it: TripStore over a connection of its own."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

import psycopg

from chillflow.errors import OutcomeUnknown, WarehouseRefused
from chillflow.months import Month
from chillflow.positions import Claim, Desired, Ends, GivenUp, Group, Topic
from chillflow.stores import claims as claiming
from chillflow.stores.partitions import create_partition
from chillflow.stores.postgres import Connection, address, is_lost
from chillflow.stores.protocols import Outcome
from chillflow.stores.queries import query
from chillflow.stores.sessions import Patience, closing_on_error, opened, retriable
from chillflow.stores.transactions import PostgresTransaction

Given = ParamSpec("Given")
Result = TypeVar("Result")


class PostgresTripStore:
    """See protocols.TripStore. Connects when first needed, and again by the call after the one that lost it.

    What raises leaves nothing behind, but for OutcomeUnknown. ServiceDown is also a lock that is held for too long.
    """

    def __init__(self, dsn: str, patience: Patience | None = None) -> None:
        self.dsn = dsn
        self.address = address(dsn)
        self._patience = patience or Patience()
        self._connection: Connection | None = None
        self._began: dt.datetime | None = None
        self._pid: int | None = None
        self._made: set[Month] = set()

    def take_group(self, group: str, topic: Topic, desired: Desired | None) -> Group:
        return self._call(claiming.take_group, self.address, group, topic, desired)

    def switch_topic(self, group: str, topic: Topic, ends: Ends | None = None) -> tuple[Group, list[GivenUp]]:
        return self._call(claiming.switch_topic, group, topic, ends)

    def group(self, group: str) -> Group | None:
        return self._call(claiming.read_group, group)

    def set_desired(self, group: str, desired: Desired) -> None:
        self._call(claiming.set_desired, group, desired)

    def partitions(self, group: str) -> list[dict[str, object]]:
        return self._call(claiming.read_positions, group)

    def claim(self, group: Group, partition: int, owner: str) -> Claim:
        with self._brief() as connection:
            assert self._began is not None
            return claiming.claim(connection, self._began, group, partition, owner)

    def release(self, claim: Claim) -> None:
        self._call(claiming.release, claim)

    def outcomes(
        self, claims: Sequence[Claim], begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> dict[int, Outcome]:
        return self._call(claiming.outcomes, claims, begins, ends)

    def ensure_partitions(self, months: Collection[Month]) -> None:
        for month in sorted(set(months) - self._made):
            self._call(create_partition, month)
            self._made.add(month)

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        connection = self._connected()
        assert self._began is not None
        with retriable(connection, self.address):
            connection.execute(query("begin"))
        try:
            with retriable(connection, self.address):
                yield PostgresTransaction(connection, self.address, self._began)
        except BaseException:
            self._roll_back(connection)
            raise
        self._commit(connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self, what: Callable[Concatenate[Connection, Given], Result], *args: Given.args, **options: Given.kwargs
    ) -> Result:
        with self._brief() as connection:
            return what(connection, *args, **options)

    @contextmanager
    def _brief(self) -> Iterator[Connection]:
        """A transaction of which nobody has to know whether it was committed: it may be done again."""
        connection = self._connected()
        with retriable(connection, self.address), connection.transaction():
            yield connection

    def _commit(self, connection: Connection) -> None:
        with retriable(connection, self.address):
            try:
                done = connection.execute(query("commit")).statusmessage
            except psycopg.Error as error:
                if is_lost(error, connection):
                    raise OutcomeUnknown(self.address) from error
                raise
        if done != "COMMIT":
            raise WarehouseRefused(self.address, "the transaction had failed before it was committed")

    def _roll_back(self, connection: Connection) -> None:
        self._made.clear()  # somebody may have dropped a partition
        try:
            connection.execute(query("rollback"))
        except psycopg.Error:
            connection.close()

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            connection = opened(self.dsn, self.address, self._patience)
            former = {"pid": self._pid, "backend_start": self._began}
            with closing_on_error(connection), retriable(connection, self.address):
                connection.execute(query("end_session"), former)
                row = connection.execute(query("backend_start")).fetchone()
                assert row is not None
                if self._pid is not None:
                    connection.execute(query("name_backend"), former | {"own_start": row["backend_start"]})
            self._began, self._pid = row["backend_start"], connection.info.backend_pid
            self._connection = connection
        return self._connection
