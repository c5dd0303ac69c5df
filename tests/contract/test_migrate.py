"""The migrate job, as a container runs it: in a process of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chillflow.stores.migrations import known


def migrate(dsn: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chillflow.jobs.migrate", *arguments],
        env={**os.environ, "CHILLFLOW_POSTGRES_DSN": dsn},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    said = process.communicate(timeout=120)[1]
    return process.returncode, said.splitlines()


def applied(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select count(*) from chillflow_migrations.applied").fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The DSN of a port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield make_conninfo(host="127.0.0.1", port=taken.getsockname()[1], user="chillflow")


def test_it_makes_the_schema_and_again_changes_nothing(empty_dsn: str) -> None:
    for _ in range(2):
        code, said = ended(migrate(empty_dsn))
        assert (code, said[-1]) == (0, "warehouse: its schema is up to date")
        assert applied(empty_dsn) == len(known())


def test_a_check_changes_nothing(empty_dsn: str) -> None:
    code, said = ended(migrate(empty_dsn, "--check"))
    assert code == 1
    assert said[-1].endswith("is empty; begin with `chillflow backfill SERVICE MONTHS`")
    with pytest.raises(psycopg.errors.UndefinedTable):
        applied(empty_dsn)


def test_a_check_waits_until_somebody_has_migrated(empty_dsn: str) -> None:
    waiting = migrate(empty_dsn, "--check", "--wait", "90")
    assert waiting.stderr is not None
    assert "waiting up to 90 s" in waiting.stderr.readline()
    assert ended(migrate(empty_dsn))[0] == 0
    assert ended(waiting) == (0, ["warehouse: its schema is up to date"])


def test_a_server_that_is_away_is_named_in_the_last_line(nowhere: str) -> None:
    code, said = ended(migrate(nowhere, "--wait", "1.5"))
    assert code == 1
    assert "waiting up to 2 s" in said[0]
    assert said[-1].startswith("chillflow migrate: PostgreSQL at 127.0.0.1:")
