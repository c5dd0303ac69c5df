"""A connection to the warehouse that is opened when it is needed, and again where it was lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from chillflow.stores import migrations
from chillflow.stores.postgres import Connection, address, translated


class Lasting:
    """What is built on such a connection; not for use by two threads."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.address = address(dsn)
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The connection, in autocommit mode, its errors translated; raises SchemaTooOld and SchemaTooNew."""
        if self._connection is None or self._connection.closed:
            self._connection = migrations.connected(self.dsn, self.address)
        with translated(self._connection, self.address):
            yield self._connection
