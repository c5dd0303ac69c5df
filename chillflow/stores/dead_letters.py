"""Dead letters in PostgreSQL, one by one: they may be many, and large."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass

from chillflow.letters import Letter
from chillflow.stores.migrations import connected
from chillflow.stores.postgres import address, translated
from chillflow.stores.queries import query


@dataclass(frozen=True)
class Sought:
    """Which dead letters are meant: None asks for all. `holds` is a part of the reason, in upper or lower case."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    key: str | None = None
    reason: str | None = None
    holds: str | None = None
    redriven: bool | None = None


def each(dsn: str, sought: Sought, limit: int | None = None) -> Iterator[Letter]:
    """The letters in order of their places in the log, on a connection of their own.

    Raises ServiceDown, WarehouseRefused, SchemaTooOld and SchemaTooNew.
    """
    place = address(dsn)
    with closing(connected(dsn, place)) as connection, translated(connection, place):
        for row in connection.cursor().stream(query("each_dead_letter"), asdict(sought) | {"limit": limit}):
            yield Letter(**row)


def count(dsn: str) -> tuple[int, int]:
    """How many there are, and how many of them were redriven."""
    place = address(dsn)
    with closing(connected(dsn, place)) as connection, translated(connection, place):
        row = connection.execute(query("count_dead_letters")).fetchone()
    assert row is not None
    return row["letters"], row["redriven"]
