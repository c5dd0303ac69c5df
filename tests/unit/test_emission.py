"""What a replay sends: the trips' events and the planted faults, in an order that nothing but the input decides."""

import datetime as dt
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chillflow.curation import judge_file
from chillflow.emission.faults import ORDER, Faults, Planted, plant
from chillflow.emission.order import merge, overlap
from chillflow.emission.runs import OPEN, PIECE, Run, few, write_run
from chillflow.events import Event, PaymentProcessed, TripEnded, TripStarted, pickup_of
from chillflow.explosion import explode
from chillflow.reading import Unreadable, read
from chillflow.trips import id_text
from tests.strategies import MONTH, raw_frame, raw_rows

LATER = dt.datetime(2030, 1, 1)
SLOT = {TripStarted: 0, TripEnded: 1, PaymentProcessed: 2}
SHARES = st.sampled_from([0.0, 0.3, 1.0])
some_faults = st.builds(
    Faults, duplicate=SHARES, shuffle=st.sampled_from([0.0, 1.5, 7200.0]), late=SHARES, drop=SHARES, corrupt=SHARES,
    revise=SHARES, seed=st.integers(0, 3),
)  # fmt: skip
some_trips = raw_rows().map(lambda rows: judge_file(raw_frame(rows), MONTH).left)


def records(events: pl.DataFrame) -> list[tuple[bytes, bytes]]:
    return list(events.select("key", "value").iter_rows())


def slots(record: pl.DataFrame, fault: str) -> Counter[tuple[str, int]]:
    return Counter(record.filter(pl.col("fault") == fault).select("trip_id", "slot").iter_rows())


def content(event: Event) -> tuple[object, ...]:
    """All that an event tells but its revision."""
    names = [name for name in event.__struct_fields__ if name not in ("revision", "event_id")]
    return tuple(getattr(event, name) for name in names)


@given(some_trips)
def test_without_faults_each_trip_is_told_once(trips: pl.DataFrame) -> None:
    planted = plant(trips, Faults())
    assert Counter(records(planted.events)) == Counter(records(explode(trips)))
    assert planted.record.is_empty()


@given(some_trips, some_faults)
def test_what_is_sent_is_the_trips_and_the_faults_on_record(trips: pl.DataFrame, faults: Faults) -> None:
    planted = plant(trips, faults)
    dropped, revised = slots(planted.record, "drop"), slots(planted.record, "revise")
    expected = Counter[tuple[str, int]]()
    for trip_id in id_text(trips["trip_id"]):
        expected.update((trip_id, slot) for slot in range(3))
    assert set(dropped.values()) <= {1}
    assert max(Counter(trip_id for trip_id, _ in dropped).values(), default=0) <= 2
    expected += revised + slots(planted.record, "duplicate")
    expected -= dropped
    meant, broken = all_meant(planted)
    assert Counter((event.trip_id, SLOT[type(event)]) for event in meant) == expected
    again = planted.record.filter(pl.col("fault") == "duplicate").select("trip_id", "slot", "revision")
    corrupt = planted.record.filter(pl.col("fault") == "corrupt").select("trip_id", "slot", "revision")
    assert broken == len(corrupt) + len(again.join(corrupt, on=corrupt.columns))


@given(some_trips, some_faults)
def test_the_greatest_revision_tells_the_truth_and_a_wrong_one_keeps_the_identity(
    trips: pl.DataFrame, faults: Faults
) -> None:
    truth = {}
    for key, value in records(explode(trips)):
        event = read(key, value, LATER)
        truth[event.trip_id, SLOT[type(event)]] = content(event)
    planted = plant(trips, faults)
    meant, _ = all_meant(planted)
    revised = slots(planted.record, "revise")
    for event in meant:
        slot = event.trip_id, SLOT[type(event)]
        assert (content(event) == truth[slot]) == (event.revision == 1 + revised[slot])
        if isinstance(event, TripStarted):
            pickup = int((event.pickup_at - dt.datetime(1970, 1, 1)) / dt.timedelta(milliseconds=1))
            assert pickup_of(event.trip_id) == pickup
        if isinstance(event, PaymentProcessed):
            assert (event.total_amount < 0) == (int(event.trip_id[-1], 16) % 2 == 1)


def all_meant(planted: Planted) -> tuple[list[Event], int]:
    """The events that were sent, unreadable ones as they were meant; and how many records are unreadable."""
    corrupt = planted.record.filter(pl.col("fault") == "corrupt").rows(named=True)
    payloads = {(row["trip_id"], row["slot"], row["revision"]): row["payload"].encode() for row in corrupt}
    ids = {(row[1], row[2]): row[0] for row in _halves(planted.events)}
    meant, broken = [], 0
    for row in planted.events.iter_rows(named=True):
        place = ids[row["high"], row["low"]], row["turn"] // 8, 1 + row["turn"] % 8 // 2
        if place in payloads:
            broken += 1
            with pytest.raises(Unreadable):
                read(row["key"], row["value"], LATER)
            meant.append(read(row["key"], payloads[place], LATER))
        else:
            meant.append(read(row["key"], row["value"], LATER))
    return meant, broken


