"""Processes that outlive the command that starts them, and their end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from chillflow.errors import ServiceFailed
from chillflow.local.state import Process, Service

_POLL = 0.05
_SETTLED = 0.2


def spawn(command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path, user: int | None = None) -> Process:
    """Starts a command as the leader of a new session, its output in `log`."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env), cwd=cwd,
            start_new_session=True, user=user, group=None if user is None else _group(user),
            extra_groups=None if user is None else [],
        )  # fmt: skip
    started.returncode = 0  # it is meant to outlive us; no ResourceWarning for it
    return Process(started.pid, psutil.Process(started.pid).create_time())


def _group(user: int) -> int:
    import pwd

    return pwd.getpwuid(user).pw_gid


def alive(process: Process) -> bool:
    """Whether this very process runs (a zombie does not)."""
    found = _found(process)
    try:
        return found is not None and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_ready(name: str, process: Process, log: Path, ready: Callable[[], bool], seconds: float) -> None:
    """Waits until a started process is ready; raises ServiceFailed if it ends before, or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive(process):
            raise ServiceFailed(name, "it ended while starting", str(log), last_line(log))
        if time.monotonic() > deadline:
            raise ServiceFailed(name, f"it was not ready within {seconds:.0f} s", str(log), last_line(log))
        time.sleep(_POLL)


def last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def family(leader: Process) -> list[Process]:
    """The processes that a leader started, and those of its session."""
    found: dict[int, psutil.Process] = {}
    parent = _found(leader)
    if parent is not None:
        try:
            found = {child.pid: child for child in parent.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass
    for process in psutil.process_iter():
        try:
            if process.pid != leader.pid and os.getsid(process.pid) == leader.pid:
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    members = []
    for process in found.values():
        try:
            members.append(Process(process.pid, process.create_time()))
        except psutil.NoSuchProcess:
            continue
    return members


def end(service: Service, by: signal.Signals, seconds: float) -> None:
    """Ends a service and all that it started: asks its leader first, kills what is left after `seconds`."""
    members = {*service.others, *family(service.leader)}
    _signal([service.leader], by)
    _gone([service.leader], seconds)
    members |= set(family(service.leader))
    if not alive(service.leader):
        _gone(members, 1.0)  # most end with their leader
    left = [process for process in {service.leader, *members} if alive(process)]
    _signal(left, signal.SIGKILL)
    _gone(left, 10.0)


def marked(name: str, value: str) -> list[Process]:
    """The processes in whose environment the variable has this value."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                found.append(Process(process.pid, process.create_time()))
        except (psutil.Error, OSError):
            continue
    return found


def kill_marked(name: str, value: str) -> None:
    """Ends marked processes until two looks find none: a child of a killed parent has no environment of its own yet."""
    looks = 0
    while looks < 2:
        found = marked(name, value)
        kill(found)
        looks = 0 if found else looks + 1
        time.sleep(_SETTLED)


def kill(processes: Iterable[Process]) -> None:
    """Ends processes at once, with all that they started."""
    left = list(processes)
    left += [child for process in left for child in family(process)]
    _signal(left, signal.SIGKILL)
    _gone(left, 10.0)


def _gone(processes: Iterable[Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL)


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        found = _found(process)
        if found is not None:
            try:
                found.send_signal(number)
            except psutil.NoSuchProcess:
                continue


def _found(process: Process) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        return found if abs(found.create_time() - process.started) < 0.01 else None
    except psutil.NoSuchProcess:
        return None
