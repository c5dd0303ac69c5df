"""A namespace of a real Kubernetes cluster, as kubectl shows it: that of the current context."""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
OVERLAYS = REPO / "kuberay" / "overlays"
NAMESPACE = "chillflow"
PATIENCE = 600.0
LOAD = "CHILLFLOW_IMAGE_LOAD"


def kubectl(*arguments: str, given: str | None = None, code: int | None = 0, timeout: float = PATIENCE) -> str:
    """Runs kubectl in the namespace; returns what it says on stdout, and on stderr where it is to fail."""
    done = subprocess.run(
        ["kubectl", f"--namespace={NAMESPACE}", *arguments],
        input=given, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert code in (None, done.returncode), f"kubectl {shlex.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A kubectl that goes on meanwhile, and is ended where it has not."""
    with subprocess.Popen(["kubectl", f"--namespace={NAMESPACE}", *arguments], stdout=subprocess.PIPE, text=True) as it:
        try:
            yield it
        finally:
            it.terminate()


def get(*arguments: str) -> Any:
    return json.loads(kubectl("get", *arguments, "--output=json"))


def items(kind: str, **labels: str) -> list[Any]:
    selector = ",".join(f"{name.replace('__', '/')}={value}" for name, value in labels.items())
    return list(get(kind, f"--selector={selector}")["items"])


def apply(*manifests: Any) -> None:
    kubectl("apply", "--filename=-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))


def build(folder: str | Path) -> str:
    return subprocess.run(
        ["kubectl", "kustomize", str(OVERLAYS / folder)], capture_output=True, text=True, timeout=120, check=True
    ).stdout


def until(reached: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
    """Waits until it is so; returns how many seconds that took."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}\n{state()}"
        time.sleep(1.0)
    return time.monotonic() - began


def state() -> str:
    events = kubectl("get", "events", "--sort-by=.lastTimestamp", code=None).splitlines()[-30:]
    return "\n".join([kubectl("get", "pods,rayjobs,rayclusters,jobs", "--output=wide", code=None), *events])


def pods(group: str) -> list[Any]:
    """The pods of a group of the Ray cluster that nobody deletes."""
    found = [*get("pods", f"--selector=ray.io/cluster=chillflow,ray.io/group={group}")["items"]]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] != "Failed"]


def ready(pod: Any) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def names(found: list[Any]) -> set[str]:
    return {one["metadata"]["name"] for one in found}


def head() -> str:
    (pod,) = pods("headgroup")
    return str(pod["metadata"]["name"])


def on_head(*command: str, code: int | None = 0, timeout: float = PATIENCE) -> str:
    return kubectl("exec", head(), "--container=ray-head", "--", *command, code=code, timeout=timeout)


def job_status(name: str) -> Any:
    return get("rayjob", name).get("status", {})


def logs_of_job(name: str) -> str:
    """The log of a RayJob as its submitter followed it; its latest one, where there were several."""
    found = get("pods", f"--selector=job-name={name}")["items"]
    latest = max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return kubectl("logs", latest["metadata"]["name"], "--all-containers", code=None)


def remove(kind: str, name: str) -> None:
    kubectl("delete", kind, name, "--ignore-not-found", "--wait=true", "--timeout=180s")


@contextmanager
def forwarded(target: str, port: int) -> Iterator[int]:
    """A port on loopback that leads to a service in the cluster."""
    with started("port-forward", target, f":{port}") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert "127.0.0.1:" in said, said
        yield int(said.split("127.0.0.1:")[1].split()[0])


def bring(image: str, folder: Path, name: str = "") -> None:
    """Brings an image of the local engine to the nodes, under another name if one is given."""
    load = os.environ.get(LOAD)
    if not load:
        return
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode:
        subprocess.run(["docker", "pull", "--quiet", image], check=True)
    if name:
        subprocess.run(["docker", "tag", image, name], check=True)
    archive = folder / "image.tar"
    subprocess.run(["docker", "save", "--output", str(archive), name or image], check=True)
    loaded = subprocess.run([*shlex.split(load), str(archive)], capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, f"{load}: {loaded.stdout}{loaded.stderr}"
    archive.unlink()


def missing() -> str | None:
    """Why these tests cannot run here."""
    if not os.environ.get("CHILLFLOW_TEST_KUBERNETES"):
        return "`make test-k8s` runs these, on the cluster of kubectl's current context"
    if not shutil.which("kubectl"):
        return "needs kubectl"
    return None


def keep() -> bool:
    return os.environ.get("CHILLFLOW_TEST_KUBERNETES") == "keep"
