#!/opt/chillflow/bin/python -I
"""ray-node head | worker HEAD:PORT: becomes a Ray node of this container, after what would end it later is refused.

RAY_NODE_CPUS and RAY_NODE_STORE_MIB say what it offers; RAY_AUTH_TOKEN_PATH names the cluster's token.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

PATIENCE = float(os.environ.get("RAY_NODE_PATIENCE", "60"))
OWN, EACH_CPU = 768, 512
"""MiB that Ray's own processes take, and that a worker process takes at least."""
SLOTS_OF_A_CPU = 4
PORTS = {
    "node-manager-port": 6380, "object-manager-port": 6381, "metrics-export-port": 8080,
    "runtime-env-agent-port": 52364,
    "dashboard-agent-listen-port": 52365, "dashboard-agent-grpc-port": 52366,
}  # fmt: skip
"""Given, since for ports that its agents choose themselves a node waits 15 s, and gives up on a busy machine."""


def refuse(why: str) -> None:
    sys.exit(f"ray-node: {why}")


def memory() -> int | None:
    """MiB that this container may use; None where nothing limits it."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        return int(text) >> 20 if text.isdecimal() and int(text) < 1 << 60 else None
    return None


def number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        refuse(f"{name} is {text!r}; set it to a whole number")
    return int(text)


def check(cpus: int, store: int) -> None:
    needed, given = OWN + EACH_CPU * cpus + store, memory()
    if given is not None and given < needed:
        refuse(f"this container may use {given} MiB, but a node of {cpus} CPUs and {store} MiB of object store needs "
               f"{needed} MiB; give it more memory, or fewer CPUs")  # fmt: skip
    shared = os.statvfs("/dev/shm")
    room = shared.f_blocks * shared.f_frsize >> 20
    if room < store:
        refuse(f"/dev/shm has {room} MiB, but the object store is to have {store} MiB; raise the container's shm_size")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    try:
        token = Path(path).read_text().strip()
    except OSError as fault:
        refuse(f"RAY_AUTH_TOKEN_PATH is {path!r}: {fault.strerror}; give the container the secret ray_token")
    if not token:
        refuse(f"{path} is empty; it is to hold the cluster's token, the same on all nodes")


def await_head(address: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as fault:
            if time.monotonic() > deadline:
                refuse(f"the Ray head does not answer at {address}: {fault.strerror or fault}")
        time.sleep(0.5)


def main() -> None:
    if sys.argv[1:] != ["head"] and not (len(sys.argv) == 3 and sys.argv[1] == "worker"):
        refuse("say `ray-node head` or `ray-node worker HEAD:PORT`")
    cpus, store = number("RAY_NODE_CPUS"), number("RAY_NODE_STORE_MIB")
    check(cpus, store)
    if sys.argv[1] == "head":
        role = ["--head", "--port=6379", "--dashboard-host=0.0.0.0"]
    else:
        await_head(sys.argv[2])
        role = [f"--address={sys.argv[2]}"]
    options = [
        *role, *(f"--{name}={port}" for name, port in PORTS.items()), "--block",
        f"--num-cpus={cpus}", f"--object-store-memory={store << 20}", "--log-color=false",
        f"--resources={json.dumps({'assembler_slot': SLOTS_OF_A_CPU * cpus} if cpus else {})}", "--disable-usage-stats",
    ]  # fmt: skip
    os.execv(sys.executable, [sys.executable, "-m", "ray.scripts.scripts", "start", *options])


main()
