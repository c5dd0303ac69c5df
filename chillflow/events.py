"""Trip events: the three types on the log, and their strict reading. docs/events.md is their public contract.

A trip is told by three events, one a slot: when it started, when it ended, what was paid. A higher revision corrects
an earlier event of its slot.
"""

import datetime as dt
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec

from chillflow.trips import MONEY

SCHEMA_VERSION = 1
MAX_BYTES = 1_000_000

Service = Literal["yellow", "green"]
Revision = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
WallTime = Annotated[dt.datetime, msgspec.Meta(tz=False)]


class _Event(msgspec.Struct, kw_only=True, frozen=True, gc=False, tag_field="type", forbid_unknown_fields=True):
    schema_version: Literal[1]
    event_id: str
    trip_id: str
    service: Service
    event_at: WallTime
    revision: Revision


class TripStarted(_Event, frozen=True, tag="trip_started"):
    vendor_id: Int32 | None
    pickup_at: WallTime
    pickup_zone_id: Int32 | None
    passenger_count: Int32 | None
    rate_code: Int32 | None
    store_and_fwd: str | None
    trip_type: Int32 | None
    request_source: str | None


class TripEnded(_Event, frozen=True, tag="trip_ended"):
    dropoff_at: WallTime
    dropoff_zone_id: Int32 | None
    trip_distance: float | None


class PaymentProcessed(_Event, frozen=True, tag="payment_processed"):
    payment_type: Int32 | None
    fare_amount: float | None
    extra: float | None
    mta_tax: float | None
    tip_amount: float | None
    tolls_amount: float | None
    improvement_surcharge: float | None
    total_amount: float
    congestion_surcharge: float | None
    airport_fee: float | None
    cbd_congestion_fee: float | None


Event = TripStarted | TripEnded | PaymentProcessed

STARTED = ("vendor_id", "pickup_at", "pickup_zone_id", "passenger_count", "rate_code", "store_and_fwd", "trip_type",
           "request_source")  # fmt: skip
ENDED = ("dropoff_at", "dropoff_zone_id", "trip_distance")
PAID = ("payment_type", *MONEY)
"""The columns of each slot, in the order of its tuple (after the revision)."""

SLOTS: dict[type, int] = {TripStarted: 0, TripEnded: 1, PaymentProcessed: 2}
Slot = tuple[Any, ...]
"""(revision, *columns of STARTED, ENDED or PAID): money as floats of dollars with two decimals, times as datetimes."""

_EVEN = dict(zip("13579bdf", "02468ace", strict=True))
ODD = frozenset(_EVEN)
"""Last digits of the ids of reversals."""

slot_of: dict[type, Any] = {
    TripStarted: attrgetter("revision", *STARTED),
    TripEnded: attrgetter("revision", *ENDED),
    PaymentProcessed: attrgetter("revision", *PAID),
}


@dataclass(frozen=True)
class Polled:
    """What a poll brought of one partition: records at `offsets`; `end` is the next position (offsets may have gaps).

    `at_end` says that the broker confirmed: there is nothing at `end` yet.
    """

    partition: int
    begin: int
    end: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    at_end: bool = False


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not be read: `reason` is `field: what is wrong with it`."""

    partition: int
    offset: int
    key: bytes | None
    payload: bytes | None
    reason: str


@dataclass(frozen=True)
class Decoded:
    """A partition's records, read: events in offset order with their offsets, and dead letters.

    `unknown_fields` counts events that bore fields this version does not know.
    """

    polled: Polled
    events: list[Event]
    offsets: list[int]
    dead: list[DeadLetter]
    unknown_fields: int = 0


def key_of(trip_id: str) -> str:
    """The record key of a trip's events: its id with the reversal bit cleared, so that a pair shares a partition."""
    return trip_id[:-1] + _EVEN[trip_id[-1]] if is_reversal(trip_id) else trip_id


def is_reversal(trip_id: str) -> bool:
    """Whether an id belongs to a trip with a negative total."""
    return trip_id[-1] in ODD


def pickup_of(trip_id: str) -> int:
    """The pickup that an id begins with, in milliseconds of wall time since 1970."""
    return int(trip_id[:8] + trip_id[9:13], 16)


def event_id(trip_id: str, kind: str, revision: int) -> str:
    """`TRIP:TYPE:REVISION`: the same event has the same id whoever makes it."""
    return f"{trip_id}:{kind}:{revision}"
