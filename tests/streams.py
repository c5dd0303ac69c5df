"""A stream as its users run it: replay, assemble, reconcile as commands, and the processes behind them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.fix_embedded import Cli

PATIENCE = 120.0


@dataclass
class Stream:
    """A month on a topic of its own, assembled into a database of its own; the lake holds the curated month."""

    cli: Cli
    files: Path
    topic: str
    month: str = "2019-03"
    _heard: str = ""

    def replay(self, *options: str) -> None:
        self.cli.run("replay", "yellow", self.month, "--source", str(self.files), "--topic", self.topic, *options)

    def replaying(self, *options: str) -> subprocess.Popen[str]:
        """A replay beside the test."""
        given = ("yellow", self.month, "--source", str(self.files), "--topic", self.topic, *options)
        return self.cli.start("replay", *given)

    def await_sent(self, replay: subprocess.Popen[str], driver: subprocess.Popen[str] | None = None) -> None:
        """A replay beside the test ends well; `driver`, which assembles meanwhile, outlives it."""
        said = replay.communicate(timeout=PATIENCE)
        assert replay.returncode == 0, said
        assert driver is None or driver.poll() is None

    @contextmanager
    def assembling(self, *options: str, workers: int = 2) -> Iterator[subprocess.Popen[str]]:
        """`chillflow assemble` beside the block; it is told to stop at its end, and must end well."""
        running = self.cli.start("assemble", "--topic", self.topic, "--workers", str(workers), *options)
        try:
            yield running
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
            said = running.communicate(timeout=PATIENCE)
            assert running.returncode == 0, said
        finally:
            if running.poll() is None:
                running.kill()
                running.communicate()

    def said(self, running: subprocess.Popen[str]) -> str:
        """What a command that runs has said so far on stderr."""
        assert running.stderr is not None
        os.set_blocking(running.stderr.fileno(), False)
        with suppress(BlockingIOError):
            self._heard += os.read(running.stderr.fileno(), 1 << 16).decode()
        return self._heard

    def finish(self) -> None:
        """All that was sent is settled."""
        self.cli.run("assemble", "--topic", self.topic, "--workers", "2", "--until-caught-up")

    def reconcile(self, code: int = 0) -> str:
        return self.cli.run("reconcile", "yellow", self.month, code=code).stdout

    def settled(self) -> int:
        """Records of all partitions that are settled."""
        return sum(row["next_offset"] for row in self.partitions())

    def owners(self) -> set[str]:
        return {row["owner"] for row in self.partitions() if row["owner"]}

    def owned(self) -> int:
        """Partitions that have an owner."""
        return sum(row["owner"] is not None for row in self.partitions())

    def partitions(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.cli.dsn, autocommit=True) as connection:
            if connection.execute("select to_regclass('chillflow.assembly_partitions')").fetchone() == (None,):
                return []
            cursor = connection.execute(
                "select * from chillflow.assembly_partitions where topic = %s order by partition", (self.topic,)
            )
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def some_assemblers(self) -> list[psutil.Process]:
        """Its assemblers, at least one: those that were killed may not be replaced yet."""
        found: list[psutil.Process] = []
        self.until(lambda: bool(found.extend(self.assemblers()) or found), "an assembler")
        return found

    def assemblers(self) -> list[psutil.Process]:
        """The processes of this stream's assemblers."""
        home = self.cli.env["CHILLFLOW_HOME"]
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            title = " ".join(process.info["cmdline"] or [process.info["name"]])
            if title.startswith("ray::") and "assembler" in title.lower() and is_of(process, home):
                found.append(process)
        return found

    def until(self, reached: Callable[[], bool], what: str, patience: float = PATIENCE) -> float:
        """Waits until it is so; returns how many seconds that took."""
        began = time.monotonic()
        while not reached():
            assert time.monotonic() - began < patience, f"not within {patience} s: {what}\n{self.partitions()}"
            time.sleep(0.02)
        return time.monotonic() - began


def is_of(process: psutil.Process, home: str) -> bool:
    """Whether it belongs to the services of this CHILLFLOW_HOME."""
    try:
        return process.environ().get("CHILLFLOW_HOME") == home or home in json.dumps(process.environ())
    except psutil.Error:
        return False


def curated(new_cli: Callable[[], Cli], folder: Path, rows: int = 40_000, month: str = "2019-03") -> tuple[Path, Path]:
    """A synthetic month and the lake that it was curated into."""
    cli = new_cli()
    files, lake = folder / "months", folder / "lake"
    cli.run("synth", "yellow", month, "--rows", str(rows), "--seed", "11", "--to", str(files))
    cli.given(CHILLFLOW_LAKE=str(lake)).run("curate", "yellow", month, "--source", str(files))
    return files, lake


def new_topic() -> str:
    return "test-" + os.urandom(5).hex()
