"""`chillflow submit` and `chillflow jobs` on the embedded Ray head, with its job server and its token."""

import http.server
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fix_embedded import REPO, Cli

SERVICE, MONTHS = "green", ("2014-05", "2014-06")
TOGETHER = ["submit", "--detach", "assemble", "--group", "submitted", "--topic", "never-made"]
"""A job that goes on until it is stopped: it waits for its topic."""


def await_that(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def job(cli: Cli, job_id: str) -> dict[str, Any]:
    return next(one for one in cli.json("jobs") if one["id"] == job_id)


def driver(job_id: str) -> int | None:
    """The pid of a job's Python."""
    for process in psutil.process_iter():
        try:
            told = process.environ().get("RAY_JOB_CONFIG_JSON_ENV_VAR", "")
            if f'"{job_id}"' in told and "chillflow.jobs.assemble" in process.cmdline() and "python" in process.name():
                return process.pid
        except (psutil.Error, OSError):
            continue
    return None


def line(process: subprocess.Popen[str], told: str) -> str:
    """The first line of a process's log that says this."""
    assert process.stdout is not None
    for text in process.stdout:
        if told in text:
            return text
    raise AssertionError(f"it ended and did not say {told!r}: {process.stderr and process.stderr.read()}")


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory, embedded: Cli) -> Path:
    folder = tmp_path_factory.mktemp("submitted") / "months"
    embedded.run("synth", SERVICE, f"{MONTHS[0]}..{MONTHS[1]}", "--rows", "2000", "--seed", "3", "--to", str(folder))
    return folder


@pytest.fixture
def waiting(embedded: Cli) -> str:
    """The id of a job that runs, submitted unless it does already; tests may end it."""
    return embedded.run(*TOGETHER).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def nothing_left(embedded: Cli) -> Iterator[None]:
    yield
    for one in embedded.json("jobs"):
        if one["status"] == "RUNNING":
            embedded.run("jobs", "stop", one["id"])


@pytest.mark.timeout(900)
def test_jobs_run_submitted_and_find_their_services(embedded: Cli, months: Path) -> None:
    """One story: a month by file, the next one as events; the rows of both are there."""
    first, second = ([SERVICE, month] for month in MONTHS)
    source = ["--source", os.path.relpath(months, REPO)]
    story = [
        ["backfill", *first, *source], ["curate", *second, *source], ["replay", *second, *source],
        ["assemble", "--until-caught-up"], ["reconcile", *second],
    ]  # fmt: skip
    said = ["".join(embedded.run("submit", *command).stdout) for command in story]
    assert re.search(r"trips added, 0 replaced", said[0])
    assert re.search(r"no differences in [\d,]+ rows", said[-1])
    ran = [one for one in embedded.json("jobs") if one["group"] != "submitted"]
    assert [one["job"] for one in reversed(ran)] == [command[0] for command in story]
    assert {(one["status"], one["exit_code"]) for one in ran} == {("SUCCEEDED", 0)}
    assert ran[-1]["what"] == f"backfill {SERVICE} {MONTHS[0]}"
    assert ran[-1]["about"] == f"{SERVICE} {MONTHS[0]}"
    assert next(one["group"] for one in ran if one["job"] == "assemble") == "chillflow"


def test_the_exit_code_is_the_jobs_own(embedded: Cli) -> None:
    """The month is not loaded: the log's last line tells why."""
    done = embedded.run("submit", "aggregate", SERVICE, "2015-01", code=1)
    assert "load it first" in done.stdout
    assert "ended with exit code 1, as its last line says" in done.stderr


def test_a_second_submit_finds_the_job_that_runs(embedded: Cli, waiting: str) -> None:
    again = embedded.run(*TOGETHER[:1], *TOGETHER[2:], "--detach")
    assert again.stdout.strip() == waiting
    assert "runs already" in again.stderr
    other = embedded.run(*TOGETHER, "--workers", "2", code=1)
    assert f"group submitted is assembled by the job {waiting} already" in other.stderr
    assert job(embedded, waiting)["status"] in ("PENDING", "RUNNING")


def test_a_follower_that_is_interrupted_leaves_the_job_alone(embedded: Cli, waiting: str) -> None:
    follower = embedded.start("jobs", "follow", waiting)
    line(follower, "waiting for it")
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=90)
    assert follower.returncode == 1
    assert f"job {waiting} goes on, not followed any longer" in said
    assert job(embedded, waiting)["status"] == "RUNNING"


