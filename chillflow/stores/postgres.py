"""Connections to PostgreSQL, and its errors in ChillFlow's words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import ClientCursor, conninfo
from psycopg import errors as pg
from psycopg.rows import dict_row

from chillflow.errors import BadDsn, ChillFlowError, ServiceDown, WarehouseFull, WarehouseRefused

Connection = psycopg.Connection[dict[str, Any]]

_PATIENCE = 30.0
_NOT_YET = ("starting up", "not yet accepting connections", "in recovery mode", "shutting down", "too many clients")
_NOTICES_A_DEAD_PEER = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "90000",
}
"""A server or network that vanished without a word is given up after some 90 s, not after hours."""

_REMEDIES: dict[type[psycopg.Error], str] = {
    pg.InsufficientPrivilege: "grant the user the right, or name another user in CHILLFLOW_POSTGRES_DSN",
    pg.ReadOnlySqlTransaction: "the server is a standby: name its primary in CHILLFLOW_POSTGRES_DSN",
    pg.OutOfMemory: "give the server more memory, then run the same command again",
}


def address(dsn: str) -> str:
    """Where a DSN leads, without its password: host:port/database; raises BadDsn."""
    given = _read(dsn)
    host = given.get("host") or given.get("hostaddr") or "the local socket"
    return f"{host}:{given.get('port') or 5432}/{given.get('dbname') or given.get('user') or ''}"


def without_password(dsn: str) -> tuple[str, str | None]:
    """A DSN without its password, and the password; raises BadDsn."""
    given = _read(dsn)
    password = given.pop("password", None)
    return conninfo.make_conninfo(**given), None if password is None else str(password)


def _read(dsn: str) -> dict[str, Any]:
    try:
        return conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise BadDsn() from None


def connect(
    dsn: str, patience: float = _PATIENCE, kind: type[Connection] = psycopg.Connection[dict[str, Any]], **options: Any
) -> Connection:
    """A connection whose rows are dicts and whose parameters are bound in the client, so that all statements take them.

    While the server says that it is starting, tries again for `patience` seconds. What the DSN says counts before the
    defaults. Raises BadDsn, ServiceDown.
    """
    place = address(dsn)
    given = conninfo.conninfo_to_dict(dsn)
    defaults = {"connect_timeout": "10", "application_name": "chillflow"} | _NOTICES_A_DEAD_PEER
    whole = conninfo.make_conninfo(dsn, **{name: value for name, value in defaults.items() if name not in given})
    deadline, pause = time.monotonic() + patience, 0.05
    while True:
        try:
            return kind.connect(
                whole, row_factory=dict_row, cursor_factory=ClientCursor, client_encoding="utf8", **options
            )
        except psycopg.OperationalError as error:
            said = str(error).strip()
            if not any(phrase in said for phrase in _NOT_YET) or time.monotonic() + pause > deadline:
                raise ServiceDown("PostgreSQL", place, _one_line(said)) from error
        time.sleep(pause)
        pause = min(pause * 2, 1.0)


@contextmanager
def translated(connection: psycopg.Connection[Any], place: str) -> Iterator[None]:
    """The driver's errors leave this block as ServiceDown, WarehouseFull or WarehouseRefused, chained."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(error, connection, place) from error


def is_lost(error: psycopg.Error, connection: psycopg.Connection[Any]) -> bool:
    """Whether the error took the connection with it."""
    return isinstance(error, (pg.AdminShutdown, pg.CrashShutdown)) or connection.broken or connection.closed


def _translation(error: psycopg.Error, connection: psycopg.Connection[Any], place: str) -> ChillFlowError:
    said = _one_line(error.diag.message_primary or str(error))
    if isinstance(error, pg.DiskFull):
        return WarehouseFull(place, said)
    if is_lost(error, connection):
        return ServiceDown("PostgreSQL", place, f"the connection was lost: {said}")
    remedy = next((remedy for kind, remedy in _REMEDIES.items() if isinstance(error, kind)), None)
    return WarehouseRefused(place, said, remedy) if remedy else WarehouseRefused(place, said)


def _one_line(text: str) -> str:
    return " ".join(text.split())
