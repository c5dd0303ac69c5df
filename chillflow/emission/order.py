"""Order: sorted runs of events merged into one, a bounded piece at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

import polars as pl

from chillflow.emission.faults import ORDER

col = pl.col


class SortedRun(Protocol):
    """Events sorted by ORDER; `first` and `last` are the times (`at`) of its ends."""

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    def pieces(self) -> Iterator[pl.DataFrame]:
        """The run's events, piece by piece, none of them empty."""
        ...


def merge(runs: Sequence[SortedRun], skip: int = 0) -> Iterator[pl.DataFrame]:
    """The events of all runs in ORDER, from number `skip` on; holds two pieces of each run that has begun."""
    for events in _merged(sorted(runs, key=attrgetter("first", "last"))):
        if skip >= len(events):
            skip -= len(events)
            continue
        yield events[skip:] if skip else events
        skip = 0


def overlap(runs: Iterable[SortedRun]) -> int:
    """How many runs a merge holds a piece of at once, at the most."""
    ends = sorted([(run.first, 1) for run in runs] + [(run.last + 1, -1) for run in runs])
    most = held = 0
    for _, change in ends:
        held += change
        most = max(most, held)
    return most


@dataclass
class _Reading:
    """A run that has begun: what was read of it and not given away yet."""

    pieces: Iterator[pl.DataFrame]
    rest: pl.DataFrame
    following: pl.DataFrame | None = field(default=None)

    @classmethod
    def of(cls, run: SortedRun) -> "_Reading":
        pieces = run.pieces()
        return cls(pieces, next(pieces), next(pieces, None))

    @property
    def known_below(self) -> int | None:
        """All of the run's events before this time have been read; None where all of it has."""
        return None if self.following is None else int(self.following["at"][0])

    def read_on(self) -> None:
        assert self.following is not None
        self.rest = pl.concat([self.rest, self.following])
        self.following = next(self.pieces, None)

    def take(self, before: int | None) -> pl.DataFrame:
        """Gives away the events before a time."""
        count = len(self.rest) if before is None else int(self.rest["at"].search_sorted(before))
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


def _merged(waiting: list[SortedRun]) -> Iterator[pl.DataFrame]:
    reading: list[_Reading] = []
    while waiting or reading:
        bound = _bound(waiting, reading)
        while waiting and (bound is None or waiting[0].first <= bound):
            reading.append(_Reading.of(waiting.pop(0)))
            bound = _bound(waiting, reading)
        parts = [part for run in reading if len(part := run.take(bound))]
        if parts:
            yield parts[0] if len(parts) == 1 else pl.concat(parts).sort(ORDER)
        for run in reading:
            if run.known_below is not None and run.known_below == bound:
                run.read_on()
        reading = [run for run in reading if len(run.rest) or run.following is not None]


def _bound(waiting: Sequence[SortedRun], reading: Sequence[_Reading]) -> int | None:
    """The time before which all events have been read; None where everything has."""
    known = [run.known_below for run in reading if run.known_below is not None]
    known += [waiting[0].first] if waiting else []
    return min(known, default=None)
