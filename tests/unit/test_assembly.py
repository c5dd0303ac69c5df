"""The state machine: whatever the order, the duplicates and the batches, the rows are those of the batch path."""

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from chillflow.assembly import ALL, Known, Limits, Settled, State, gather, months_of, rewind, step, wanted
from chillflow.assembly.batches import Gathered
from chillflow.curation import Curated
from chillflow.events import Event, key_of
from chillflow.months import Month
from chillflow.placing import Placed, originals_of, place
from chillflow.positions import Position
from tests.stream_samples import DAY, Ride, decoded, rides, rows_of, truth

seeds = st.integers(0, 2**32)
START = Position(0, 0, 0)
TIGHT = Limits(open_trips=6, written=4)


@dataclass
class Table:
    """A partition's rows in a dict, and the assembler that writes them."""

    limits: Limits = TIGHT
    state: State = field(default_factory=lambda: State.claimed(START))
    rows: dict[str, Known] = field(default_factory=dict)
    placed: dict[str, tuple[object, ...]] = field(default_factory=dict)
    position: Position = START
    loaded: frozenset[tuple[str, Month]] = frozenset()

    def take(self, events: Sequence[Event], limits: Limits | None = None) -> Placed:
        """One turn of the commit loop."""
        limits = limits or self.limits
        batch = gather(decoded(events, self.position.next_offset))
        ids = wanted(self.state, batch, self.loaded, limits)
        known = {trip_id: self.rows[trip_id] for trip_id in ids if trip_id in self.rows}
        assert all(trip_id[:13] for trip_id in known)
        made = step(self.state, batch, known, self.loaded, limits)
        assert {(trip.service, Month.of(DAY)) for trip in made.settled.values()} <= months_of(self.state, batch, limits)
        settled = list(made.settled.values())
        reversals = {key_of(trip_id) for trip_id, row in self.rows.items() if row.table == "adjustments"}
        written = place(settled, reversals & set(originals_of(settled)), self.loaded)
        self._write(written, {trip.trip_id: trip for trip in settled})
        self.state.apply(made.changes)
        self.position = made.position
        return written

    def recover(self, events: Sequence[Event]) -> None:
        """A new owner without a snapshot: `events` is the whole log."""
        at = self.position
        self.state = State.claimed(at)
        rewind(self.state, gather(decoded(events[at.rewind_offset : at.next_offset], at.rewind_offset)), self.limits)
        self.state.drop([trip_id for trip_id in self.state.open if trip_id in self.rows])

    def _write(self, written: Placed, settled: dict[str, Settled]) -> None:
        for table, ids in written.gone.items():
            for trip_id in ids:
                assert self.rows.pop(trip_id).table == table
                self.placed.pop(trip_id, None)
        frames = Curated(written.trips, written.quarantine, written.adjustments, {}, pl.Series(), pl.Series(), 0)
        new = rows_of(frames) | {trip.trip_id: ("incomplete_trips",) for trip in written.incomplete}
        for number, row in new.items():
            trip = next(trip for trip_id, trip in settled.items() if number in (trip_id, _number(trip_id)))
            assert trip.trip_id not in self.rows, "a second row of a trip"
            self.rows[trip.trip_id] = Known(trip.trip_id, trip.service, row[0], trip.slots)
            if row[0] != "incomplete_trips":
                self.placed[trip.trip_id] = row


def _number(trip_id: str) -> str:
    return str(int(trip_id.replace("-", ""), 16))


def _true(found: Sequence[Ride]) -> dict[str, tuple[object, ...]]:
    ids = {_number(ride.trip_id): ride.trip_id for ride in found}
    return {ids[number]: row for number, row in truth(found).items()}


def _shuffled(found: Sequence[Ride], seed: int) -> tuple[list[Event], list[int]]:
    """All events in any order, some of them twice, and where to cut them into batches."""
    dice = random.Random(seed)
    events = [event for ride in found for event in ride.all()]
    events += dice.sample(events, len(events) // 3)
    dice.shuffle(events)
    return events, sorted(dice.sample(range(len(events)), dice.randrange(min(12, len(events)))))


@settings(deadline=None, max_examples=60)
@given(seeds)
def test_any_order_duplication_and_batching_gives_the_rows_of_the_batch_path(seed: int) -> None:
    found = rides(seed)
    events, cuts = _shuffled(found, seed)
    table = Table()
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        table.take(events[begin:end])
    assert table.placed == _true(found)
    assert not table.state.open


@settings(deadline=None, max_examples=60)
@given(seeds)
def test_a_crash_after_any_batch_changes_nothing(seed: int) -> None:
    found = rides(seed)
    events, cuts = _shuffled(found, seed)
    table, dice = Table(), random.Random(seed)
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        table.take(events[begin:end])
        if dice.random() < 0.5:
            table.recover(events)
    assert table.placed == _true(found)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_trips_without_all_events_are_incomplete_and_no_other(seed: int) -> None:
    found = rides(seed)
    events, _ = _shuffled(found, seed)
    lost = {ride.trip_id: ride.events[seed % 3] for ride in found[:3]}
    events = [event for event in events if event not in lost.get(event.trip_id, ())]
    table = Table()
    table.take(events)
    table.take([], ALL)
    whole = [ride for ride in found if ride.trip_id not in lost]
    assert table.placed == _true(whole)
    assert {trip_id for trip_id, row in table.rows.items() if row.table == "incomplete_trips"} == set(lost)


def test_a_trip_times_out_when_the_watermark_gets_to_its_deadline_and_completes_later() -> None:
    ride, other = rides(1, 1, spread=1)[0], rides(2, 1, spread=1)[0]
    table = Table(Limits())
    table.take([ride.events[0][-1]])
    later = Gathered(0, 1, 1, high=DAY + dt.timedelta(hours=23, minutes=59))
    assert not step(table.state, later, {}).settled
    due = step(table.state, Gathered(0, 1, 1, high=ride.events[0][-1].event_at + dt.timedelta(hours=24)), {})
    assert list(due.settled) == [ride.trip_id]
    assert due.position.rewind_offset == 1
    assert other


def test_a_known_trip_of_a_loaded_month_is_left_alone_and_an_unknown_one_is_not_in_file() -> None:
    first, second = rides(5, 2, spread=1)[:2]
    table = Table(loaded=frozenset({("yellow", Month(2018, 11))}))
    table.rows[first.trip_id] = Known(first.trip_id, "yellow", "trips", first.slots)
    table.take([*first.all(), *second.all()])
    assert table.rows[first.trip_id].slots == first.slots
    assert table.rows[second.trip_id].table == "quarantine"
    assert first.trip_id not in table.placed
    assert "not_in_file" in table.placed[second.trip_id]
