"""Time as the streaming path sees it, so that tests can move it."""

import datetime as dt
import time
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

_NEW_YORK = ZoneInfo("America/New_York")


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def wall(self) -> dt.datetime:
        """New York wall time, without a zone: for events that claim to be of the future."""
        ...

    def pause(self, seconds: float) -> None: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> dt.datetime:
        return dt.datetime.now(_NEW_YORK).replace(tzinfo=None)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class ManualClock:
    """A clock that stands still until it is moved; a pause moves it."""

    seconds: float = 0.0
    begin: dt.datetime = dt.datetime(2026, 1, 1)

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> dt.datetime:
        return self.begin + dt.timedelta(seconds=self.seconds)

    def pause(self, seconds: float) -> None:
        self.seconds += seconds