class Wire:
    """A TCP relay that can be cut."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.whole = True
        self.accepted = 0
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self) -> None:
        self.whole = False
        for one in self._open[1:]:
            self._shut(one)

    def close(self) -> None:
        for one in self._open:
            self._shut(one)
            one.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.whole:
                client.close()
                continue
            self.accepted += 1
            server = socket.create_connection(self._server)
            self._open += [client, server]
            for one, other in (client, server), (server, client):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        self._shut(other)

    @staticmethod
    def _shut(one: socket.socket) -> None:
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def test_a_lost_connection_is_made_again_and_a_stopped_job_is_no_success(embedded: Cli, waiting: str) -> None:
    """What was told before the connection was lost is not told again."""
    status = embedded.json("status")
    wire = Wire(status["dashboard"])
    far = embedded.given(
        CHILLFLOW_RAY_DASHBOARD=wire.address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=status["ray_token"]
    )
    follower = far.start("jobs", "follow", waiting)
    line(follower, "waiting for it")
    wire.cut()
    before = wire.accepted
    wire.whole = True
    await_that(lambda: wire.accepted > before)
    assert f"{waiting}: STOPPED" in embedded.run("jobs", "stop", waiting).stderr
    rest, said = follower.communicate(timeout=90)
    assert follower.returncode == 1
    assert f"job {waiting} was stopped" in said
    assert "waiting for it" not in rest
    wire.close()
    assert embedded.run("jobs", "stop", waiting).stderr == f"{waiting}: STOPPED\n"


def test_on_a_terminal_it_is_asked_whether_to_stop_the_job(embedded: Cli, waiting: str) -> None:
    """It is the second attempt: the first was stopped."""
    assert waiting.endswith("-2")
    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "chillflow.cli", "jobs", "follow", waiting]
    follower = subprocess.Popen(
        command, env=embedded.env, cwd=REPO, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line(follower, "waiting for it")
    os.write(terminal, b"y\n")
    follower.send_signal(signal.SIGINT)
    _, said = follower.communicate(timeout=90)
    assert f"stop the job {waiting}?" in said
    assert f"job {waiting} was stopped" in said
    os.close(terminal)
    os.close(inside)


def test_a_driver_that_is_killed_is_a_failure(embedded: Cli, waiting: str) -> None:
    assert waiting.endswith("-3")
    follower = embedded.start("jobs", "follow", waiting)
    line(follower, "waiting for it")
    os.kill(await_that(lambda: driver(waiting)), signal.SIGKILL)
    _, said = follower.communicate(timeout=90)
    assert follower.returncode == 1
    assert f"job {waiting} was killed by SIGKILL" in said


def test_without_the_right_token_a_sentence_says_so(embedded: Cli) -> None:
    dashboard = embedded.json("status")["dashboard"].replace("127.0.0.1", "localhost")
    far = embedded.given(CHILLFLOW_RAY_DASHBOARD=dashboard, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="guess")
    said = far.run("jobs", code=1).stderr
    assert said.startswith(f"chillflow: the Ray cluster at {dashboard} refuses: ")
    assert "RAY_AUTH_TOKEN" in said
    assert said.count("\n") == 1


def test_other_versions_are_refused_in_a_sentence(embedded: Cli) -> None:
    class Old(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            answer = {"version": "4", "ray_version": "2.9.0", "ray_commit": "", "session_name": ""}
            self.wfile.write(json.dumps([] if "jobs" in self.path else answer).encode())

        def log_message(self, format: str, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        old = f"http://127.0.0.1:{server.server_port}"
        said = embedded.given(CHILLFLOW_RAY_DASHBOARD=old).run("submit", "redrive", code=1).stderr
        server.shutdown()
    assert f"the cluster at {old} runs Ray 2.9.0, this is Ray " in said


def test_jobs_of_others_are_followed_with_their_own_exit_codes(embedded: Cli) -> None:
    """Submitted by Ray's own command: one of another version, and one that is none of ChillFlow's."""
    exported = embedded.run("status", "--export").stdout
    script = (
        f"{exported}\nray() {{ '{sys.executable}' -m ray.scripts.scripts job submit --no-wait \"$@\"; }}\n"
        """ray --submission-id old --metadata-json '{"chillflow": "0.0.1"}' -- python -m chillflow.jobs.redrive\n"""
        "ray --submission-id differ -- exit 3\n"
    )
    subprocess.run(["sh", "-ec", script], env=embedded.env, check=True, capture_output=True, timeout=120)
    assert "submitted by ChillFlow 0.0.1" in embedded.run("jobs", "follow", "old", code=1).stdout
    assert "ended with exit code 3" in embedded.run("jobs", "follow", "differ", code=3).stderr


def test_an_unknown_job_is_wrong_usage(embedded: Cli) -> None:
    assert "knows no job nobody" in embedded.run("jobs", "follow", "nobody", code=2).stderr
