"""Folders on any filesystem that Arrow opens, with whole-file durable writes."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from chillflow.errors import LakeUnavailable

_NO_SPACE = "make room, or point CHILLFLOW_LAKE at another disk, and run again"
_NO_RIGHT = "give this user the right to read and write there, or choose another folder"
_CREDENTIALS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy"
_URIS = "write a path, file:///path, s3://bucket/prefix or gs://bucket/prefix"
_REACH = "check the network and the endpoint_override in the URI, and run again"

_BY_ERRNO = {
    errno.ENOSPC: ("no space is left on the disk", _NO_SPACE),
    errno.EDQUOT: ("the disk quota is used up", _NO_SPACE),
    errno.EFBIG: ("a file would pass the size limit of this process", "raise `ulimit -f` and run again"),
    errno.EACCES: ("permission denied", _NO_RIGHT),
    errno.EPERM: ("permission denied", _NO_RIGHT),
    errno.EROFS: ("the filesystem is read-only", _NO_RIGHT),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "choose another folder"),
    errno.EIO: ("the disk reports a fault", "check the disk, then run again"),
}
_BY_AWS = {
    "NO_SUCH_BUCKET": ("the bucket does not exist", "create it, or correct the bucket's name in the URI"),
    "ACCESS_DENIED": ("access denied", _CREDENTIALS),
    "INVALID_ACCESS_KEY_ID": ("the access key is unknown", _CREDENTIALS),
    "SIGNATURE_DOES_NOT_MATCH": ("the secret key is wrong", _CREDENTIALS),
    "INVALID_SIGNATURE": ("the secret key is wrong", _CREDENTIALS),
    "MISSING_AUTHENTICATION_TOKEN": ("no credentials were found", _CREDENTIALS),
    "NETWORK_CONNECTION": ("the storage does not answer", _REACH),
    "REQUEST_TIMEOUT": ("the storage does not answer in time", _REACH),
    "SLOW_DOWN": ("the storage is throttling", "run again with less going on beside"),
}
_CHUNK = 1 << 22
_AWS = re.compile(r"AWS Error ([A-Z_]+)")


def absolute(uri: str | os.PathLike[str]) -> str:
    """`uri` made independent of the current folder: a plain path becomes absolute, a URI stays as it is."""
    text = os.fspath(uri)
    return text if "://" in text else str(Path(text).absolute())


def shown(uri: str) -> str:
    """`uri` without credentials and query, fit for messages."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{unquote(parts.path)}"


def _discreet(fault: Exception, uri: str) -> str:
    """What Arrow says of a URI, unless it cites credentials or the query."""
    parts = urlsplit(uri)
    secrets = (parts.netloc.rpartition("@")[0], parts.query)
    return "it is no address that it knows" if any(part and part in str(fault) for part in secrets) else str(fault)


@cache
def locate(uri: str) -> tuple[fs.FileSystem, str]:
    """The filesystem and the path in it that an absolute URI or path means; opened once in a process."""
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme in ("", "file"):
        path = unquote(urlsplit(uri).path) if scheme else uri
        return fs.LocalFileSystem(), path.rstrip("/") or "/"
    if scheme == "s3" and "allow_delayed_open" not in uri:
        uri += ("&" if "?" in uri else "?") + "allow_delayed_open=true"  # a small file is one PUT then
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise LakeUnavailable(shown(uri), f"Arrow cannot open it: {_discreet(fault, uri)}", _URIS) from fault
    if not path.strip("/"):
        raise LakeUnavailable(shown(uri), "it names no bucket", _URIS)
    return filesystem, path.rstrip("/")


def diagnose(fault: OSError) -> tuple[str, str] | None:
    """(why, remedy) of a storage that refuses; None where the fault lies in a file's content."""
    if fault.errno in _BY_ERRNO:
        return _BY_ERRNO[fault.errno]
    code = _AWS.search(str(fault))
    if code:
        return _BY_AWS.get(code[1], (f"the storage says {code[1]}", _REACH))
    if fault.errno is not None:
        return os.strerror(fault.errno), "check the disk and the path"
    return None


