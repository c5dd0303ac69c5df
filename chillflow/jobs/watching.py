"""Watching a replay: its place is noted every second, and said now and then."""

import threading
import time
from types import TracebackType
from typing import Self

from chillflow.errors import ChillFlowError, ServiceDown
from chillflow.jobs.sending import LAST_WAIT, Progress, Stalls
from chillflow.progress import Reporter
from chillflow.stores.eventlog import Config, KafkaReader
from chillflow.stores.replays import Replay, Replays

NOTE_EVERY = 1.0
SAY_EVERY = 10.0


class Watch:
    """A thread of its own, which alone uses `replays` inside the block."""

    def __init__(
        self, label: str, replay: Replay, progress: Progress, replays: Replays, config: Config, reporter: Reporter
    ) -> None:
        self._label, self._replay, self._progress, self._replays = label, replay, progress, replays
        self._config, self._reporter = config, reporter
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._away = False
        self._before: int | None = None
        self._shown = progress.acknowledged

    def __enter__(self) -> Self:
        self._reporter.begin(self._label, "replay", self._progress.total, quiet=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(None if error is None else LAST_WAIT)
        self._reporter.end(self._label)

    @property
    def over(self) -> bool:
        """Whether the thread has ended: it has not where PostgreSQL does not answer it, and nobody could wait."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        stalls = Stalls(self._reporter.say, f"Kafka at {self._config.get('bootstrap.servers')}")
        said, said_at = time.monotonic(), self._progress.acknowledged
        self._look_at_backlog()
        while not self._over.wait(NOTE_EVERY):
            now, at = time.monotonic(), self._progress.acknowledged
            self._note(at)
            self._reporter.advance(self._label, at - self._shown)
            self._shown = at
            stalls.look(at, now, waiting=self._progress.sent > at)
            if now - said >= SAY_EVERY and at > said_at:
                self._say(at, (at - said_at) / (now - said))
                said, said_at = now, at

    def _note(self, at: int) -> None:
        try:
            self._replays.note(self._replay.id, at)
        except ChillFlowError as error:
            if not self._away:
                self._reporter.say(f"{error}; the replay goes on, its place is noted once that is over")
            self._away = True
            return
        if self._away:
            self._reporter.say(f"PostgreSQL at {self._replays.address} is back")
            self._away = False

    def _say(self, at: int, rate: float) -> None:
        share = 100 * at / self._progress.total
        lag = self._lag(at)
        text = f"{self._label}: {at:,} of {self._progress.total:,} events ({share:.1f} %), {rate:,.0f}/s"
        self._reporter.say(text if lag is None else f"{text}, lag about {lag:,}")

    def _look_at_backlog(self) -> None:
        """Where a group assembles the topic: how many records lie in it that this replay has not sent."""
        topic = self._replay.topic
        try:
            if not self._replays.settled(topic)[1]:
                return
            reader = KafkaReader(self._config, topic.name)
            try:
                ends, before = 0, self._progress.acknowledged
                for partition in range(topic.partitions):
                    if self._over.is_set():
                        return
                    ends += reader.range(partition)[1]
            finally:
                reader.close()
        except ChillFlowError:
            return
        self._before = ends - (before + self._progress.acknowledged) // 2  # the ends grew while they were read

    def _lag(self, at: int) -> int | None:
        try:
            settled, partitions = self._replays.settled(self._replay.topic)
        except ServiceDown:
            return None
        if not partitions:
            return None
        if self._before is None:
            self._look_at_backlog()
        return None if self._before is None else max(0, self._before + at - settled)
