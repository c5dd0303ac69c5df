"""How jobs that run until they are told to stop are told so."""

import signal
import threading
from types import FrameType


class Stop:
    """SIGTERM or SIGINT: the first asks for a graceful end, the second for one at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at_once = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.at_once = self.asked.is_set()
        self.asked.set()

    def listen(self) -> None:
        """Ray's own handlers would end the driver on the spot."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self)
