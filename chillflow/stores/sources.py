"""Source files: listing, facts and reading, from a folder or an object store."""

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
from msgspec.structs import replace
from pyarrow import fs

from chillflow.errors import LakeUnavailable, SourceMissing, SourceUnreadable
from chillflow.manifests import Source
from chillflow.stores.folders import absolute, diagnose, locate, sha256, shown, translated

SIDECAR = ".source.json"
"""What is added to a file's name for the facts that `chillflow fetch` notes of its origin."""


class _Origin(msgspec.Struct):
    size: int
    url: str | None = None
    etag: str | None = None
    sha256: str | None = None


def list_files(uri: str | os.PathLike[str], ending: str = ".parquet") -> list[str]:
    """The files directly in a folder, sorted, each as a path or URI that the functions below open.

    Raises SourceMissing, SourceUnreadable.
    """
    folder = absolute(uri)
    with _translated(folder):
        filesystem, path = locate(folder)
        found = filesystem.get_file_info(fs.FileSelector(path))
    names = sorted(info.base_name for info in found if info.is_file and info.base_name.endswith(ending))
    return [_within(folder, name) for name in names]


def open_input(uri: str | os.PathLike[str]) -> pa.NativeFile:
    """A file for random reads; raises SourceMissing, SourceUnreadable."""
    place = absolute(uri)
    with _translated(place):
        filesystem, path = locate(place)
        if filesystem.get_file_info(path).type == fs.FileType.Directory:
            raise SourceUnreadable(shown(place), "it is a folder", "name the file in it")
        return filesystem.open_input_file(path)


def stat(uri: str | os.PathLike[str]) -> Source:
    """A file's facts without reading it: size, time of change, ETag and URL of its origin where known.

    For an object store the ETag is the object's. For a local file the note beside it (`FILE.source.json`) tells its
    ETag, URL and SHA-256; it counts only if it has the file's size and is not older. Raises SourceMissing,
    SourceUnreadable.
    """
    place = absolute(uri)
    with _translated(place), open_input(place) as file:
        filesystem, path = locate(place)
        facts = Source(shown(place), file.size(), _modified(filesystem, path))
        if not isinstance(filesystem, fs.LocalFileSystem):
            return replace(facts, etag=_etag(filesystem, path))
        origin = _origin(filesystem, path + SIDECAR)
        noted = _modified(filesystem, path + SIDECAR)
        if origin is None or origin.size != facts.size or not (facts.modified and noted and facts.modified <= noted):
            return facts
        return replace(facts, etag=origin.etag, url=origin.url, sha256=origin.sha256)


def checksum(uri: str | os.PathLike[str]) -> str:
    """The SHA-256 in hex of a file's bytes, read in chunks; raises SourceMissing, SourceUnreadable."""
    with _translated(absolute(uri)), open_input(uri) as file:
        return sha256(file)


def mirror(origin: tuple[str, str], copy: tuple[str, str]) -> None:
    """Makes a file and its note, each by its path or URI, those of `origin`; where the notes tell of the same, or there
    is no origin, nothing is done.

    The note is written last: without it, or with another size than it says, a file does not count. Raises
    LakeUnavailable.
    """
    with translated(shown(copy[0])):
        (source, file), (target, there) = locate(origin[0]), locate(copy[0])
        noted, known = _origin(*locate(origin[1])), _origin(*locate(copy[1]))
        if noted is None or source.get_file_info(file).size != noted.size:
            return
        if known is not None and known.sha256 == noted.sha256 and target.get_file_info(there).size == noted.size:
            return
        fs.copy_files(file, there, source, target)
        fs.copy_files(locate(origin[1])[1], locate(copy[1])[1], source, target)


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as fault:
        raise SourceMissing(shown(place)) from fault
    except OSError as fault:
        diagnosis = diagnose(fault) or (str(fault), "check the storage and run again")
        raise SourceUnreadable(shown(place), *diagnosis) from fault
    except LakeUnavailable as fault:
        raise SourceUnreadable(fault.place, fault.why, fault.remedy) from fault


def _within(folder: str, name: str) -> str:
    if "://" not in folder:
        return os.path.join(folder, name)
    path, mark, query = folder.partition("?")
    return f"{path.rstrip('/')}/{quote(name)}{mark}{query}"


def _etag(filesystem: fs.FileSystem, path: str) -> str | None:
    with filesystem.open_input_stream(path) as stream:
        facts: Any = stream.metadata() or {}
    tag = facts.get("ETag")
    return tag.decode().strip('"') if tag else None


def _origin(filesystem: fs.FileSystem, note: str) -> _Origin | None:
    try:
        with filesystem.open_input_file(note) as file:
            return msgspec.json.decode(bytes(file.read()), type=_Origin)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _modified(filesystem: fs.FileSystem, path: str) -> dt.datetime | None:
    moment = filesystem.get_file_info(path).mtime
    return moment.astimezone(dt.UTC) if moment else None
