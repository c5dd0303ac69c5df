"""`chillflow doctor`: what could keep ChillFlow from working here, and the remedy for each."""

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import click

from chillflow import __version__, console, local
from chillflow.errors import ChillFlowError, DoctorFound, NotRunning, SchemaTooOld, ServiceDown, WarehouseEmpty
from chillflow.jobs import access, options, session
from chillflow.settings import Settings
from chillflow.stores import probes
from chillflow.stores.postgres import address

State = Literal["ok", "warning", "failed"]
GIGABYTE = 1 << 30
ROOM, LITTLE = 10 * GIGABYTE, GIGABYTE
"""Free space from which on all is well, and below which nothing can go well."""
CLOCK = 2.0, 60.0
"""Seconds by which clocks may differ, and from which on times in tables mean nothing."""
FILES = 4096
"""Files that a process may have open: Ray's head needs many."""
OLDEST_POSTGRES = 140_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: State
    found: str
    remedy: str = ""


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Look at versions, services, clock, disk and rights, and say the remedy of what is wrong.

    Exit code 1 if something is wrong; warnings are none.
    """
    settings = Settings.read()
    findings: list[Finding] = []
    for check in _checks(settings):
        for finding in check():
            findings.append(finding)
            if not as_json:
                _tell(finding)
    if as_json:
        console.show_json(map(asdict, findings))
    failed = [finding.check for finding in findings if finding.state == "failed"]
    if failed:
        raise DoctorFound(tuple(failed))


def _tell(finding: Finding) -> None:
    click.echo(f"{finding.state:8} {finding.check:10} {finding.found}")
    if finding.remedy:
        click.echo(f"{'':8} {'':10} -> {finding.remedy}")


def _checks(settings: Settings) -> list[Callable[[], Iterator[Finding]]]:
    def about(name: str, look: Callable[[Settings], Iterator[Finding]]) -> Callable[[], Iterator[Finding]]:
        return lambda: _guarded(name, look, settings)

    return [
        about("versions", _versions), about("rights", _rights), about("disk", _disk), about("limits", _limits),
        about("postgres", _postgres), about("schema", _schema), about("redis", _redis), about("kafka", _kafka),
        about("ray", _ray), about("lake", _lake),
    ]  # fmt: skip


def _guarded(name: str, look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    """What a look finds; its error is a finding like others, with the remedy that each error names."""
    try:
        yield from look(settings)
    except ChillFlowError as error:
        found, _, remedy = str(error).partition("; ")
        yield Finding(name, "failed", found, remedy)


def _versions(settings: Settings) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    ray = metadata.version("ray")
    yield Finding("versions", "ok", f"ChillFlow {__version__}, Ray {ray}, Python {python}")
    pinned = next(text for text in metadata.requires("chillflow") or () if text.startswith("ray")).rpartition("==")[2]
    if ray != pinned:
        remedy = f"pip install 'ray[default,data]=={pinned}': both ends of a cluster need the same"
        yield Finding("versions", "failed", f"Ray {ray}, where {pinned} is tested", remedy)


def _rights(settings: Settings) -> Iterator[Finding]:
    yield from _writable("rights", settings.home, "CHILLFLOW_HOME")
    for file in settings.home / "state.json", settings.home / "ray-token":
        if file.exists() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding("rights", "failed", f"{file} can be read by others: it is a secret", f"chmod 600 {file}")


def _writable(check: str, folder: Path, variable: str) -> Iterator[Finding]:
    """Of a folder that is not there yet, the one in which it would be made counts."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield Finding(check, "ok", f"{folder} can be {'written' if place == folder else 'made'}")
    else:
        remedy = f"give this user the right to write there, or name another folder in {variable}"
        yield Finding(check, "failed", f"{place} cannot be written", remedy)


def _disk(settings: Settings) -> Iterator[Finding]:
    wanted = {settings.home: "home", Path("/tmp"): "Ray's sockets and logs"}
    if "://" not in settings.lake:
        wanted.setdefault(Path(settings.lake).absolute(), "the lake")
    seen: set[int] = set()
    for folder, what in wanted.items():
        place = next(each for each in (folder, *folder.parents) if each.exists())
        if place.stat().st_dev in seen:
            continue
        seen.add(place.stat().st_dev)
        free = shutil.disk_usage(place).free
        text = f"{free / GIGABYTE:.1f} GB free at {place} ({what})"
        state: State = "ok" if free >= ROOM else "warning" if free >= LITTLE else "failed"
        yield Finding("disk", state, text, "" if state == "ok" else "make room: a month of yellow takes about 1 GB")


