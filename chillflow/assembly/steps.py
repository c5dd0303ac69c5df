"""A step: a batch meets the state and the rows that PostgreSQL has."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from chillflow.assembly.batches import Gathered
from chillflow.assembly.ids import TIME, month_of, months_among, pickup_at
from chillflow.assembly.rows import Known, ServiceMonth, Settled, Slots, merged, revisions
from chillflow.assembly.state import DEFAULTS, Changes, Limits, OpenTrip, State, first_seen, pack, unpack
from chillflow.events import ODD, key_of
from chillflow.positions import Position


@dataclass
class Counts:
    """What became of a step's events, for metrics: never for the truth."""

    complete: int = 0
    corrected: int = 0
    late: int = 0
    spilled: int = 0
    duplicates: int = 0
    conflicting: int = 0
    of_loaded_month: int = 0


@dataclass(frozen=True)
class Step:
    """The outcome of a step: trips to write, changes to the state, the partition's position after it."""

    settled: Mapping[str, Settled]
    changes: Changes
    position: Position
    counts: Counts


def months_of(state: State, gathered: Gathered, limits: Limits = DEFAULTS) -> set[ServiceMonth]:
    """The months whose rows a step may write."""
    trips = gathered.trips
    found = {
        service: [trip_id for trip_id, arrival in trips.items() if arrival.service == service]
        for service in {arrival.service for arrival in trips.values()}
    }
    for trip_id, trip in _due(state, gathered, limits):
        found.setdefault(trip.service, []).append(trip_id)
    return {(service, month) for service, ids in found.items() for month in months_among(ids)}


def wanted(state: State, gathered: Gathered, loaded: Collection[ServiceMonth], limits: Limits = DEFAULTS) -> set[str]:
    """The ids to look up in PostgreSQL before a step, decided against memory and floor as they are before it."""
    due = [trip_id for trip_id, _ in _due(state, gathered, limits)]
    found = {*due, *map(key_of, due)}
    for trip_id, arrival in gathered.trips.items():
        if trip_id not in state.open:
            if (before := state.written.get(trip_id)) is not None:
                if _is_newer(arrival.slots, before):
                    found.add(trip_id)
            elif trip_id[:TIME] <= state.floor:
                found.add(trip_id)
        if loaded and (arrival.service, month_of(trip_id)) in loaded:
            found.add(trip_id)
        if trip_id[-1] in ODD and key_of(trip_id) not in state.open:
            found.add(key_of(trip_id))
    return found


def step(
    state: State,
    gathered: Gathered,
    known: Mapping[str, Known],
    loaded: Collection[ServiceMonth] = (),
    limits: Limits = DEFAULTS,
) -> Step:
    """Settles a batch: `known` are the rows found for `wanted`, `loaded` the months that have a loaded file."""
    stepping = _Stepping(state, gathered, known, loaded, limits)
    stepping.take_in()
    stepping.let_go()
    stepping.take_back()
    stepping.evict()
    return Step(stepping.settled, stepping.changes, stepping.position(), stepping.counts)


