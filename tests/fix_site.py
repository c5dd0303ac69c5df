"""A site that publishes files on loopback and plays faults by a script that the test reads."""

import contextlib
import hashlib
import os
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any

import pytest

DENIED = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code></Error>"
CHANGED = "Fri, 01 Mar 2019 12:00:00 GMT"


@dataclass(frozen=True)
class Answer:
    """What becomes of one request; by default the file is sent as it should be.

    `cut`: only so many bytes of the body come, then the connection ends; `ending`: how. `claimed`: what Content-Length
    says instead.
    """

    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    ending: str = "closed"
    claimed: int | None = None
    ranges: bool = True
    checks_if_range: bool = True


OK = Answer()
FORBIDDEN = Answer(403, DENIED)


@dataclass(frozen=True)
class Request:
    name: str
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("Range")


class Site:
    """Files by name; `script` has the answers to a file's next requests, `always` those to all others."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {"Last-Modified": CHANGED}
        self.etags = True
        self.script: defaultdict[str, list[Answer]] = defaultdict(list)
        self.always: Answer | None = None
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.url = ""

    def asked(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.name == name]

    def answer(self, name: str) -> Answer:
        if self.script[name]:
            return self.script[name].pop(0)
        return self.always or (OK if name in self.files else FORBIDDEN)

    def etag(self, name: str) -> str:
        return f'"{hashlib.md5(self.files.get(name, b"")).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        site = self.server.site
        name = PurePosixPath(self.path).name
        headers = {key.title(): value for key, value in self.headers.items()}
        site.requests.append(Request(name, headers))
        answer = site.answer(name)
        status, body, told = self._content(name, answer, headers)
        self.send_response(status)
        length = len(body) if answer.claimed is None else answer.claimed
        for key, value in {"Content-Length": str(length), "Connection": "close", **told, **answer.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        self.wfile.write(body[: answer.cut])
        if answer.cut is not None or answer.ending != "closed":
            self._end(answer.ending)

    def _content(self, name: str, answer: Answer, asked: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        site = self.server.site
        if answer.status is not None:
            return answer.status, answer.body or b"", {"Content-Type": "application/xml"}
        data = site.files[name] if answer.body is None else answer.body
        told = dict(site.headers) | ({"ETag": site.etag(name)} if site.etags else {})
        if site.etags and asked.get("If-None-Match") == told["ETag"]:
            return 304, b"", told
        wanted = asked.get("Range")
        current = asked.get("If-Range") in (None, *told.values()) or not answer.checks_if_range
        if wanted is None or not answer.ranges or not current:
            return 200, data, told
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(first), int(last or len(data) - 1)
        if begin >= len(data):
            return 416, b"", told | {"Content-Range": f"bytes */{len(data)}"}
        return 206, data[begin : end + 1], told | {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}

    def _end(self, how: str) -> None:
        self.wfile.flush()
        if how == "silent":
            self.server.site.closing.wait(60)
        elif how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def setup(self) -> None:
        # A small buffer: what was written has nearly all reached the client when the connection is reset.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the play."""


@contextlib.contextmanager
def served(site: Site) -> Iterator[Site]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.site = site
        site.url = f"http://127.0.0.1:{server.server_port}/trip-data"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site, reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served(Site()) as running:
        yield running
