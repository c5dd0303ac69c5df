"""Sending: staged events to the log in their order, at a pace, from where an earlier run stopped."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import polars as pl

from chillflow.clock import Clock
from chillflow.errors import ServiceDown
from chillflow.stores.copying import ahead
from chillflow.stores.protocols import LogWriter

AT_ONCE = 16_384
"""Events handed to the producer at a time."""

LAST_WAIT = 1.5
"""Seconds in which an interrupted replay learns what was acknowledged: Ray kills a job 3 s after it is told to stop."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
STALLED = 5.0
_TICK = 0.02

Say = Callable[[str], None]
Pieces = Callable[[int], Iterator[pl.DataFrame]]
"""The events in their order, from a number on."""

Times = np.ndarray[tuple[int], np.dtype[np.int64]]
Result = TypeVar("Result")


class Interrupted(BaseException):
    """SIGINT or SIGTERM."""


@dataclass
class Progress:
    """How far a replay is: all events before number `acknowledged` are at the broker, none from `sent` on."""

    total: int
    acknowledged: int
    sent: int = field(init=False)
    begun_at: int = field(init=False)

    def __post_init__(self) -> None:
        self.begun_at = self.sent = self.acknowledged


@dataclass
class Pace:
    """When events are due: `speed` seconds of event time a second; None is as fast as can be."""

    clock: Clock
    speed: float | None
    _origin: tuple[float, int] | None = None

    def slices(self, times: Times) -> Iterator[tuple[int, int]]:
        """Parts of the events, begin and end, each when it is due; empty ones while none is."""
        at = 0
        while at < len(times):
            due = min(at + AT_ONCE, len(times))
            if self.speed is not None:
                due = min(due, self._due(times, self.speed))
            yield at, due
            if due == at:
                self.clock.pause(_TICK)
            at = due

    def _due(self, times: Times, speed: float) -> int:
        now = self.clock.monotonic()
        if self._origin is None:
            self._origin = now, int(times[0])
        began, first = self._origin
        return int(np.searchsorted(times, first + (now - began) * speed * 1e6, side="right"))


def send(
    pieces: Pieces,
    progress: Progress,
    open_writer: Callable[[], LogWriter],
    pace: Pace,
    await_broker: Callable[[ServiceDown], None],
) -> None:
    """Sends the events from `progress.acknowledged` on, and keeps it up to date.

    Where the broker is away for long, begins again at the first event that it has not acknowledged, after
    `await_broker`: nothing is left out, some events are sent twice.
    """
    while progress.acknowledged < progress.total:
        try:
            _send_from(progress.acknowledged, pieces, progress, open_writer(), pace)
        except ServiceDown as error:
            await_broker(error)


def _send_from(start: int, pieces: Pieces, progress: Progress, writer: LogWriter, pace: Pace) -> None:
    at = start

    def learn() -> None:
        progress.acknowledged = max(progress.acknowledged, writer.acknowledged())

    try:
        with closing(ahead(_encoded(pieces(start)))) as batches:
            for times, keys, values in batches:
                for begin, end in pace.slices(times):
                    if end > begin:
                        progress.sent = max(progress.sent, at + end)
                        writer.send_all(keys[begin:end], values[begin:end], at + begin)
                    learn()
                at += len(keys)
        writer.flush()
        learn()
    except Interrupted:
        deadline = pace.clock.monotonic() + LAST_WAIT
        while progress.acknowledged < at and pace.clock.monotonic() < deadline:
            learn()
            pace.clock.pause(_TICK)
        raise
    writer.close()


def _encoded(frames: Iterator[pl.DataFrame]) -> Iterator[tuple[Times, list[bytes], list[bytes]]]:
    for frame in frames:
        yield frame["at"].to_numpy(), frame["key"].to_list(), frame["value"].to_list()


def patiently(action: Callable[[], Result], clock: Clock, say: Say) -> Result:
    """What `action` returns; where a service is away, tries again with growing pauses. Says so once, and once it is
    back."""
    away: ServiceDown | None = None
    pause = FIRST_PAUSE
    while True:
        try:
            found = action()
        except ServiceDown as error:
            if away is None:
                say(f"{error}; waiting for it")
            away = error
            clock.pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if away is not None:
            say(f"{away.service} at {away.address} is back")
        return found


@dataclass
class Stalls:
    """Notices when a broker acknowledges nothing for long, and when it does again."""

    say: Say
    name: str
    _since: float | None = None
    _at: int = -1
    _told: bool = False

    def look(self, acknowledged: int, now: float, waiting: bool) -> None:
        """`waiting`: whether there are events that it should acknowledge."""
        if acknowledged != self._at or not waiting or self._since is None:
            if self._told and acknowledged != self._at:
                self.say(f"{self.name} is back")
                self._told = False
            self._at, self._since = acknowledged, now
        elif now - self._since > STALLED and not self._told:
            self.say(f"{self.name} acknowledges nothing; waiting for it")
            self._told = True


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise Interrupted inside the block; the second one does what it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former: dict[signal.Signals, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each, handler in former.items():
            signal.signal(each, handler)
        raise Interrupted

    for each in (signal.SIGINT, signal.SIGTERM):
        former[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