class _Stepping:
    def __init__(
        self,
        state: State,
        gathered: Gathered,
        known: Mapping[str, Known],
        loaded: Collection[ServiceMonth],
        limits: Limits,
    ) -> None:
        self.state, self.gathered, self.known, self.loaded, self.limits = state, gathered, known, loaded, limits
        self.settled: dict[str, Settled] = {}
        self.left = 0
        self.counts = Counts(duplicates=gathered.duplicates, conflicting=gathered.conflicting)
        greatest = max(state.max_pickup, max(gathered.trips, default="")[:TIME])
        self.changes = Changes(later(state.watermark, gathered.high), state.floor, greatest)

    def take_in(self) -> None:
        """Each trip of the batch meets its row, its open trip, or nothing."""
        state = self.state
        for trip_id, arrival in self.gathered.trips.items():
            if (row := self.known.get(trip_id)) is not None:
                self._meet(trip_id, arrival.slots, row)
            elif (packed := state.open.get(trip_id)) is not None:
                trip = unpack(packed)
                slots = merged(trip.slots, arrival.slots)
                if None in slots:
                    self.changes.opened[trip_id] = pack(trip.joined(slots))
                else:
                    self._complete(trip_id, trip.service, slots)
            elif (before := state.written.get(trip_id)) is not None and not _is_newer(arrival.slots, before):
                self.counts.duplicates += 1
            elif None in arrival.filled:
                self.changes.opened[trip_id] = pack(first_seen(state, arrival, self.limits))
            else:
                self._complete(trip_id, arrival.service, arrival.slots)

    def let_go(self) -> None:
        """Spills trips that have timed out, or that are too many or too old to be kept, the oldest first."""
        opened, closed = self.changes.opened, self.changes.closed
        left = len(self.state.open) + sum(trip_id not in self.state.open for trip_id in opened)
        left -= sum(trip_id in self.state.open for trip_id in closed)
        due: list[tuple[str, OpenTrip]] = []
        for trip_id, packed in self.changes.left(self.state):
            trip = unpack(packed)
            too_many = left - len(due) > self.limits.open_trips
            if not _is_due(trip, self.changes.watermark, self.gathered.end, too_many, self.limits):
                break
            due.append((trip_id, trip))
        self.left = left - len(due)
        for trip_id, trip in due:
            opened.pop(trip_id, None)
            closed[trip_id] = None
            if (row := self.known.get(trip_id)) is not None:
                self._meet(trip_id, trip.slots, row)
            else:
                self.counts.spilled += 1
                self._settle(Settled(trip_id, trip.service, trip.slots))

    def take_back(self) -> None:
        """Originals in PostgreSQL whose reversal is settled are judged again, beside it."""
        for trip in [trip for trip_id, trip in self.settled.items() if trip_id[-1] in ODD]:
            original = key_of(trip.trip_id)
            row = self.known.get(original)
            if not trip.complete or original in self.settled or row is None:
                continue
            if row.table != "incomplete_trips" and not self._is_loaded(original, row.service):
                self.settled[original] = Settled(original, row.service, row.slots, row)

    def evict(self) -> None:
        """Forgets the ids written longest ago; from now on they have to be looked up."""
        written = self.state.written
        new = [trip_id for trip_id in self.changes.written if trip_id not in written]
        self.changes.evicted = max(0, len(written) + len(new) - self.limits.written)
        for trip_id in islice(chain(written, new), self.changes.evicted):
            self._raise_floor(trip_id)

    def position(self) -> Position:
        end, changes = self.gathered.end, self.changes
        oldest = next((packed for _, packed in changes.left(self.state)), None)
        trip = unpack(oldest) if oldest is not None else None
        return Position(
            self.gathered.partition, end, trip.first_offset if trip else end, changes.watermark,
            pickup_at(changes.max_pickup), self.left, trip.deadline - self.limits.timeout if trip else None,
        )  # fmt: skip

    def _complete(self, trip_id: str, service: str, slots: Slots) -> None:
        """A trip that only memory knows has all its slots now."""
        self.counts.complete += 1
        self._settle(Settled(trip_id, service, slots))

    def _meet(self, trip_id: str, slots: Slots, row: Known) -> None:
        """Slots of a trip that PostgreSQL has meet its row; it never becomes or stays open in memory."""
        if (packed := self.state.open.get(trip_id)) is not None:
            slots = merged(unpack(packed).slots, slots)
            self.changes.closed[trip_id] = None
        if trip_id not in self.state.written:
            self._raise_floor(trip_id)
        if row.table != "incomplete_trips" and self._is_loaded(trip_id, row.service):
            self.counts.of_loaded_month += 1
            return
        slots = merged(row.slots, slots)
        if revisions(slots) == revisions(row.slots):
            self.counts.duplicates += 1
            return
        self.counts.late += row.table == "incomplete_trips"
        self.counts.corrected += row.table != "incomplete_trips"
        self._settle(Settled(trip_id, row.service, slots, row))

    def _settle(self, trip: Settled) -> None:
        """A trip leaves memory: its id is remembered with its revisions if it is complete, else by the floor."""
        self.settled[trip.trip_id] = trip
        if trip.trip_id in self.state.open:
            self.changes.closed[trip.trip_id] = None
        if trip.complete:
            self.changes.written[trip.trip_id] = revisions(trip.slots)
        else:
            self._raise_floor(trip.trip_id)

    def _raise_floor(self, trip_id: str) -> None:
        self.changes.floor = max(self.changes.floor, trip_id[:TIME])

    def _is_loaded(self, trip_id: str, service: str) -> bool:
        return bool(self.loaded) and (service, month_of(trip_id)) in self.loaded


def later(a: dt.datetime | None, b: dt.datetime | None) -> dt.datetime | None:
    return max((at for at in (a, b) if at is not None), default=None)


def _due(state: State, gathered: Gathered, limits: Limits) -> Iterator[tuple[str, OpenTrip]]:
    """The trips in memory that a step may let go; it may find that some of them were completed."""
    watermark = later(state.watermark, gathered.high)
    too_many = len(state.open) + len(gathered.trips) - limits.open_trips
    for number, (trip_id, packed) in enumerate(state.open.items()):
        trip = unpack(packed)
        if not _is_due(trip, watermark, gathered.end, number < too_many, limits):
            return
        yield trip_id, trip


def _is_due(trip: OpenTrip, watermark: dt.datetime | None, end: int, too_many: bool, limits: Limits) -> bool:
    timed_out = watermark is not None and trip.deadline <= watermark
    return timed_out or too_many or end - trip.first_offset > limits.rewind


def _is_newer(slots: Slots, before: tuple[int, ...]) -> bool:
    return any(slot is not None and slot[0] > revision for slot, revision in zip(slots, before, strict=True))
