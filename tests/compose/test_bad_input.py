"""What is wrong is the last line of a container's log, and the container ends."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.stack import Stack, docker, missing

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    if why := missing():
        pytest.skip(why)
    made = Stack(tmp_path, f"chillflow-bad-{os.getpid()}")
    yield made
    made.down()
    assert made.left() == []


def last_line(stack: Stack, service: str, *options: str, command: tuple[str, ...] = ()) -> str:
    """What the service's container said last; it has to end by itself, with exit code 1 or 2."""
    ran = ["docker", "compose", "run", "--rm", "--no-deps", "--no-TTY", *options, service, *command]
    done = subprocess.run(ran, env=stack.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=600, check=False)  # fmt: skip
    assert done.returncode in (1, 2), done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-1]


def test_a_secret_that_is_missing(stack: Stack) -> None:
    (stack.secrets / "ray_token").unlink()
    said = stack.compose("up", "--detach", "--wait", code=1)
    assert str(stack.secrets / "ray_token") in said


@pytest.mark.parametrize(
    ("secret", "service", "sentence"),
    [
        ("ray_token", "ray-head", "ray-node: /run/secrets/ray_token is empty; it is to hold the cluster's token"),
        ("redis_password", "valkey", "the secret redis_password is empty: run make secrets"),
        (
            "postgres_dsn",
            "migrate",
            "CHILLFLOW_POSTGRES_DSN_FILE is '/run/secrets/postgres_dsn'; set it to",
        ),
    ],
)
def test_a_secret_that_is_empty(stack: Stack, secret: str, service: str, sentence: str) -> None:
    (stack.secrets / secret).write_text("")
    assert sentence in last_line(stack, service)


def test_a_database_that_is_not_there(stack: Stack) -> None:
    migrate = ("python", "-m", "chillflow.jobs.migrate")
    assert "PostgreSQL at postgres" in last_line(stack, "migrate", command=migrate)


def test_a_head_that_is_not_there(stack: Stack) -> None:
    said = last_line(stack, "ray-worker", "--env=RAY_NODE_PATIENCE=1")
    assert "the Ray head does not answer at ray-head:6379" in said


def test_too_little_memory(stack: Stack) -> None:
    stack.environ["CHILLFLOW_WORKER_MEMORY"] = "512m"
    said = last_line(stack, "ray-worker")
    assert "this container may use 512 MiB, but a node of 1 CPUs and 256 MiB of object store needs 1536 MiB" in said


def test_an_image_that_does_not_exist(stack: Stack) -> None:
    stack.environ["CHILLFLOW_IMAGE"] = "localhost:1/chillflow:nope"
    said = stack.compose("up", "--detach", "--wait", code=1)
    assert "localhost:1" in said
    assert not stack.containers("ray-head") or docker("ps", "--quiet", "--filter", f"name={stack.name}-ray") == ""
