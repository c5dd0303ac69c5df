"""Steps 1 and 2 of the commit loop: poll and decode, ahead of the transaction."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from chillflow.actors.held import Batch
from chillflow.clock import Clock
from chillflow.reading import decode_all
from chillflow.stores.protocols import LogReader


class Thread(Protocol):
    """Where work is done aside: a ThreadPoolExecutor, or `Inline`."""

    def submit(self, function: Any, /, *arguments: Any) -> "Future[Any]": ...

    def shutdown(self) -> None: ...


class Inline:
    """Does the work at once, in the caller's thread: for the simulation."""

    def submit(self, function: Any, /, *arguments: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done

    def shutdown(self) -> None:
        pass


class Fetching:
    """Reads one batch ahead. The reader belongs to the thread while a batch is on its way; `take` ends that."""

    def __init__(self, reader: LogReader, clock: Clock, thread: Thread, limit: int, patience: float) -> None:
        self.reader, self.clock = reader, clock
        self.limit, self.patience = limit, patience
        self._thread = thread
        self._coming: Future[list[Batch]] | None = None

    @property
    def on_its_way(self) -> bool:
        return self._coming is not None

    def begin(self, commits: Mapping[int, int]) -> None:
        """Begins to fetch the next batch, where none is on its way; tells the broker of `commits` first (step 5)."""
        assert self._coming is None
        self._coming = self._thread.submit(self._fetch, dict(commits))

    def take(self) -> Sequence[Batch]:
        """The batch that is on its way, once it is there; nothing if none is. Raises what polling raised."""
        coming, self._coming = self._coming, None
        return coming.result() if coming is not None else ()

    def _fetch(self, commits: dict[int, int]) -> list[Batch]:
        if commits:
            self.reader.commit(commits)
        now = self.clock.wall()
        return [Batch.of(decoded) for decoded in decode_all(self.reader.poll(self.limit, self.patience), now)]
