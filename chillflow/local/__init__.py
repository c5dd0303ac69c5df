"""Embedded services in one folder: PostgreSQL, Valkey, a Kafka-protocol broker and a local Ray head.

`up` starts what does not run, `down` ends it all; both may be killed at any moment and called again. Ports, passwords
and processes are remembered in the folder, so that folders side by side do not disturb each other.
"""

import shutil
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from chillflow.errors import HomeUnusable, ServiceFailed
from chillflow.local import brokers, postgres, processes, ray_head
from chillflow.local.ports import free_block
from chillflow.local.state import Home, Process, Service

SERVICES = ("postgres", "redis", "kafka", "ray")
_ENDS = {"postgres": (signal.SIGINT, 20.0), "redis": (signal.SIGTERM, 10.0), "kafka": (signal.SIGTERM, 2.0),
         "ray": (signal.SIGTERM, 10.0)}  # fmt: skip
_STARTS = 3
_MARK = "CHILLFLOW_LOCAL"
"""In the environment of all that is started here: by it, what no record tells of is found."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Addresses:
    """Where the running services are: DSN, URL, host:port, host:port, URL; None for one that does not run."""

    postgres: str | None = None
    redis: str | None = None
    kafka: str | None = None
    ray: str | None = None
    dashboard: str | None = None


@dataclass(frozen=True)
class Status:
    """A service of the folder: `state` is running, silent (its process lives and does not answer), stopped or died."""

    service: str
    state: str
    pid: int | None
    address: str | None
    log: str


def addresses(home: Path) -> Addresses:
    """Where the folder's services are, judged by their processes; empty where there is no such folder.

    Raises HomeUnusable.
    """
    at = Home(home)
    found = {name: _address(at, name) for name in SERVICES if _runs(at, name)}
    if "ray" in found:
        found["dashboard"] = ray_head.dashboard(at)
    return Addresses(**found)


def ray_access(home: Path) -> dict[str, str]:
    """The variables by which Ray's programs show the token of the folder's head."""
    return ray_head.access(ray_head.token(Home(home)))


def status(home: Path) -> list[Status]:
    """Every service of the folder, running or not, each asked whether it answers; raises HomeUnusable."""
    at = Home(home)
    found = []
    for name in SERVICES:
        known, runs = at.state.services.get(name), _runs(at, name)
        state = ("running" if _answers(at, name) else "silent") if runs else "died" if known else "stopped"
        address = _address(at, name) if runs else None
        found.append(Status(name, state, known.leader.pid if known and runs else None, address, str(at.log(name))))
    return found


def up(
    home: Path,
    cpus: int,
    services: frozenset[str],
    environ: Mapping[str, str],
    report: Report,
    for_jobs: Mapping[str, str] = MappingProxyType({}),
) -> Addresses:
    """Starts those of the services that do not run, side by side, and waits until each is ready.

    `environ` is what they inherit, but for what is meant for ChillFlow and Ray; Ray's jobs inherit `for_jobs`, too.
    Those that run already are waited for too: an earlier call may have ended before they were ready. Raises
    ExtraMissing, FolderUnwritable, HomeUnusable, ServiceFailed; what is ready by then stays up.
    """
    at = Home(home)
    with at.locked():
        _clear_remains(at)
        wanted = [name for name in SERVICES if name in services and name not in at.state.services]
        running = list(at.state.services)
        if not running:
            at.state.ports = free_block(at.state.ports)
        at.save()
        env = {name: value for name, value in environ.items() if not name.startswith(("CHILLFLOW_", "RAY_", "PG"))}
        env[_MARK] = str(at.folder)
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            started = [pool.submit(_await, at, name, env, report, "runs already") for name in running]
            for name in wanted:
                own = {**env, **for_jobs} if name == "ray" else env
                started.append(pool.submit(_start, at, name, cpus, own, report))
        for each in started:
            each.result()
    return addresses(home)


def down(home: Path, report: Report) -> None:
    """Ends the folder's services and all that they started, without records too; their data stay."""
    if not home.exists():
        report("nothing runs here")
        return
    try:
        at = Home(home)
    except HomeUnusable as error:
        processes.kill_marked(_MARK, str(home))
        report(f"all that ran is stopped, but {error}")
        return
    with at.locked():
        running = list(at.state.services)
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            list(pool.map(lambda name: processes.end(at.state.services[name], *_ENDS[name]), running))
        processes.kill_marked(_MARK, str(at.folder))
        for name in running:
            report(f"{name}: stopped")
        at.state.services.clear()
        shutil.rmtree(at.state.short, ignore_errors=True)
        (at.folder / "ray").unlink(missing_ok=True)
        if at.state.programs:
            shutil.rmtree(at.state.programs, ignore_errors=True)
        at.state.short = at.state.programs = ""
        at.save()
        if not running:
            report("nothing runs here")


def _clear_remains(at: Home) -> None:
    """Ends what a crash left of services that died, and what no record tells of."""
    for name, service in list(at.state.services.items()):
        if not _runs(at, name):
            processes.end(service, *_ENDS[name])
            del at.state.services[name]
    found = processes.marked(_MARK, str(at.folder))  # before families: whoever is born in between is not among these
    known = {service.leader for service in at.state.services.values()}
    known |= {member for leader in set(known) for member in processes.family(leader)}
    processes.kill([process for process in found if process not in known])


def _start(at: Home, name: str, cpus: int, env: Mapping[str, str], report: Report) -> None:
    start: dict[str, Callable[[], Process]] = {
        "postgres": lambda: postgres.start(at, env),
        "redis": lambda: brokers.start_valkey(at, env),
        "kafka": lambda: brokers.start_broker(at, env),
        "ray": lambda: ray_head.start(at, env, cpus),
    }
    for left in reversed(range(_STARTS)):
        at.remember(name, Service(start[name]()))
        try:
            return _await(at, name, env, report, "ready")
        except ServiceFailed:
            if not (left and name == "ray" and ray_head.was_late(at)):
                raise
            report("ray: its node was late; it is started again")
            processes.end(at.state.services[name], *_ENDS[name])


def _await(at: Home, name: str, env: Mapping[str, str], report: Report, how: str) -> None:
    await_ready: dict[str, Callable[[Process], None]] = {
        "postgres": lambda process: postgres.await_server(at, process, env),
        "redis": lambda process: brokers.await_valkey(at, process),
        "kafka": lambda process: brokers.await_broker(at, process),
        "ray": lambda process: ray_head.await_head(at, process),
    }
    process = at.state.services[name].leader
    await_ready[name](process)
    at.remember(name, Service(process, processes.family(process)))
    report(f"{name}: {how} at {_shown(at, name)}")


def _runs(at: Home, name: str) -> bool:
    service = at.state.services.get(name)
    if service is None or not processes.alive(service.leader):
        return False
    return name != "ray" or ray_head.node_answers(at)


def _answers(at: Home, name: str) -> bool:
    return {
        "postgres": postgres.answers,
        "redis": brokers.valkey_answers,
        "kafka": brokers.broker_answers,
        "ray": ray_head.head_answers,
    }[name](at)


def _address(at: Home, name: str) -> str:
    return {
        "postgres": postgres.dsn,
        "redis": brokers.redis_url,
        "kafka": brokers.kafka_bootstrap,
        "ray": ray_head.address,
    }[name](at)


def _shown(at: Home, name: str) -> str:
    """An address without its password."""
    return _address(at, name).replace(f":{at.state.password}@", ":***@")