def _halves(events: pl.DataFrame) -> Iterator[tuple[str, int, int]]:
    for high, low in events.select("high", "low").unique().iter_rows():
        digits = f"{high:016x}{low:016x}"
        yield f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}", high, low


@given(some_trips, some_faults, st.integers(0, 25))
def test_faults_do_not_depend_on_how_a_month_is_split(trips: pl.DataFrame, faults: Faults, cut: int) -> None:
    whole = plant(trips, faults)
    parts = [plant(part, faults) for part in (trips[:cut], trips[cut:])]
    assert pl.concat(part.events for part in parts).sort(ORDER).equals(whole.events)
    assert Counter(pl.concat(part.record for part in parts).iter_rows()) == Counter(whole.record.iter_rows())


@given(some_trips)
def test_each_fault_does_what_it_says(trips: pl.DataFrame) -> None:
    plain = plant(trips, Faults()).events.select("high", "low", "turn", was="at")
    name = ["high", "low", "turn"]
    shuffled = plant(trips, Faults(shuffle=60)).events.join(plain, on=name)
    assert ((shuffled["at"] - shuffled["was"]).abs() <= 60_000_000).all()
    late = plant(trips, Faults(late=1)).events.join(plain, on=name).with_columns(by=pl.col("at") - pl.col("was"))
    payment = pl.col("turn") // 8 == 2
    assert late.filter(~payment)["by"].eq(0).all()
    assert late.filter(payment)["by"].is_between(3_600_000_000, 100 * 3_600_000_000).all()
    revised = plant(trips, Faults(revise=1, shuffle=7200)).events
    first = revised.filter(pl.col("turn") % 8 == 0).with_columns(turn=pl.col("turn") + 2).select(*name, was="at")
    assert (revised.join(first, on=name).select(pl.col("at") - pl.col("was") >= 60_000_000).to_series()).all()
    copies = plant(trips, Faults(duplicate=1)).events.filter(pl.col("turn") % 2 == 1)
    copies = copies.with_columns(turn=pl.col("turn") - 1).join(plain, on=name)
    assert len(copies) == len(plain)
    assert (copies["at"] > copies["was"]).all()


@dataclass(frozen=True)
class InMemory:
    """A run in memory, in pieces of `size`."""

    events: pl.DataFrame
    size: int

    @property
    def first(self) -> int:
        return int(self.events["at"][0])

    @property
    def last(self) -> int:
        return int(self.events["at"][-1])

    def pieces(self) -> Iterator[pl.DataFrame]:
        return self.events.iter_slices(self.size)


def some_events(times: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "at": times, "high": range(len(times)), "low": [0] * len(times), "turn": [0] * len(times),
            "key": [b"k"] * len(times), "value": [b"%d" % number for number in range(len(times))],
        },
        schema={
            "at": pl.Int64, "high": pl.UInt64, "low": pl.UInt64, "turn": pl.UInt16, "key": pl.Binary,
            "value": pl.Binary,
        },
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=60), st.integers(1, 4), st.integers(0, 70))
def test_merged_runs_are_the_sorted_whole_and_any_index_gives_the_same_rest(
    placed: list[tuple[int, int]], size: int, skip: int
) -> None:
    events = some_events([at for at, _ in placed])
    owner = pl.Series([run for _, run in placed], dtype=pl.Int64)
    parts = [events.filter(owner == run).sort(ORDER) for run in range(6)]
    runs = [InMemory(part, size) for part in parts if len(part)]
    whole = events.sort(ORDER)
    found = pl.concat([events.clear(), *merge(runs)])
    assert found.equals(whole)
    rest = pl.concat([events.clear(), *merge(runs, skip)])
    assert rest.equals(whole[skip:])


def test_a_merge_holds_pieces_of_overlapping_runs_alone() -> None:
    runs = [InMemory(some_events(list(range(start, start + 10))), 2) for start in range(0, 100, 5)]
    assert overlap(runs) == 2
    largest = max(map(len, merge(runs)))
    assert largest <= 2 * 2 * overlap(runs)


@settings(max_examples=3)
@given(st.integers(1, 3))
def test_many_runs_become_few_with_the_same_events(spread: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = some_events([number * spread % 7 for number in range(3 * (OPEN + 5))])
        made = [write_run(folder / f"{n}.arrow", [events[3 * n : 3 * n + 3].sort(ORDER)]) for n in range(OPEN + 5)]
        runs = [run for run in made if run is not None]
        left = few(runs, folder)
        assert overlap(left) <= OPEN
        assert pl.concat(merge(left)).equals(events.sort(ORDER))
        assert len(list(folder.iterdir())) == len(left)


def test_a_run_on_disk_is_what_was_written(tmp_path: Path) -> None:
    events = some_events(list(range(PIECE + 8_000)))
    run = write_run(tmp_path / "run", [events[:4000], events[4000:4000], events[4000:]])
    assert run == Run(tmp_path / "run", PIECE + 8_000, 0, PIECE + 7_999)
    pieces = list(run.pieces())
    assert len(pieces) > 2
    assert pl.concat(pieces).equals(events)
    assert write_run(tmp_path / "none", [events[:0]]) is None
    assert all(earlier["at"][-1] < later["at"][0] for earlier, later in pairwise(pieces))
