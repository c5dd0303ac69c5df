"""A partition's state in memory: open trips, ids written lately, the watermark."""

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec

from chillflow.assembly.batches import BEGINNING, Arrival
from chillflow.assembly.ids import prefix_of
from chillflow.assembly.rows import Slots, merged
from chillflow.events import ENDED, PAID, STARTED
from chillflow.positions import Position


@dataclass(frozen=True)
class Limits:
    """When open trips are let go. `timeout` is event time; the rest are counts, a partition's."""

    timeout: dt.timedelta = dt.timedelta(hours=24)
    open_trips: int = 1_000_000
    rewind: int = 10_000_000
    written: int = 16_384


DEFAULTS = Limits()
ALL = replace(DEFAULTS, open_trips=0)
"""Lets go of every open trip."""


class OpenTrip(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A trip that lacks a slot. `deadline` is event time: when the watermark gets there, the trip has timed out."""

    service: str
    first_offset: int
    deadline: dt.datetime
    started: (
        tuple[int, int | None, dt.datetime, int | None, int | None, int | None, str | None, int | None, str | None]
        | None
    )
    ended: tuple[int, dt.datetime, int | None, float | None] | None
    paid: tuple[int, int | None, float | None, float | None, float | None, float | None, float | None, float | None,
                float, float | None, float | None, float | None] | None  # fmt: skip

    @property
    def slots(self) -> Slots:
        return self.started, self.ended, self.paid

    def joined(self, slots: Slots) -> "OpenTrip":
        """This trip with further slots."""
        started, ended, paid = merged(self.slots, slots)
        return OpenTrip(self.service, self.first_offset, self.deadline, started, ended, paid)


assert [len(columns) for columns in (STARTED, ENDED, PAID)] == [8, 3, 11]
pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(OpenTrip).decode
_snapshot = msgspec.msgpack.Decoder(dict[str, bytes]).decode


@dataclass
class State:
    """A partition's open trips, as packed OpenTrips in order of first offset, which is that of their deadlines too.

    `written` holds the slot revisions of ids written lately. An id that is in neither is new if its pickup lies above
    `floor`, else it has to be looked up. `floor` and `max_pickup` are the beginnings of ids.
    """

    open: dict[str, bytes]
    written: dict[str, tuple[int, ...]]
    watermark: dt.datetime | None
    floor: str
    max_pickup: str

    @classmethod
    def claimed(cls, position: Position) -> "State":
        """The state of a partition just claimed: empty, and whatever was seen before has to be looked up."""
        greatest = prefix_of(position.max_pickup)
        return cls({}, {}, position.watermark, greatest, greatest)

    def apply(self, changes: "Changes") -> None:
        for trip_id in changes.closed:
            self.open.pop(trip_id, None)
        self.open.update(changes.opened)
        self.written.update(changes.written)
        for trip_id in list(islice(self.written, changes.evicted)):
            del self.written[trip_id]
        self.watermark, self.floor, self.max_pickup = changes.watermark, changes.floor, changes.max_pickup

    def snapshot(self) -> bytes:
        return pack(self.open)

    def restore(self, snapshot: bytes) -> None:
        """Takes the open trips of a snapshot; raises msgspec.DecodeError."""
        self.open = _snapshot(snapshot)

    def drop(self, known: Collection[str]) -> None:
        """Forgets open trips that PostgreSQL turned out to have; their pickups lie below the floor."""
        for trip_id in known:
            del self.open[trip_id]

    def oldest(self) -> OpenTrip | None:
        packed = next(iter(self.open.values()), None)
        return unpack(packed) if packed is not None else None


@dataclass
class Changes:
    """What a step does to the state, and the position that the partition then has."""

    watermark: dt.datetime | None
    floor: str
    max_pickup: str
    opened: dict[str, bytes] = field(default_factory=dict)
    closed: dict[str, None] = field(default_factory=dict)
    written: dict[str, tuple[int, ...]] = field(default_factory=dict)
    evicted: int = 0

    def left(self, state: State) -> Iterator[tuple[str, bytes]]:
        """The trips that are open after the changes, the oldest first."""
        for trip_id, packed in state.open.items():
            if trip_id not in self.closed:
                yield trip_id, self.opened.get(trip_id, packed)
        for trip_id, packed in self.opened.items():
            if trip_id not in state.open:
                yield trip_id, packed


def first_seen(state: State, arrival: Arrival, limits: Limits) -> OpenTrip:
    """A trip that nobody knew of. Its deadline counts from the watermark, since months are replayed in any order."""
    deadline = max(state.watermark or BEGINNING, arrival.high) + limits.timeout
    return OpenTrip(arrival.service, arrival.first_offset, deadline, *arrival.slots)