def _limits(settings: Settings) -> Iterator[Finding]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= FILES or soft == resource.RLIM_INFINITY
    remedy = "" if enough else f"ulimit -n {FILES if hard >= FILES or hard < 0 else hard} before `chillflow up`"
    yield Finding("limits", "ok" if enough else "warning", f"a process may have {soft:,} files open", remedy)


def _postgres(settings: Settings) -> Iterator[Finding]:
    dsn = session.postgres_dsn(settings)
    found = probes.examine_postgres(dsn)
    text = f"PostgreSQL {found.version.split()[0]} at {address(dsn)} as {found.user}"
    if found.number < OLDEST_POSTGRES:
        yield Finding("postgres", "failed", text, "use PostgreSQL 14 or later")
    elif found.standby:
        yield Finding("postgres", "failed", f"{text}: a standby", "name its primary in CHILLFLOW_POSTGRES_DSN")
    elif not found.may_create:
        remedy = f"grant create on the database to {found.user}: migrations make schemas"
        yield Finding("postgres", "warning", f"{text}, who may not create schemas", remedy)
    else:
        yield Finding("postgres", "ok", text)
    yield from _clock("PostgreSQL", found.clock)


def _clock(whose: str, there: float | None) -> Iterator[Finding]:
    apart = abs(time.time() - (there or 0.0))
    state: State = "ok" if apart < CLOCK[0] else "warning" if apart < CLOCK[1] else "failed"
    remedy = "" if state == "ok" else "let both machines take their time from NTP: heartbeats and ages are compared"
    yield Finding("clock", state, f"{apart:.1f} s between this machine and {whose}", remedy)


def _schema(settings: Settings) -> Iterator[Finding]:
    try:
        probes.examine_schema(session.postgres_dsn(settings))
    except WarehouseEmpty as error:
        yield Finding("schema", "ok", str(error))
    except SchemaTooOld as error:
        found, _, remedy = str(error).partition("; ")
        yield Finding("schema", "warning", found, remedy)
    except (NotRunning, ServiceDown):
        return  # told already
    else:
        yield Finding("schema", "ok", "the warehouse's schema is this version's")


def _redis(settings: Settings) -> Iterator[Finding]:
    url = session.redis_url(settings)
    shown = url.rpartition("@")[2].removeprefix("redis://").removeprefix("rediss://").partition("?")[0]
    try:
        found = probes.examine_redis(url, shown)
    except ServiceDown as error:
        why, _, remedy = str(error).partition("; ")
        yield Finding("redis", "warning", f"{why}: recovery of assemblers will be slower", remedy)
        return
    yield Finding("redis", "ok", f"{found.version} at {shown}")
    yield from _clock("Redis", found.clock)


def _kafka(settings: Settings) -> Iterator[Finding]:
    config = session.kafka_config(settings)
    found = probes.examine_kafka(config)
    yield Finding("kafka", "ok", f"{found.version} behind {config['bootstrap.servers']}")


def _ray(settings: Settings) -> Iterator[Finding]:
    from chillflow.jobs.jobserver import JobServer

    place = access.cluster(settings)
    if place.embedded and not local.addresses(settings.home).ray:
        return
    try:
        server = JobServer(settings)
    except ChillFlowError as error:
        if place.embedded:
            raise
        why, _, remedy = str(error).partition("; ")
        yield Finding("ray", "warning", f"drivers go to {place.address}, but {why}", remedy)
        return
    server.check_version()
    yield Finding("ray", "ok", f"Ray {server.version} at {place.address}, jobs API at {server.address}")


def _lake(settings: Settings) -> Iterator[Finding]:
    if "://" in settings.lake or os.path.isdir(settings.lake):
        yield Finding("lake", "ok", f"{probes.examine_lake(settings.lake)} can be written and read")
    else:
        yield from _writable("lake", Path(settings.lake).absolute(), "CHILLFLOW_LAKE")
