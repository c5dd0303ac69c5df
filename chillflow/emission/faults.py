"""Planting: trips as the events that are sent of them, with seeded faults. Pure: the same trips and faults, the same
events.

Every choice is a hash of the seed, the fault and the trip's id: neither the way a month is split nor what else is sent
changes it.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from chillflow.explosion import TYPES, explode
from chillflow.trips import id_key, id_text

VERSION = 1
"""Raised whenever the same options and seed give other events, so that a replay of before does not go on in them."""

KINDS = ("duplicate", "late", "drop", "corrupt", "revise")
HOUR = 3_600
_SECOND = 1_000_000
_HIGH = pl.lit(1 << 64, pl.UInt128)
col = pl.col

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


@dataclass(frozen=True)
class Faults:
    """What is planted: shares of events (of payments for `late`) from 0 to 1; `shuffle` is in seconds of event time."""

    duplicate: float = 0.0
    shuffle: float = 0.0
    late: float = 0.0
    drop: float = 0.0
    corrupt: float = 0.0
    revise: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Planted:
    """Events to send, sorted by when, and the faults among them.

    `events`: `at` (when it is sent, microseconds of event time since 1970), `high`, `low`, `turn` (which decide where
    `at` is equal: the id's halves; slot, revision and copy), `key` and `value` (Binary). `record`: trip_id (text),
    slot, revision, fault, detail, and for unreadable events the `payload` that was meant.
    """

    events: pl.DataFrame
    record: pl.DataFrame


ORDER = ("at", "high", "low", "turn")
RECORD = {
    "trip_id": pl.String, "slot": pl.Int32, "revision": pl.Int32, "fault": pl.String, "detail": pl.String,
    "payload": pl.String,
}  # fmt: skip


def plant(trips: pl.DataFrame, faults: Faults) -> Planted:
    """The events of trips (raw columns and trip_id, each id once), and what is wrong with them."""
    return _Planting(trips, faults).planted()


def slot_of(turn: pl.Expr) -> pl.Expr:
    """The slot of an event, a position in TYPES."""
    return turn // 8


class _Planting:
    def __init__(self, trips: pl.DataFrame, faults: Faults) -> None:
        self.trips, self.faults = trips, faults
        ids = trips["trip_id"]
        halves = pl.select(high=(pl.lit(ids) // _HIGH).cast(pl.UInt64), low=id_key(pl.lit(ids)))
        self.high, self.low = halves["high"].to_numpy(), halves["low"].to_numpy()
        self.records: list[pl.DataFrame] = []

    def planted(self) -> Planted:
        dropped = self._dropped()
        revised = [self._chosen("revise", slot) & ~dropped[slot] for slot in range(len(TYPES))]
        parts = [self._sent_once(dropped, revised)]
        for slot in range(len(TYPES)):
            if revised[slot].any():
                parts += self._revised(slot, revised[slot])
        events = pl.concat(parts)
        events = self._shuffled(events)
        events = self._late(events, dropped[2])
        events = self._corrupted(events)
        events = self._duplicated(events)
        rows = events["row"].to_numpy()
        events = events.select(
            "at",
            pl.Series("high", self.high[rows]),
            pl.Series("low", self.low[rows]),
            turn=col("slot").cast(pl.UInt16) * 8 + (col("revision") - 1).cast(pl.UInt16) * 2 + col("copy"),
            key="key",
            value="value",
        ).sort(ORDER)
        return Planted(events, pl.concat([pl.DataFrame(schema=RECORD), *self.records]))

    def _dropped(self) -> list[Flags]:
        """Which slots are not sent at all: never all three of a trip."""
        if not self.faults.drop:
            return [np.zeros(len(self.trips), np.bool_)] * len(TYPES)
        chances = [self._chance("drop", slot) for slot in range(len(TYPES))]
        dropped = [chance < self.faults.drop for chance in chances]
        whole = dropped[0] & dropped[1] & dropped[2]
        if whole.any():
            for slot, kept in enumerate(np.argmax(np.stack(chances), axis=0)[whole].reshape(1, -1) == [[0], [1], [2]]):
                dropped[slot][np.flatnonzero(whole)[kept]] = False
        for slot, flags in enumerate(dropped):
            rows = np.flatnonzero(flags)
            self._note(rows, slot, 1, "drop", pl.repeat("never sent", len(rows), eager=True))
        return dropped

    def _sent_once(self, dropped: list[Flags], revised: list[Flags]) -> pl.DataFrame:
        events = explode(self.trips)
        sent = ~np.concatenate([out | again for out, again in zip(dropped, revised, strict=True)])
        rows = np.tile(np.arange(len(self.trips), dtype=np.int64), len(TYPES))
        events = _numbered(events, rows)
        return events if sent.all() else events.filter(pl.Series(sent))

    def _revised(self, slot: int, chosen: Flags) -> list[pl.DataFrame]:
        """A wrong value first, then the true one under a higher revision."""
        rows = np.flatnonzero(chosen)
        trips = self.trips.filter(pl.Series(chosen))
        true = _numbered(explode(trips.with_columns(revision=pl.lit(2, pl.Int32)), (slot,)), rows)
        wrong = _numbered(explode(distorted(trips, slot), (slot,)), rows).with_columns(true["at"])
        seconds = _seconds(60, 6 * HOUR, self._chance("correct", slot)[rows] ** 2)
        self._note(rows, slot, 1, "revise", _told(seconds, "corrected {} s later"))
        return [wrong, true.with_columns(at=true["at"] + pl.Series(seconds * _SECOND))]

    def _shuffled(self, events: pl.DataFrame) -> pl.DataFrame:
        if not self.faults.shuffle:
            return events
        width = round(self.faults.shuffle * _SECOND)
        by_slot = [
            np.floor(self._chance("shuffle", slot) * (2 * width + 1)).astype(np.int64) - width
            for slot in range(len(TYPES))
        ]
        moved = np.stack(by_slot)[events["slot"].to_numpy(), events["row"].to_numpy()]
        return events.with_columns(at=events["at"] + pl.Series(moved))

    def _late(self, events: pl.DataFrame, dropped: Flags) -> pl.DataFrame:
        """Payments hours to days late, some of them after the trip has timed out."""
        chosen = self._chosen("late", 2) & ~dropped
        if not chosen.any():
            return events
        rows = np.flatnonzero(chosen)
        by_row = np.zeros(len(self.trips), np.int64)
        by_row[rows] = _seconds(HOUR, 100 * HOUR, self._chance("delay", 2)[rows] ** 2**2)
        self._note(rows, 2, 1, "late", _told(by_row[rows], "{} s late"))
        delay = np.where(events["slot"].to_numpy() == 2, by_row[events["row"].to_numpy()], 0) * _SECOND
        return events.with_columns(at=events["at"] + pl.Series(delay))

    def _corrupted(self, events: pl.DataFrame) -> pl.DataFrame:
        chosen, places = self._events_chosen("corrupt", events)
        if not len(chosen):
            return events
        kind = np.floor(self._by_event("kind", chosen) * len(BROKEN)).astype(np.int64)
        values = chosen["value"].cast(pl.String)
        told = pl.Series("detail", list(BROKEN)).gather(pl.Series(kind))
        frame = pl.DataFrame({"value": values, "how": told})
        broken = pl.coalesce(pl.when(col("how") == how).then(text) for how, text in BROKEN.items())
        self._note_events(chosen, "corrupt", told, values)
        return events.with_columns(events["value"].scatter(places, frame.select(broken.cast(pl.Binary))["value"]))

    def _duplicated(self, events: pl.DataFrame) -> pl.DataFrame:
        chosen, _ = self._events_chosen("duplicate", events)
        if not len(chosen):
            return events
        seconds = _seconds(1, 48 * HOUR, self._by_event("again", chosen) ** 2**2)
        self._note_events(chosen, "duplicate", _told(seconds, "again {} s later"))
        again = chosen.with_columns(at=chosen["at"] + pl.Series(seconds * _SECOND), copy=pl.lit(1, pl.UInt16))
        return pl.concat([events, again])

    def _events_chosen(self, fault: str, events: pl.DataFrame) -> tuple[pl.DataFrame, Integers]:
        share: float = getattr(self.faults, fault)
        places = np.flatnonzero(self._by_event(fault, events) < share) if share else np.zeros(0, np.int64)
        return events[places], places

    def _by_event(self, what: str, events: pl.DataFrame) -> Floats:
        """A number from 0 to 1 for each event, by trip, slot and revision."""
        rows = events["row"].to_numpy()
        place = events["slot"].to_numpy().astype(np.uint64) * 8 + events["revision"].to_numpy().astype(np.uint64)
        return _uniform(self.high[rows], self.low[rows] ^ (place << np.uint64(40)), f"{self.faults.seed} {what}")

    def _chance(self, what: str, slot: int) -> Floats:
        """A number from 0 to 1 for each trip."""
        return _uniform(self.high, self.low, f"{self.faults.seed} {what} {slot}")

    def _chosen(self, fault: str, slot: int) -> Flags:
        share: float = getattr(self.faults, fault)
        return self._chance(fault, slot) < share if share else np.zeros(len(self.trips), np.bool_)

    def _note(self, rows: Integers, slot: int, revision: int, fault: str, detail: pl.Series) -> None:
        places = pl.DataFrame({"row": rows}).with_columns(slot=pl.lit(slot), revision=pl.lit(revision))
        self._note_events(places, fault, detail)

    def _note_events(
        self, events: pl.DataFrame, fault: str, detail: pl.Series, payload: pl.Series | None = None
    ) -> None:
        if not len(events):
            return
        ids = id_text(self.trips["trip_id"].gather(events["row"]))
        meant = pl.repeat(None, len(events), dtype=pl.String, eager=True) if payload is None else payload
        self.records.append(
            pl.select(
                trip_id=ids,
                slot=events["slot"].cast(pl.Int32),
                revision=events["revision"].cast(pl.Int32),
                fault=pl.lit(fault),
                detail=detail,
                payload=meant,
            )
        )


BROKEN = {
    "broken JSON": col("value").str.head(col("value").str.len_chars() // 2),
    "wrong type": col("value").str.replace(r'"revision":\d+', '"revision":"one"'),
    "missing field": col("value").str.replace(r'"service":"\w+",', ""),
    "unknown version": col("value").str.replace(r'"schema_version":\d+', '"schema_version":99'),
}
"""How events become unreadable: none of them can be taken for an event."""


def distorted(trips: pl.DataFrame, slot: int) -> pl.DataFrame:
    """Trips with wrong values in a slot's columns: values that can be, and another identity never.

    The pickup time and the sign of the total stay, since the id tells them.
    """
    if slot == 0:
        return trips.with_columns(
            passenger_count=pl.when(col("passenger_count") == 1).then(2).otherwise(1).cast(pl.Int32),
            pickup_zone_id=pl.when(col("pickup_zone_id") == 132).then(138).otherwise(132).cast(pl.Int32),
        )
    if slot == 1:
        shift, end, miles = pl.duration(minutes=7), col("dropoff_at"), col("trip_distance")
        return trips.with_columns(
            trip_distance=pl.when(miles.is_between(0, 50)).then(miles + 1.25).otherwise(1.25),
            dropoff_at=pl.when(end.dt.year() < 9000).then(end + shift).otherwise(end - shift),
        )
    total = col("total_amount")
    more = pl.when(total.abs() < 500_000_000).then(250).otherwise(-250)
    tip = pl.when(col("tip_amount").is_between(0, 500_000_000)).then(col("tip_amount") + 250).otherwise(250)
    return trips.with_columns(
        payment_type=pl.when(col("payment_type") == 1).then(2).otherwise(1).cast(pl.Int32),
        tip_amount=tip.cast(pl.Int32),
        total_amount=(total + pl.when(total < 0).then(-more).otherwise(more)).cast(pl.Int32),
    )


def _numbered(events: pl.DataFrame, rows: Integers) -> pl.DataFrame:
    """Events with the rows of their trips, and when they are sent where nothing is wrong."""
    return events.select(
        pl.Series("row", rows),
        "slot",
        "revision",
        at=col("event_at").dt.epoch("us"),
        copy=pl.lit(0, pl.UInt16),
        key="key",
        value="value",
    )


def _seconds(least: int, most: int, chance: Floats) -> Integers:
    whole: Integers = np.floor(least + (most - least) * chance).astype(np.int64)
    return whole


def _told(seconds: Integers, text: str) -> pl.Series:
    return pl.select(pl.format(text, pl.lit(pl.Series(seconds)))).to_series()


def _uniform(high: Words, low: Words, what: str) -> Floats:
    """Numbers from 0 to 1 from ids: splitmix64's finalizer over both halves and a salt."""
    salt = np.uint64(int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "little"))
    mixed = low ^ (high * np.uint64(0x9E3779B97F4A7C15) + salt)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    found: Floats = ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found
