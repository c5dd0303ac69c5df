"""A TCP proxy before PostgreSQL that loses COMMITs, or their answers, or falls silent."""

import socket
import threading
from contextlib import suppress
from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

COMMIT = b"Q\0\0\0\x0bcommit\0"
Answer = Literal["before", "after"]


class Proxy:
    """Forwards connections to the server of `dsn`; its own address is `self.dsn`.

    `lose`: at the next COMMIT the connection is cut, before the server sees it or after its answer. While `silent` is
    set, nothing is forwarded any more.
    """

    def __init__(self, dsn: str) -> None:
        given = conninfo_to_dict(dsn)
        self._server = (str(given["host"]), int(given["port"] or 5432))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=self._listener.getsockname()[1])
        self.lose: Answer | None = None
        self.silent = threading.Event()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        for one in self._sockets:
            _cut(one)

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._server[0].startswith("/"):
                server = socket.socket(socket.AF_UNIX)
                server.connect(f"{self._server[0]}/.s.PGSQL.{self._server[1]}")
            else:
                server = socket.create_connection(self._server)
            self._sockets += [client, server]
            swallow = threading.Event()
            threading.Thread(target=self._forward, args=(client, server, swallow), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client, swallow), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket, swallow: threading.Event) -> None:
        while data := _received(client):
            if data.endswith(COMMIT) and self.lose is not None:
                lose, self.lose = self.lose, None
                if lose == "before":
                    break
                swallow.set()
            self._send(server, data)
        _cut(client)
        _cut(server)

    def _answer(self, server: socket.socket, client: socket.socket, swallow: threading.Event) -> None:
        while data := _received(server):
            if swallow.is_set():
                break
            self._send(client, data)
        _cut(client)
        _cut(server)

    def _send(self, to: socket.socket, data: bytes) -> None:
        if not self.silent.is_set():
            with suppress(OSError):
                to.sendall(data)


def _received(from_: socket.socket) -> bytes:
    try:
        return from_.recv(1 << 16)
    except OSError:
        return b""


def _cut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
