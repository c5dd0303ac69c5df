"""`up` over services that an earlier one left: made of plain processes, so that the moment can be chosen."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from chillflow import local
from chillflow.errors import FolderUnwritable, HomeUnusable, ServiceFailed
from chillflow.local import postgres, processes, ray_head
from chillflow.local.state import Home, Process
from tests.services import only_embedded

pytestmark = only_embedded
POSTGRES = frozenset(["postgres"])
PARENT = """
import signal, subprocess, sys
child = None
def bear(*_):
    global child
    child = subprocess.Popen([sys.executable, "-c", "import time; print('born', flush=True); time.sleep(60)"])
signal.signal(signal.SIGUSR1, bear)
print("ready", flush=True)
while True:
    signal.pause()
    if child:
        print("ended with", child.wait(), flush=True)
"""
Start = Callable[[Home, Mapping[str, str]], Process]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    if (tmp_path / "home" / "state.json").is_file():
        local.down(tmp_path / "home", quiet)


def quiet(_: str) -> None:
    pass


def running(program: str) -> Start:
    def start(at: Home, env: Mapping[str, str]) -> Process:
        return processes.spawn([sys.executable, "-c", program], at.log("postgres"), env, at.folder)

    return start


def await_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def test_a_service_that_was_never_ready_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Process] = []

    def await_server(at: Home, process: Process, env: Mapping[str, str]) -> None:
        asked.append(process)
        if len(asked) == 1:
            raise ServiceFailed("PostgreSQL", "the command was interrupted", "", "")

    monkeypatch.setattr(postgres, "start", running("import time; time.sleep(60)"))
    monkeypatch.setattr(postgres, "await_server", await_server)
    with pytest.raises(ServiceFailed):
        local.up(home, 1, POSTGRES, os.environ, quiet)
    said: list[str] = []
    local.up(home, 1, POSTGRES, os.environ, said.append)
    assert asked == [asked[0]] * 2
    assert said[0].startswith("postgres: runs already at ")


@pytest.mark.parametrize(("said", "starts"), [("The node timed out during startup.", 3), ("No such option", 1)])
def test_a_ray_head_whose_node_was_late_is_started_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: str, starts: int
) -> None:
    started: list[Process] = []

    def start(at: Home, env: Mapping[str, str], cpus: int) -> Process:
        program = "print(sys.argv[1]); raise SystemExit('its last words')" if len(started) < 2 else "time.sleep(60)"
        command = [sys.executable, "-c", f"import sys, time; {program}", said]
        started.append(processes.spawn(command, at.log("ray"), env, at.folder))
        return started[-1]

    def await_head(at: Home, process: Process) -> None:
        processes.await_ready("Ray", process, at.log("ray"), lambda: len(started) == 3, 20)

    monkeypatch.setattr(ray_head, "start", start)
    monkeypatch.setattr(ray_head, "await_head", await_head)
    monkeypatch.setattr(ray_head, "node_answers", lambda at: True)
    with nullcontext() if starts == 3 else pytest.raises(ServiceFailed, match="its last words"):
        local.up(home, 1, frozenset(["ray"]), os.environ, quiet)
    assert len(started) == starts
    assert [processes.alive(process) for process in started] == ([False, False, True] if starts == 3 else [False])


def test_what_a_healthy_service_starts_meanwhile_is_spared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = home / "logs" / "postgres.log"
    monkeypatch.setattr(postgres, "start", running(PARENT))
    monkeypatch.setattr(postgres, "await_server", lambda at, process, env: await_text(log, "ready"))
    local.up(home, 1, POSTGRES, os.environ, quiet)
    leader = Home(home).state.services["postgres"].leader

    def bear() -> None:
        if "born" not in log.read_text():
            os.kill(leader.pid, signal.SIGUSR1)
            await_text(log, "born")

    marked, family = processes.marked, processes.family
    looks: list[str] = []

    def watched_marked(name: str, value: str) -> list[Process]:
        looks.append("marked")
        if looks.count("family"):
            bear()
        return marked(name, value)

    def watched_family(of: Process) -> list[Process]:
        looks.append("family")
        found = family(of)
        bear()
        return found

    monkeypatch.setattr(processes, "marked", watched_marked)
    monkeypatch.setattr(processes, "family", watched_family)
    local.up(home, 1, POSTGRES, os.environ, quiet)
    monkeypatch.undo()
    assert {"marked", "family"} <= set(looks)
    assert [child for child in processes.family(leader) if processes.alive(child)]
    assert "ended with" not in log.read_text()


@pytest.mark.parametrize("content", [None, b"not JSON"], ids=["lost", "damaged"])
def test_without_its_state_a_folder_with_data_is_refused(home: Path, content: bytes | None) -> None:
    (home / "postgres").mkdir(parents=True)
    if content is not None:
        (home / "state.json").write_bytes(content)
    for command in (local.addresses, local.status):
        with pytest.raises(HomeUnusable, match=r"state\.json: it is .*; put it back"):
            command(home)
    with pytest.raises(HomeUnusable):
        local.up(home, 1, POSTGRES, os.environ, quiet)
    assert (home / "state.json").exists() == (content is not None)
    said: list[str] = []
    local.down(home, said.append)
    assert said[0].startswith("all that ran is stopped, but cannot use ")


def test_a_state_that_cannot_be_read_or_written_ends_in_a_sentence(home: Path) -> None:
    (home / "state.json").mkdir(parents=True)
    with pytest.raises(HomeUnusable, match="Is a directory; give this user the right"):
        local.addresses(home)
    (home / "state.json").rmdir()
    (home / "state.new").mkdir()
    with pytest.raises(FolderUnwritable, match=r"cannot write .*state\.json: Is a directory"):
        local.up(home, 1, POSTGRES, os.environ, quiet)
