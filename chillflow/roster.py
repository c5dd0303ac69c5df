"""Who works on this machine, in a folder: whoever empties the machine asks them to leave, and waits for it."""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 120.0
"""Seconds for which a request to leave counts whose process was killed: a machine still there is in use again."""

_PAUSE = 0.2


class Roster:
    """The processes of this host that have signed in below `folder`. A folder that cannot be written is no roster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / socket.gethostname()
        self._request = self._folder / "leave"

    def sign_in(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / str(os.getpid())).touch()

    def sign_off(self) -> None:
        with contextlib.suppress(OSError):
            (self._folder / str(os.getpid())).unlink()

    def leaving(self) -> bool:
        """Whether this machine is being emptied."""
        try:
            return time.time() - self._request.stat().st_mtime < PATIENCE
        except OSError:
            return False

    def present(self) -> set[int]:
        """The processes that have signed in, and neither signed off nor died."""
        try:
            found = {int(each.name) for each in self._folder.iterdir() if each.name.isdecimal()}
        except OSError:
            return set()
        return {pid for pid in found if _lives(pid)}

    def empty(self, seconds: float, say: Callable[[str], None]) -> set[int]:
        """Asks all to leave and waits for it; returns who is still there after so many seconds."""
        present = self.present()
        if not present:
            return present
        say(f"{len(present)} asked to leave: {', '.join(map(str, sorted(present)))}")
        deadline = time.monotonic() + seconds
        self._request.touch()
        try:
            while present and time.monotonic() < deadline:
                time.sleep(_PAUSE)
                present = self.present()
        finally:
            self._request.unlink()
        return present


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
