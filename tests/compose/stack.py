"""compose.yaml as a project of its own, as `docker compose` shows it."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).parents[2]
PATIENCE = 900.0


class Stack:
    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        self.secrets = folder / "secrets"
        self.name = name
        self.image = os.environ.get("CHILLFLOW_IMAGE", "chillflow:dev")
        subprocess.run(["sh", str(REPO / "cluster/secrets.sh"), str(self.secrets)], check=True)
        kinds = ("DASHBOARD", "POSTGRES", "KAFKA")
        ports = {f"CHILLFLOW_{kind}_PORT": str(port) for kind, port in zip(kinds, free_ports(3), strict=True)}
        own = {"COMPOSE_PROJECT_NAME": name, "CHILLFLOW_SECRETS": str(self.secrets), "CHILLFLOW_IMAGE": self.image}
        self.environ = {**os.environ, **ports, **own, **settings}

    def compose(self, *arguments: str, code: int | None = 0, timeout: float = PATIENCE) -> str:
        """Runs docker compose; returns all that it says."""
        done = subprocess.run(
            ["docker", "compose", "--progress", "plain", *arguments], cwd=REPO, env=self.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        assert code in (None, done.returncode), f"docker compose {' '.join(arguments)}: {done.stdout}\n{self.said()}"
        return done.stdout

    def up(self, *services: str) -> None:
        self.compose("up", "--detach", "--wait", *services)

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "30", code=None)

    def chillflow(self, *arguments: str, code: int | None = 0) -> str:
        """Runs the command in the head's container."""
        return self.compose("exec", "-T", "ray-head", "chillflow", *arguments, code=code)

    def query(self, sql: str) -> str:
        """The first value of the first row, as text."""
        command = ("exec", "-T", "postgres", "psql", "-U", "chillflow", "-qAtc", sql)
        return self.compose(*command, code=None).strip()

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--all", "--quiet", service).split()

    def kill(self, container: str) -> None:
        """Its first process ends by SIGKILL; unlike `docker kill`, that is a crash, so that it is started again."""
        pid = docker("inspect", "--format", "{{.State.Pid}}", container).strip()
        docker("run", "--rm", "--pid=host", "--user=0", self.image, "python", "-c", f"import os; os.kill({pid}, 9)")

    def restarts(self, container: str) -> int:
        return int(docker("inspect", "--format", "{{.RestartCount}}", container))

    def await_nodes(self, count: int) -> None:
        """Waits until so many nodes of the Ray cluster live."""
        script = "import ray; ray.init('auto', log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"

        def joined() -> bool:
            said = self.compose("exec", "-T", "ray-head", "python", "-c", script, code=None)
            return bool(said) and said.splitlines()[-1] == str(count)

        until(joined, f"{count} nodes", self.said)

    def await_well(self, container: str, restarts: int) -> None:
        """Waits until it has been started again so often, and is well."""
        form = "{{.RestartCount}} {{.State.Health.Status}}"

        def well() -> bool:
            count, health = docker("inspect", "--format", form, container).split()
            return int(count) >= restarts and health == "healthy"

        until(well, f"{container} is well", self.said)

    def left(self) -> list[str]:
        """Containers, volumes and networks of the project."""
        label = f"label=com.docker.compose.project={self.name}"
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [line for kind in kinds for line in docker(*kind, "--quiet", "--filter", label).split()]

    def volumes(self) -> set[str]:
        """What its containers mount, by the names that the engine knows."""
        form = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
        return set(docker("inspect", "--format", form, *self.compose("ps", "--all", "--quiet").split()).split())

    def said(self) -> str:
        done = subprocess.run(["docker", "compose", "logs", "--no-color", "--tail=15"], cwd=REPO, env=self.environ,
                              capture_output=True, text=True, check=False)  # fmt: skip
        return done.stdout


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def until(reached: Callable[[], bool], what: str, state: Callable[[], str], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{state()}"
        time.sleep(1.0)


def missing() -> str:
    """Why this cannot run here, or nothing."""
    if not shutil.which("docker"):
        return "needs Docker"
    done = subprocess.run(["docker", "info", "--format", "{{json .}}"], capture_output=True, text=True, check=False)
    faults = json.loads(done.stdout or "{}").get("ServerErrors") or []
    return f"needs a Docker engine: {faults or done.stderr}" if done.returncode or faults else ""


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found
