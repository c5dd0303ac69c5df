"""The local Ray head: every port given, on loopback, in a session of its own."""

import contextlib
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from chillflow.local.ports import BLOCK, HOST, Port, answers, replies
from chillflow.local.processes import await_ready, spawn
from chillflow.local.state import Home, Process

OBJECT_STORE = 512 * 1024 * 1024
STOP_WAIT = 60
"""Seconds that a job which is told to stop has to end by itself: more than assemblers need to let go."""

RESOURCES = {"assembler_slot": 8}
FAST = {
    "POLARS_MAX_THREADS": "1",
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
    # Blocks come and go: keep their memory, in huge pages, instead of asking the kernel for each anew.
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always",
    "MIMALLOC_PURGE_DELAY": "-1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.trim_threshold=2147483648",
}
"""Workers inherit it: one thread of Polars for each CPU that Ray gives out. cluster/Dockerfile has a copy."""
ENVIRONMENT = FAST | {
    # Otherwise Ray takes the machine's outward address for 127.0.0.1 and listens on every interface.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Otherwise Ray's process titles overwrite the environment by which its processes are found.
    "SPT_NOENV": "1",
}

_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client says first: the preface and empty settings."""


def address(home: Home) -> str:
    # With a capital L: for exactly "localhost" and "127.0.0.1", ray.init asks the machine's outward address.
    return f"Localhost:{home.state.ports + Port.GCS}"


def dashboard(home: Home) -> str:
    return f"http://{HOST}:{home.state.ports + Port.DASHBOARD}"


def token(home: Home) -> Path:
    """The file with the head's token, readable by its owner alone: on loopback, too, Ray runs what anybody sends."""
    return home.folder / "ray-token"


def access(token: Path | str) -> dict[str, str]:
    """What Ray's programs are told by their environment to show a token, or to ask for it."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


def start(home: Home, env: Mapping[str, str], cpus: int) -> Process:
    """Starts the head; its sockets lie in a short folder of their own, since their paths must not be long."""
    _make_short(home)
    _make_token(home)
    base = home.state.ports
    ports = {
        "port": Port.GCS,
        "ray-client-server-port": Port.RAY_CLIENT,
        "node-manager-port": Port.NODE_MANAGER,
        "object-manager-port": Port.OBJECT_MANAGER,
        "dashboard-port": Port.DASHBOARD,
        "dashboard-agent-listen-port": Port.AGENT,
        "dashboard-agent-grpc-port": Port.AGENT_GRPC,
        "metrics-export-port": Port.METRICS,
        "runtime-env-agent-port": Port.RUNTIME_ENV_AGENT,
        "min-worker-port": Port.WORKERS,
    }
    python = _python(home)
    command = [
        python, "-m", "ray.scripts.scripts", "start", "--head", "--block",
        f"--node-ip-address={HOST}", f"--dashboard-host={HOST}", "--include-dashboard=true",
        f"--num-cpus={cpus}", f"--resources={json.dumps(RESOURCES)}", f"--object-store-memory={OBJECT_STORE}",
        f"--temp-dir={_sessions(home)}", "--disable-usage-stats", "--log-color=false",
        *(f"--{name}={base + port}" for name, port in ports.items()), f"--max-worker-port={base + BLOCK - 1}",
    ]  # fmt: skip
    own = {
        **access(token(home)),
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT),
        "CHILLFLOW_HOME": str(home.folder),
        "PATH": os.pathsep.join([str(Path(python).parent), env.get("PATH", os.defpath)]),
        "AUTOSCALER_METRIC_PORT": str(base + Port.AUTOSCALER_METRICS),
        "DASHBOARD_METRIC_PORT": str(base + Port.DASHBOARD_METRICS),
    }
    return spawn(command, home.log("ray"), {**env, **ENVIRONMENT, **own}, home.folder)


def await_head(home: Home, process: Process) -> None:
    def ready() -> bool:
        return (
            "Ray runtime started" in home.log("ray").read_text(errors="replace")
            and answers(home.state.ports + Port.GCS)
            and node_answers(home)
            and _dashboard_answers(home)
        )

    await_ready("Ray", process, home.log("ray"), ready, 180)


def was_late(home: Home) -> bool:
    """Whether a head ended since its node was not there within 30 s, as on a busy machine (a limit of Ray)."""
    return "node timed out during startup" in home.log("ray").read_text(errors="replace")


def node_answers(home: Home) -> bool:
    """Whether the head can run anything: its node dies with its agent, while other parts of it live on."""
    return answers(home.state.ports + Port.NODE_MANAGER)


def head_answers(home: Home) -> bool:
    """Whether its two servers speak, which a stopped process does not; gRPC begins as HTTP/2 does."""
    return all(replies(home.state.ports + port, _HTTP2) for port in (Port.GCS, Port.NODE_MANAGER))


def _dashboard_answers(home: Home) -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        asked = urllib.request.Request(f"{dashboard(home)}/api/version")
        asked.add_header("Authorization", f"Bearer {token(home).read_text()}")
        with opener.open(asked, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _python(home: Home) -> str:
    """This Python, by a path that a shell takes as one word: Ray starts its workers through bash and quotes nothing."""
    if shlex.quote(sys.executable) == sys.executable:
        return sys.executable
    link = Path(home.state.short) / "python"
    link.symlink_to(sys.prefix)
    return str(link / "bin" / Path(sys.executable).name)


def _sessions(home: Home) -> Path:
    """Ray opens its folder to everybody: so it is one inside the private one."""
    return Path(home.state.short) / "r"


def _make_token(home: Home) -> None:
    """The token is made once: whoever has it in a script may keep it."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(token(home), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


def _make_short(home: Home) -> None:
    """A fresh private folder, linked from home; that of the run before is removed."""
    if home.state.short:
        shutil.rmtree(home.state.short, ignore_errors=True)
    home.state.short = tempfile.mkdtemp(prefix="cf-", dir="/tmp" if os.path.isdir("/tmp") else None)
    home.save()
    link = home.folder / "ray"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(home.state.short))
