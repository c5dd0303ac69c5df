"""Brokers for tests: the embedded ones without the rest of `chillflow up`, and Apache Kafka where there is one.

Or those of containers (tests/fix_containers.py).

CHILLFLOW_TEST_KAFKA names a script that controls a broker: `start PORT DIR`, `stop DIR`, `kill DIR`. Lines of
KAFKA_PROPERTIES are added to its server.properties. One broker is started for a session, and ended with it.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from chillflow.errors import ServiceDown, TopicMissing
from chillflow.local import brokers
from chillflow.local.ports import free_block, is_free
from chillflow.local.processes import end
from chillflow.local.state import Home, Process, Service
from chillflow.stores.eventlog import describe
from tests.services import contained

_WATCH = """
import subprocess, sys
sys.stdin.read()
subprocess.run([sys.argv[1], "kill", sys.argv[2]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""


@dataclass
class Kafka:
    """An Apache Kafka that can be ended and started again on the same port, with what it had."""

    script: str
    folder: Path
    port: int
    properties: str = ""
    _watch: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def config(self) -> dict[str, str]:
        return {"bootstrap.servers": self.address}

    def start(self) -> None:
        """Returns once it answers; skips the test where it cannot be installed here."""
        if self._watch is None:
            self._watch = subprocess.Popen(
                [sys.executable, "-c", _WATCH, self.script, str(self.folder)],
                stdin=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        done = self._run("start", str(self.port), str(self.folder))
        if done.returncode:
            why = (done.stderr or done.stdout).strip().splitlines()
            pytest.skip(f"{self.script} cannot start Apache Kafka here: {why[-1] if why else done.returncode}")
        await_answer(self.config)

    def stop(self) -> None:
        self._run("stop", str(self.folder))

    def kill(self) -> None:
        self._run("kill", str(self.folder))

    def process(self) -> psutil.Process:
        """The broker's, for signals."""
        settings = str(self.folder / "server.properties")
        [found] = [one for one in psutil.process_iter(["cmdline"]) if settings in (one.info["cmdline"] or ())]
        return found

    def close(self) -> None:
        """Ends the broker, frozen or not, and who would end it if the tests were killed."""
        self.kill()
        if self._watch is not None and self._watch.stdin is not None:
            self._watch.stdin.close()
            self._watch.wait(90)
            self._watch = None

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        env = os.environ | {"KAFKA_PROPERTIES": self.properties, "KAFKA_HEAP": "384m", "KAFKA_START_TIMEOUT": "180"}
        log = self.folder.with_suffix(".said")
        with log.open("w+") as said:  # not a pipe: the broker would keep it open
            done = subprocess.run(
                [self.script, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=280,
                check=False,
            )  # fmt: skip
        return subprocess.CompletedProcess(done.args, done.returncode, log.read_text(), "")


def await_answer(config: dict[str, str], patience: float = 120.0) -> None:
    """Waits for the broker's first answer, which takes long on a busy machine."""
    deadline = time.monotonic() + patience
    while True:
        try:
            describe(config, "nobody-made-this")
        except TopicMissing:
            return
        except ServiceDown:
            if time.monotonic() > deadline:
                raise


def kafka_script() -> str:
    """The control script; skips the test without one."""
    script = os.environ.get("CHILLFLOW_TEST_KAFKA")
    if not script:
        pytest.skip("needs Apache Kafka: set CHILLFLOW_TEST_KAFKA to a script that controls it (docs/settings.md)")
    return script


def two_ports() -> int:
    """A free port whose successor, the controller's, is free too."""
    ports = list(range(20_000, 32_000, 2))
    random.shuffle(ports)
    return next(port for port in ports if is_free(port) and is_free(port + 1))


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The session's Apache Kafka."""
    if contained():
        yield request.getfixturevalue("contained_kafka")
        return
    broker = Kafka(kafka_script(), tmp_path_factory.mktemp("kafka") / "broker", two_ports())
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@dataclass(frozen=True)
class Embedded:
    """The embedded broker and Valkey by themselves: where they are."""

    kafka: str
    redis: str

    @property
    def config(self) -> dict[str, str]:
        return {"bootstrap.servers": self.kafka}

    def process(self) -> psutil.Process:
        """The broker's, for signals."""
        address = f"--listener-url=tcp://{self.kafka}"
        [found] = [one for one in psutil.process_iter(["cmdline"]) if address in (one.info["cmdline"] or ())]
        return found


@pytest.fixture(scope="session")
def embedded_brokers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    if contained():
        kafka = request.getfixturevalue("contained_kafka").address
        yield Embedded(kafka, request.getfixturevalue("contained_redis"))
        return
    home = Home(tmp_path_factory.mktemp("brokers"))
    (home.folder / "logs").mkdir()
    home.state.ports = free_block(0)
    started: list[Process] = []
    try:
        started.append(brokers.start_broker(home, os.environ))
        started.append(brokers.start_valkey(home, os.environ))
        brokers.await_broker(home, started[0])
        brokers.await_valkey(home, started[1])
        yield Embedded(brokers.kafka_bootstrap(home), brokers.redis_url(home))
    finally:
        for process in started:
            end(Service(process), signal.SIGTERM, 5.0)
