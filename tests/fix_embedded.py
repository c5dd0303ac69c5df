"""The services with a Ray head, started once for all tests that need them, and the CLI run against them.

They are the embedded ones, or a local Ray head beside containers (tests/fix_containers.py).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import new_database
from tests.services import contained

REPO = Path(__file__).parent.parent
GIVEN = ("CHILLFLOW_", "RAY_")
_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Cli:
    """`chillflow` with an environment of its own."""

    env: dict[str, str]

    def run(self, *command: str, code: int | None = 0, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its exit code must be `code`, if one is given."""
        return self.module("chillflow.cli", *command, code=code, timeout=timeout)

    def module(
        self, name: str, *command: str, code: int | None = 0, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """The same of another module."""
        done = subprocess.run(
            [sys.executable, "-m", name, *command],
            env=self.env, cwd=REPO, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert code in (None, done.returncode), f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @property
    def dsn(self) -> str:
        return self.env["CHILLFLOW_POSTGRES_DSN"]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A command beside the test; what still runs at the test's end is killed."""
        running = subprocess.Popen(
            [sys.executable, "-m", "chillflow.cli", *command],
            env=self.env, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        _started.append(running)
        return running

    def json(self, *command: str) -> Any:
        return json.loads(self.run(*command, "--json").stdout)

    def given(self, **variables: str) -> "Cli":
        return replace(self, env=self.env | variables)


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """A failed test leaves no command behind, and no pipe for a later test to stumble over."""
    yield
    while _started:
        with _started.pop() as running:
            running.kill()


@pytest.fixture(scope="session")
def embedded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Running services and the CLI that finds them; they end with the session."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}
    cli = Cli(env | {"CHILLFLOW_HOME": str(tmp_path_factory.mktemp("home")), "CHILLFLOW_CPUS": "2"})
    if contained():
        cli = cli.given(
            CHILLFLOW_POSTGRES_DSN=new_database(request.getfixturevalue("contained_postgres")),
            CHILLFLOW_REDIS_URL=request.getfixturevalue("contained_redis"),
            CHILLFLOW_KAFKA_BOOTSTRAP=request.getfixturevalue("contained_kafka").address,
        )
    try:
        cli.run("up")
        yield cli
    finally:
        cli.run("down")


@contextmanager
def _own(embedded: Cli, folder: Path) -> Iterator[Callable[[], Cli]]:
    dsn = json.loads(embedded.run("status", "--json").stdout)["postgres"]
    names: list[str] = []

    def make() -> Cli:
        names.append("test_" + os.urandom(6).hex())
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(names[-1])))
        own = psycopg.conninfo.make_conninfo(dsn, dbname=names[-1])
        return embedded.given(CHILLFLOW_POSTGRES_DSN=own, CHILLFLOW_LAKE=str(folder / names[-1]))

    yield make
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def new_cli(embedded: Cli, tmp_path: Path) -> Iterator[Callable[[], Cli]]:
    """Makes CLIs that have a database and a lake of their own on the embedded services."""
    with _own(embedded, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def shared_cli(embedded: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """One with a database and a lake that the tests of a file share."""
    with _own(embedded, tmp_path_factory.mktemp("shared")) as make:
        yield make()


@pytest.fixture
def cli(new_cli: Callable[[], Cli]) -> Cli:
    return new_cli()
