"""Connections of assemblers: nothing on them lasts long, whoever freezes."""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg

from chillflow.errors import ServiceDown
from chillflow.stores.migrations import connected
from chillflow.stores.postgres import Connection, translated
from chillflow.stores.queries import query

Result = TypeVar("Result")
_PASSING = (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure, pg.QueryCanceled)


@dataclass(frozen=True)
class Patience:
    """Seconds: how long to wait for a lock, for the server's answer, and how long a transaction may take or rest."""

    lock: float = 3.0
    answer: float = 20.0
    transaction: float = 120.0
    idle: float = 30.0

    @property
    def settings(self) -> dict[str, str]:
        """What a session is told; PostgreSQL before 17 knows no transaction_timeout."""
        return {
            "application_name": "chillflow-assembler",
            "synchronous_commit": "on",
            "lock_timeout": _milliseconds(self.lock),
            "statement_timeout": _milliseconds(self.transaction),
            "transaction_timeout": _milliseconds(self.transaction),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle),
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "enable_material": "off",
            "enable_bitmapscan": "off",
            "jit": "off",
        }


class PatientConnection(psycopg.Connection[dict[str, Any]]):
    """A connection that is given up where the server does not answer for `patience` seconds."""

    patience = 20.0

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **options: Any) -> Result:
        try:
            return super().wait(_limited(gen, self.patience), *args, **options)
        except TimeoutError as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(str(error)) from error


def opened(dsn: str, place: str, patience: Patience) -> Connection:
    """A connection for an assembler; raises ServiceDown, SchemaTooOld, SchemaTooNew."""
    connection = connected(dsn, place, PatientConnection, patience=0)
    assert isinstance(connection, PatientConnection)
    connection.patience = patience.answer
    settings = patience.settings
    with closing_on_error(connection), translated(connection, place):
        connection.execute(query("set_up_assembler"), {"names": [*settings], "values": [*settings.values()]})
    return connection


@contextmanager
def closing_on_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def retriable(connection: Connection, place: str) -> Iterator[None]:
    """As `translated`; a lock that was waited for too long and the like are ServiceDown too: they pass."""
    with translated(connection, place):
        try:
            yield
        except _PASSING as error:
            raise ServiceDown("PostgreSQL", place, str(error.diag.message_primary or error)) from error


def _limited(steps: Generator[Any, Any, Result], seconds: float) -> Generator[Any, Any, Result]:
    """The steps, which are told now and then that nothing has come; raises TimeoutError when that takes too long."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise TimeoutError(f"no answer for {seconds:g} s")
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
