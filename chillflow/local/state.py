"""What a folder of embedded services remembers: ports, passwords and processes, in one file."""

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from chillflow.errors import FolderUnwritable, HomeUnusable

_ANEW = (
    "put it back from a copy, or run `chillflow down`, delete the folder and load the months again: without it nobody "
    "knows the password of the database there"
)
_RIGHTS = "give this user the right to read and write the folder, or name another one in CHILLFLOW_HOME"


class Process(msgspec.Struct, frozen=True):
    """A process by its pid and its start time, so that another one with a reused pid is never taken for it."""

    pid: int
    started: float


class Service(msgspec.Struct):
    """A started service: the leader of its session, and the others that it started."""

    leader: Process
    others: list[Process] = []


class State(msgspec.Struct):
    """All that must outlast a command. `ports` is the first of a block, `short` a private folder with a short path.

    `programs` holds PostgreSQL's where those installed cannot be reached.
    """

    ports: int = 0
    password: str = ""
    short: str = ""
    programs: str = ""
    services: dict[str, Service] = {}


class Home:
    """The folder of the services, with its state; changes go to the disk at once. Raises HomeUnusable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"
        self._writing = threading.RLock()
        self.state = self._read()

    def _read(self) -> State:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=State)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError) as fault:
            if os.path.isdir(self.folder / "postgres"):  # they ask for the password that was there
                why = "it is damaged" if isinstance(fault, msgspec.MsgspecError) else "it is lost"
                raise HomeUnusable(str(self._file), why, _ANEW) from fault
            return State(password=secrets.token_urlsafe(24))
        except OSError as fault:
            raise HomeUnusable(str(self._file), fault.strerror or str(fault), _RIGHTS) from fault

    def remember(self, name: str, service: Service) -> None:
        """Notes a service on the disk; safe from several threads."""
        with self._writing:
            self.state.services[name] = service
            self.save()

    def save(self) -> None:
        """Replaces the state file at once, readable by its owner alone; raises FolderUnwritable."""
        with self._writing:
            try:
                self._replace()
            except OSError as fault:
                raise FolderUnwritable(str(self._file), fault.strerror or str(fault)) from fault

    def _replace(self) -> None:
        new = self._file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.state), indent=2))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    def log(self, service: str) -> Path:
        return self.folder / "logs" / f"{service}.log"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time changes the services of a folder; others wait."""
        try:
            (self.folder / "logs").mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as fault:
            raise FolderUnwritable(str(self.folder), fault.strerror or str(fault)) from fault
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state = self._read()
            yield