@contextlib.contextmanager
def translated(place: str) -> Iterator[None]:
    """Turns the OSErrors of a storage at `place` into LakeUnavailable."""
    try:
        yield
    except OSError as fault:
        raise LakeUnavailable(place, *(diagnose(fault) or (str(fault), "check the storage and run again"))) from fault


class Folder:
    """A folder named by a URI; names in it are relative, with slashes. Picklable; opens nothing before it is used."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = absolute(uri)

    def shown(self, name: str = "") -> str:
        """The place of `name` in words."""
        return f"{shown(self.uri).rstrip('/')}/{name}" if name else shown(self.uri)

    @property
    def local(self) -> bool:
        return isinstance(locate(self.uri)[0], fs.LocalFileSystem)

    def _at(self, name: str) -> str:
        root = locate(self.uri)[1]
        return f"{root}/{name}" if name else root

    def open(self, name: str) -> pa.NativeFile:
        """A file for random reads; raises FileNotFoundError and other OSErrors."""
        return locate(self.uri)[0].open_input_file(self._at(name))

    def read(self, name: str) -> bytes | None:
        """A small file's content, None if there is none; raises LakeUnavailable."""
        with translated(self.shown(name)):
            try:
                with self.open(name) as file:
                    return bytes(file.read())
            except FileNotFoundError:
                self._require_bucket()
                return None

    def entries(self, name: str = "", *, recursive: bool = False) -> list[tuple[str, int | None]]:
        """(name, bytes) of the files and (name, None) of the folders in the folder `name`, sorted; empty if absent."""
        filesystem, root = locate(self.uri)
        with translated(self.shown(name)):
            selector = fs.FileSelector(self._at(name), allow_not_found=True, recursive=recursive)
            found = filesystem.get_file_info(selector)
        if not found:
            self._require_bucket()
        start = len(root.rstrip("/")) + 1
        return sorted((info.path[start:], info.size if info.is_file else None) for info in found)

    def write(self, name: str, data: pa.Buffer | bytes, *, staged_in: str | None = None) -> None:
        """Writes a whole file: all of it is there afterwards, on the disk, or the name means what it meant before.

        On a local filesystem the bytes go to a partial file first, in the folder `staged_in`, by default the file's
        own. Raises LakeUnavailable.
        """
        with translated(self.shown(name)):
            if not self.local:
                with locate(self.uri)[0].open_output_stream(self._at(name)) as stream:
                    stream.write(data)
                return
            target = Path(self._at(name))
            staging = target.parent if staged_in is None else Path(self._at(staged_in))
            staging.mkdir(parents=True, exist_ok=True)
            partial = staging / f".{target.name}.{uuid.uuid4().hex}.partial"
            try:
                with partial.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    def settle(self, name: str) -> None:
        """Brings the folder `name` and those above it to the disk, so that the names in them outlast a power cut."""
        if not self.local:
            return
        folder = Path(self._at(name))
        for each in (folder, *folder.parents):
            try:
                descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
            except PermissionError:
                return
            try:
                os.fsync(descriptor)
            except OSError as fault:
                if fault.errno != errno.EINVAL:  # some filesystems sync no folders
                    raise
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """Deletes a file, or a folder with all that is in it; nothing to delete is no error."""
        filesystem = locate(self.uri)[0]
        path = self._at(name)
        with translated(self.shown(name)), contextlib.suppress(FileNotFoundError):
            if self.local:
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            elif filesystem.get_file_info(path).type == fs.FileType.File:
                filesystem.delete_file(path)
            else:
                filesystem.delete_dir(path)

    def _require_bucket(self) -> None:
        """A missing bucket looks like a missing file otherwise."""
        if self.local:
            return
        filesystem, root = locate(self.uri)
        bucket = root.partition("/")[0]
        with translated(self.shown()):
            missing = filesystem.get_file_info(bucket).type == fs.FileType.NotFound
        if missing:
            raise LakeUnavailable(self.shown(), *_BY_AWS["NO_SUCH_BUCKET"])


def sha256(file: pa.NativeFile) -> str:
    """The SHA-256 in hex of a file from its beginning, read in chunks."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
