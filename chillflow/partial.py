"""Files that are being downloaded: NAME.part, its note of what it is a part of, and its way into place."""

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from chillflow.errors import DownloadBusy, FolderUnwritable

MAGIC = b"PAR1"
_SMALLEST = 12


class _Version(msgspec.Struct):
    """Which bytes a part holds: those of one version of one URL."""

    url: str
    validator: str


class Partial:
    """`NAME.part` beside its target, open and locked; it outlasts the process, so that a download can be resumed.

    All its methods raise FolderUnwritable; entering raises DownloadBusy too.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self._descriptor = -1
        self.size = 0

    def __enter__(self) -> Self:
        with writing(self.target.parent):
            self.target.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.path):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.size = os.lseek(self._descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise DownloadBusy(str(self.path)) from fault
        mine = os.fstat(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(mine, self.path.stat()):
                return
        raise DownloadBusy(str(self.path))  # another process has just renamed or removed it

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.size == 0:
            self._note.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def validator(self, url: str) -> str | None:
        """The ETag or date by which a server recognises the version that the part is of; None if it is of no use."""
        if self.size == 0:
            return None
        try:
            version = msgspec.json.decode(self._note.read_bytes(), type=_Version)
        except (OSError, msgspec.MsgspecError):
            return None
        return version.validator if version.url == url else None

    def begin(self, url: str, validator: str | None) -> None:
        """Empties the part; without a validator it will not be resumed."""
        self.discard()
        if validator is not None:
            with writing(self._note):
                self._note.write_bytes(msgspec.json.encode(_Version(url, validator)))

    def discard(self) -> None:
        """Empties the part."""
        with writing(self.path):
            self._note.unlink(missing_ok=True)
            if self.size:
                os.ftruncate(self._descriptor, 0)
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                self.size = 0

    def write(self, chunk: bytes) -> None:
        """Appends; what is written stays, whatever becomes of the process."""
        with writing(self.path):
            left = memoryview(chunk)
            while left:
                written = os.write(self._descriptor, left)
                self.size += written
                left = left[written:]

    def is_whole(self) -> bool:
        """Whether the part begins and ends as a Parquet file does."""
        ends = os.pread(self._descriptor, 4, 0), os.pread(self._descriptor, 4, max(0, self.size - 4))
        return self.size >= _SMALLEST and ends == (MAGIC, MAGIC)

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def into_place(self, note: Path, facts: bytes) -> None:
        """Renames the part to its target, then writes its `facts` to `note`, each as a whole and onto the disk."""
        with writing(self.target):
            os.fsync(self._descriptor)
            self.path.replace(self.target)
            self._note.unlink(missing_ok=True)
            fresh = note.with_name(f"{note.name}.part")
            fresh.write_bytes(facts)
            fresh.replace(note)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what a full disk or a protected folder raises into FolderUnwritable."""
    try:
        yield
    except OSError as fault:
        why = "no space is left on the disk" if fault.errno in (errno.ENOSPC, errno.EDQUOT) else _lower(fault)
        raise FolderUnwritable(str(path), why) from fault


def _lower(fault: OSError) -> str:
    return os.strerror(fault.errno).lower() if fault.errno else str(fault)
