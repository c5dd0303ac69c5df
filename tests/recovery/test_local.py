"""The embedded services as processes: killed, left alone, side by side; what `down` leaves is nothing."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from tests.fix_embedded import GIVEN, REPO, Cli
from tests.services import only_embedded

pytestmark = only_embedded
NOT_RAY = {"CHILLFLOW_RAY_ADDRESS": "elsewhere:6379"}
"""Names an external Ray, so that only the quick three are started."""
QUICK = ("postgres", "redis", "kafka")


def at(home: Path, **variables: str) -> Cli:
    env = {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}
    return Cli(env | {"CHILLFLOW_HOME": str(home), "CHILLFLOW_CPUS": "2"} | variables)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """All four services, in a folder with a long name and spaces."""
    cli = at(tmp_path_factory.mktemp("a folder with spaces, and a long name " + "x" * 60))
    try:
        cli.run("up")
        yield cli
    finally:
        cli.run("down")
        assert remains(cli) == []


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Cli]:
    """A folder of its own, not started, without Ray."""
    cli = at(tmp_path / "home", **NOT_RAY)
    yield cli
    cli.run("down")
    assert remains(cli) == []


def state(cli: Cli) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(cli.env["CHILLFLOW_HOME"]) / "state.json").read_text())
    return found


def pids(cli: Cli) -> dict[str, int]:
    return {name: service["leader"]["pid"] for name, service in state(cli)["services"].items()}


def remains(cli: Cli) -> list[str]:
    """The living processes that name the folder in arguments, environment or working folder."""
    home, found = cli.env["CHILLFLOW_HOME"], []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.cwd(), process.environ().get("CHILLFLOW_LOCAL", "")]
            if process.status() != psutil.STATUS_ZOMBIE and any(home in text for text in told):
                found.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return found


def listeners(sessions: set[int]) -> set[str]:
    """The addresses on which processes of these sessions listen."""
    found = set()
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.pid:
            try:
                if os.getsid(connection.pid) in sessions:
                    found.add(connection.laddr.ip.removeprefix("::ffff:"))
            except ProcessLookupError:
                continue
    return found


ELSEWHERE = {
    "CHILLFLOW_POSTGRES_DSN": "postgresql://elsewhere/chillflow",
    "CHILLFLOW_REDIS_URL": "redis://elsewhere",
    "CHILLFLOW_KAFKA_BOOTSTRAP": "elsewhere:9092",
}
"""External services, so that only the Ray head is started."""


def with_token(cli: Cli) -> dict[str, str]:
    """The environment of a driver of the embedded Ray head."""
    return {**cli.env, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": cli.json("status")["ray_token"]}


def await_that(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(*victims: int) -> None:
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    await_that(lambda: not any(alive(pid) for pid in victims))


def test_status_names_what_runs_and_each_answers(whole: Cli) -> None:
    found = json.loads(whole.run("status", "--json").stdout)
    assert {one["service"]: one["state"] for one in found["services"]} == dict.fromkeys((*QUICK, "ray"), "running")
    with psycopg.connect(found["postgres"]) as connection:
        assert connection.execute("select current_database()").fetchone() == ("chillflow",)
    for name in ("kafka", "ray"):
        host, port = found[name].rsplit(":", 1)
        socket.create_connection((host, int(port)), 5).close()
    assert found["redis"].startswith("redis://:")
    assert found["dashboard"].startswith("http://127.0.0.1:")


def test_nothing_listens_beyond_loopback(whole: Cli) -> None:
    assert listeners(set(pids(whole).values())) == {"127.0.0.1"}


def test_what_holds_passwords_or_sockets_is_private(whole: Cli) -> None:
    home = Path(whole.env["CHILLFLOW_HOME"])
    assert (home / "state.json").stat().st_mode & 0o077 == 0
    assert (home / "ray-token").stat().st_mode & 0o077 == 0
    assert Path(state(whole)["short"]).stat().st_mode & 0o077 == 0


def test_a_wrong_password_is_refused(whole: Cli) -> None:
    dsn = json.loads(whole.run("status", "--json").stdout)["postgres"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(psycopg.conninfo.make_conninfo(dsn, password="guess"))


def test_a_driver_joins_at_the_address_that_status_gives(whole: Cli) -> None:
    address = json.loads(whole.run("status", "--json").stdout)["ray"]
    program = (
        "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); "
        "print(ray.cluster_resources()['assembler_slot'])"
    )
    command = [sys.executable, "-c", program, address]
    done = subprocess.run(command, env=with_token(whole), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "8.0"


def test_a_shell_can_be_told_of_the_ray_head(whole: Cli) -> None:
    program = (
        "import ray; ray.init(log_to_driver=False, logging_level='ERROR'); print(ray.get_runtime_context().gcs_address)"
    )
    script = f"eval \"$('{sys.executable}' -m chillflow.cli status --export)\"; '{sys.executable}' -c \"{program}\""
    done = subprocess.run(
        ["sh", "-c", script], env=whole.env, cwd=REPO, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip().rpartition(":")[2] == whole.json("status")["ray"].rpartition(":")[2]


def test_without_the_token_nothing_is_run(whole: Cli) -> None:
    dashboard = whole.json("status")["dashboard"]
    for headers, code in ({}, 401), ({"Authorization": "Bearer guess"}, 403):
        job = {"entrypoint": "true"}
        answer = requests.post(f"{dashboard}/api/jobs/", json=job, headers=headers, timeout=30)
        assert answer.status_code == code


def test_a_second_up_changes_nothing(whole: Cli) -> None:
    before = pids(whole)
    whole.run("up")
    assert pids(whole) == before


@pytest.mark.parametrize("victim", QUICK)
def test_up_replaces_just_the_killed_service(whole: Cli, victim: str) -> None:
    before = pids(whole)
    kill(before[victim])
    whole.run("status", code=1)
    whole.run("up")
    after = pids(whole)
    assert [name for name in before if before[name] != after[name]] == [victim]
    whole.run("status")


def test_after_everything_is_killed_up_recovers_with_the_data(whole: Cli) -> None:
    dsn = json.loads(whole.run("status", "--json").stdout)["postgres"]
    with psycopg.connect(dsn) as connection:
        connection.execute("create table kept as select 42 as answer")
    kill(*pids(whole).values())
    whole.run("up")
    with psycopg.connect(json.loads(whole.run("status", "--json").stdout)["postgres"]) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_data_and_ports_survive_down_and_up(quick: Cli) -> None:
    quick.run("up")
    dsn = json.loads(quick.run("status", "--json").stdout)["postgres"]
    with psycopg.connect(dsn) as connection:
        connection.execute("create table kept as select 42 as answer")
    quick.run("down")
    assert remains(quick) == []
    quick.run("up")
    assert json.loads(quick.run("status", "--json").stdout)["postgres"] == dsn
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_a_taken_port_moves_instead_of_failing(quick: Cli) -> None:
    quick.run("up")
    quick.run("down")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections linger at the port
        other.bind(("127.0.0.1", state(quick)["ports"]))
        other.listen()
        quick.run("up")
        quick.run("status")


def test_two_folders_do_not_disturb_each_other(quick: Cli, tmp_path: Path) -> None:
    other = at(tmp_path / "other", **NOT_RAY)
    quick.run("up")
    try:
        other.run("up")
        before = pids(other)
        quick.run("down")
        other.run("status")
        assert pids(other) == before
    finally:
        other.run("down")
    assert remains(other) == []


def test_two_ups_at_once_start_each_service_once(quick: Cli) -> None:
    both = [quick.start("up"), quick.start("up")]
    for one in both:
        one.communicate(timeout=120)
    assert [one.returncode for one in both] == [0, 0]
    assert sum(" tansu" in line for line in remains(quick)) <= 1
    quick.run("status")


@pytest.mark.parametrize("until", ["lock", "state.json", "logs/postgres.log"])
def test_down_clears_what_a_killed_up_left(quick: Cli, until: str) -> None:
    starting = quick.start("up")
    await_that((Path(quick.env["CHILLFLOW_HOME"]) / until).exists)
    starting.kill()
    starting.communicate()
    quick.run("down")
    assert remains(quick) == []
    quick.run("up")
    quick.run("status")


def test_a_process_that_got_a_dead_services_pid_is_spared(quick: Cli) -> None:
    quick.run("up")
    kill(pids(quick)["kafka"])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        known = state(quick)
        known["services"]["kafka"]["leader"]["pid"] = bystander.pid
        (Path(quick.env["CHILLFLOW_HOME"]) / "state.json").write_text(json.dumps(known))
        quick.run("down")
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_services_run_for_a_user_who_is_not_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("runs as root only: the other tests have been run by a user who is not")
    python = "/usr/bin/python3"
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    account = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        code = Path(folder) / "code"
        shutil.copytree(REPO / "chillflow", code / "chillflow")
        env = NOT_RAY | {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{code}:{packages}"}
        env["CHILLFLOW_HOME"] = f"{folder}/home"

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [python, *command], env=env, cwd=folder, user="nobody", group=account.pw_gid, extra_groups=[],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip

        try:
            usable = run("-c", "import click, msgspec, psutil, chillflow.cli")
        except OSError as error:
            pytest.skip(f"`nobody` cannot run {python} here: {error}")
        if usable.returncode:
            pytest.skip(f"`nobody` cannot use this installation: {usable.stderr.strip().splitlines()[-1]}")
        try:
            started = run("-m", "chillflow.cli", "up")
            assert started.returncode == 0, started.stderr
            assert run("-m", "chillflow.cli", "status").returncode == 0
        finally:
            ended = run("-m", "chillflow.cli", "down")
        assert ended.returncode == 0, ended.stderr
        assert remains(at(Path(folder) / "home")) == []


def test_a_ray_head_whose_node_died_is_replaced(tmp_path: Path) -> None:
    cli = at(tmp_path / "home", **ELSEWHERE)
    try:
        cli.run("up")
        head = psutil.Process(pids(cli)["ray"])
        next(child for child in head.children(recursive=True) if child.name() == "raylet").kill()
        await_that(lambda: cli.run("status", code=None).returncode == 1)
        cli.run("up")
        cli.run("status")
    finally:
        cli.run("down")
    assert remains(cli) == []


def test_ray_runs_from_an_environment_whose_path_has_a_space(tmp_path: Path) -> None:
    spaced = tmp_path / "a virtual environment"
    spaced.symlink_to(sys.prefix)
    cli = at(tmp_path / "home", **ELSEWHERE)
    command = [str(spaced / "bin" / "python"), "-m", "chillflow.cli", "up"]
    try:
        subprocess.run(command, env=cli.env, cwd=REPO, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        address = cli.json("status")["ray"]
        task = "import ray, sys; ray.init(address=sys.argv[1]); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
        done = subprocess.run(
            [sys.executable, "-c", task, address],
            env=with_token(cli),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == "42"
    finally:
        cli.run("down")


def silent_while_stopped(cli: Cli, victim: int) -> list[str]:
    """The services that `status` says do not answer while the process is stopped."""
    os.kill(victim, signal.SIGSTOP)
    try:
        said = json.loads(cli.run("status", "--json", code=1).stdout)["services"]
    finally:
        os.kill(victim, signal.SIGCONT)
    return [one["service"] for one in said if one["state"] == "silent"]


def test_a_service_that_hangs_is_not_said_to_run(quick: Cli) -> None:
    quick.run("up")
    for name, pid in pids(quick).items():
        assert silent_while_stopped(quick, pid) == [name]
    quick.run("status")


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_ray_head_of_which_a_part_hangs_is_not_said_to_run(whole: Cli, part: str) -> None:
    head = psutil.Process(pids(whole)["ray"])
    victim = next(child for child in head.children(recursive=True) if child.name() == part)
    assert silent_while_stopped(whole, victim.pid) == ["ray"]
    whole.run("status")


@pytest.mark.parametrize("content", [None, b"{"], ids=["lost", "damaged"])
def test_data_without_the_password_that_opens_them_are_not_begun_anew(quick: Cli, content: bytes | None) -> None:
    quick.run("up")
    file = Path(quick.env["CHILLFLOW_HOME"]) / "state.json"
    kept = file.read_bytes()
    file.unlink() if content is None else file.write_bytes(content)
    for command, code in (("up", 1), ("status", 1), ("down", 0)):
        assert "state.json: it is" in quick.run(command, code=code).stderr
    assert remains(quick) == []
    file.write_bytes(kept)
    quick.run("up")
    quick.run("status")


def test_data_that_another_postgresql_uses_are_left_to_it(quick: Cli, tmp_path: Path) -> None:
    only = quick.given(CHILLFLOW_REDIS_URL="elsewhere", CHILLFLOW_KAFKA_BOOTSTRAP="elsewhere")
    only.run("up")
    running = pids(only)["postgres"]
    lock = Path(only.env["CHILLFLOW_HOME"]) / "postgres" / "postmaster.pid"
    known = state(only)
    (Path(only.env["CHILLFLOW_HOME"]) / "state.json").write_text(json.dumps(known | {"services": {}}))
    alias = tmp_path / "another name, so that processes are not known by it"
    alias.symlink_to(only.env["CHILLFLOW_HOME"])
    only = only.given(CHILLFLOW_HOME=str(alias))
    try:
        assert f"process {running}" in only.run("up", code=1).stderr
        assert lock.exists()
    finally:
        (Path(only.env["CHILLFLOW_HOME"]) / "state.json").write_text(json.dumps(known))
