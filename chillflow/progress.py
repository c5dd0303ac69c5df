"""Progress on stderr: bars on a terminal, one line a step elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Reporter:
    """Says what each month is doing; months are known by their label (`yellow 2019-01`)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def begin(self, label: str, step: str, total: int | None) -> None:
        """A step of `total` parts begins; the month's earlier step is over."""
        self.end(label)
        self._tasks[label] = self._bars.add_task(f"{label} {step}", total=total)

    def reach(self, label: str, done: int, total: int | None) -> None:
        """So many of so many parts are done, if it is known how many there are."""
        if label in self._tasks:
            self._bars.update(self._tasks[label], completed=done, total=total)

    def advance(self, label: str, parts: int = 1) -> None:
        if label in self._tasks:
            self._bars.advance(self._tasks[label], parts)

    def end(self, label: str) -> None:
        if label in self._tasks:
            self._bars.remove_task(self._tasks.pop(label))

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)
