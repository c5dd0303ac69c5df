"""Incremental aggregation: what writers noted, once or for as long as they write."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from chillflow.errors import ServiceDown
from chillflow.jobs.stopping import Stop
from chillflow.stores.aggregates import Aggregates

SHARE = 0.05
"""Of the time at the most, computing: the writers need the same processors and disks."""

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two rounds."""

PAIRS_EVERY = 60.0
"""Seconds between two computations of pairs of zones, each of which reads whole months, while notes keep coming."""


@dataclass(frozen=True)
class Refreshed:
    """What a round did: notes taken, zone-hours that were not right, months whose pairs were computed."""

    notes: int = 0
    zone_hours: int = 0
    months: int = 0

    def __str__(self) -> str:
        text = f"{self.notes:,} notes, {self.zone_hours:,} zone-hours changed"
        return f"{text}, pairs of zones of {self.months} months" if self.months else text


def refresh(aggregates: Aggregates, *, pairs: bool = True) -> Refreshed:
    """Computes what is noted, slice by slice, and with `pairs` the pairs of zones of the months concerned."""
    noted = aggregates.noted()
    changed = sum(aggregates.noted_of(each.hours) for each in noted)
    stale = aggregates.stale_pairs() if pairs else []
    for service, month in stale:
        aggregates.pairs(service, month)
    for service, month in aggregates.loaded():
        aggregates.mark(service, month)
    return Refreshed(sum(each.notes for each in noted), changed, len(stale))


def watch(aggregates: Aggregates, stop: Stop, say: Callable[[str], None]) -> None:
    """Refreshes until it is told to stop; then once more, so that what was noted before is in.

    While PostgreSQL is away it waits: the notes are there when it comes back.
    """
    paired, away = time.monotonic(), False
    while True:
        ending, began = stop.asked.is_set(), time.monotonic()
        try:
            due = ending or began - paired >= PAIRS_EVERY
            done = refresh(aggregates, pairs=due)
        except ServiceDown as error:
            if ending:
                raise
            if not away:
                say(f"{error}; waiting for it")
            away = True
        else:
            if away:
                say(f"PostgreSQL at {aggregates.address} is back")
            away = False
            if due:
                paired = time.monotonic()
            if done != Refreshed():
                say(f"refreshed: {done}")
        if ending:
            return
        busy = time.monotonic() - began
        stop.asked.wait(min(max(busy * (1 - SHARE) / SHARE, SHORTEST), LONGEST))
