"""Progress on stderr: bars on a terminal; elsewhere, in a job's log, one line a step and one now and then."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

EVERY = 10.0
"""Seconds between lines about steps that go on."""


class Reporter:
    """Says what each month is doing; months are known by their label (`yellow 2019-01`)."""

    def __init__(self, every: float = EVERY) -> None:
        self._every, self._said_at = every, time.monotonic()
        self._quiet: set[str] = set()
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

    def begin(self, label: str, step: str, total: int | None, *, quiet: bool = False) -> None:
        """A step of `total` parts begins; the month's earlier step is over. A `quiet` one has bars, but no lines."""
        self.end(label)
        if quiet:
            self._quiet.add(label)
        self._tasks[label] = self._bars.add_task(f"{label} {step}", total=total)

    def reach(self, label: str, done: int, total: int | None) -> None:
        """So many of so many parts are done, if it is known how many there are."""
        if label in self._tasks:
            self._bars.update(self._tasks[label], completed=done, total=total)
            self._go_on(label)

    def advance(self, label: str, parts: int = 1) -> None:
        if label in self._tasks:
            self._bars.advance(self._tasks[label], parts)
            self._go_on(label)

    def end(self, label: str) -> None:
        if label in self._tasks:
            self._bars.remove_task(self._tasks.pop(label))
            self._quiet.discard(label)

    def _go_on(self, label: str) -> None:
        """Where nobody sees bars, a line about all steps that have come somewhere, now and then."""
        if self._console.is_terminal or label in self._quiet or time.monotonic() < self._said_at + self._every:
            return
        self._said_at = time.monotonic()
        going = {self._tasks[name] for name in self._tasks.keys() - self._quiet}
        for task in self._bars.tasks:
            if task.id in going and task.total and 0 < task.completed < task.total:
                self.say(f"{task.description}: {100 * task.completed / task.total:.0f} %")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)
