"""The schema's versions: yoyo-migrations over a connection of our own, forward only.

yoyo opens connections from URLs of its own, locks by a row that a killed process leaves behind, and marks a migration
in another transaction than the one that made it. Here it works on a given connection, under an advisory lock, and each
migration commits with its mark. See docs/decisions/0001-migrations.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from chillflow.errors import SchemaTooNew, SchemaTooOld, WarehouseEmpty
from chillflow.stores.postgres import Connection, connect, translated
from chillflow.stores.queries import query

SCHEMA = "chillflow_migrations"
_FOLDER = files("chillflow") / "sql" / "migrations"


def migrate(connection: psycopg.Connection[Any], place: str) -> tuple[str, ...]:
    """Brings the schema up to date; returns the names of the migrations applied.

    The connection (tuple rows) is in autocommit mode and used for nothing else. Safe beside another migration, and
    after one that was killed. Raises SchemaTooNew.
    """
    connection.execute(query("lock_migrations"))
    if connection.execute(query("migrations_schema_exists")).fetchone() != (True,):
        connection.execute(query("create_migrations_schema"))
    backend = _Backend(connection)
    backend.init_database()
    migrations = read_migrations(str(_FOLDER))
    pending = backend.to_apply(migrations)
    applied = {name for (name,) in connection.execute(query("read_migrations"))}
    _refuse_newer(applied, place)
    backend.apply_migrations(pending)
    return tuple(migration.id for migration in pending)


def connected(
    dsn: str, place: str, kind: type[Connection] = psycopg.Connection[dict[str, Any]], **options: Any
) -> Connection:
    """A connection, in autocommit mode, to a warehouse of this code's schema; raises SchemaTooOld and SchemaTooNew."""
    connection = connect(dsn, kind=kind, autocommit=True, **options)
    try:
        with translated(connection, place):
            there = connection.execute(query("migrations_exist")).fetchone()
            rows = connection.execute(query("read_migrations")).fetchall() if there and there["there"] else []
        check({row["migration_id"] for row in rows}, place)
    except BaseException:
        connection.close()
        raise
    return connection


def check(applied: set[str], place: str) -> None:
    """Raises SchemaTooNew or SchemaTooOld unless exactly the migrations of this code are applied."""
    _refuse_newer(applied, place)
    missing = known() - applied
    if missing:
        raise (SchemaTooOld if applied else WarehouseEmpty)(place, tuple(sorted(missing)))


def known() -> set[str]:
    """The names of the migrations that this code brings."""
    return {entry.name.removesuffix(".sql") for entry in _FOLDER.iterdir() if entry.name.endswith(".sql")}


def _refuse_newer(applied: set[str], place: str) -> None:
    unknown = applied - known()
    if unknown:
        raise SchemaTooNew(place, tuple(sorted(unknown)))


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    log_table, version_table = "log", "version"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._given = connection
        database = DatabaseURI("postgresql+psycopg", None, None, None, None, connection.info.dbname, {})
        super().__init__(database, "applied")

    def connect(self, dburi: DatabaseURI) -> psycopg.Connection[Any]:
        self.schema = SCHEMA
        return self._given

    def init_database(self) -> None:
        self.ensure_internal_schema_updated()

    @contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:
        yield

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:
        with self.transaction():
            migration.process_steps(self, "apply")
            self.mark_one(migration, log=False)
