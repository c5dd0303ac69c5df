"""What each row must become, known from the planting."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chillflow.synth.dice import Ints
from chillflow.synth.rows import NULL, Rows

REASONS = (
    "ts_missing",
    "pickup_outside_file_month",
    "duplicate",
    "value_invalid",
    "zone_invalid",
    "reversal",
    "reversed_original",
    "zero_total",
    "nonpositive_duration",
    "duration_over_24h",
    "no_movement",
    "absurd_money",
    "impossible_speed",
)
FLAGS = {
    "bad_distance": 1,
    "dst_fallback": 2,
    "long_duration": 4,
    "zero_distance": 8,
    "unknown_zone": 16,
    "passenger_unknown": 32,
    "flex_fare": 64,
    "total_mismatch": 128,
    "unknown_code": 256,
}
FIXES = {"bad_distance": "trip_distance", "dst_fallback": "dropoff_at", "passenger_unknown": "passenger_count"}

_COLUMNS: dict[str, pa.DataType] = {
    "source_row": pa.int64(),
    "outcome": pa.string(),
    "reason": pa.string(),
    "flags": pa.int32(),
    "fixed": pa.string(),
    "dropoff_at": pa.timestamp("us"),
    "trip_distance": pa.float64(),
    "passenger_count": pa.int32(),
}
SCHEMA = pa.schema(_COLUMNS)
"""`reason` is null for trips; flags are 0 and the last four null for other rows. `fixed` names the fixed columns, with
commas; after it come a trip's values after the fixes."""


@dataclass
class Truth:
    """Per row: the reason (0 for a trip, else 1 + its position in REASONS), flags, and the copies it belongs to.

    Of the rows with one `copies` number (0 for none) only the first in the file is not a duplicate.
    """

    reason: NDArray[np.int8]
    flags: NDArray[np.int32]
    copies: NDArray[np.int32]

    @classmethod
    def of_trips(cls, size: int) -> "Truth":
        return cls(np.zeros(size, np.int8), np.zeros(size, np.int32), np.zeros(size, np.int32))

    def reject(self, at: Ints | int, reason: str) -> None:
        self.reason[at] = 1 + REASONS.index(reason)

    def flag(self, at: Ints | int, *names: str) -> None:
        for name in names:
            self.flags[at] |= FLAGS[name]

    def take(self, at: Ints) -> "Truth":
        return Truth(self.reason[at], self.flags[at], self.copies[at])

    def join(self, other: "Truth") -> "Truth":
        return Truth(
            np.concatenate([self.reason, other.reason]),
            np.concatenate([self.flags, other.flags]),
            np.concatenate([self.copies, other.copies]),
        )

    def settle(self) -> None:
        """Makes duplicates of all copies but the first, now that the rows are in file order."""
        copied = np.flatnonzero(self.copies)
        _, first = np.unique(self.copies[copied], return_index=True)
        later = np.delete(copied, first)
        self.reject(later, "duplicate")
        self.flags[self.reason > 0] = 0


def truth_table(truth: Truth, rows: Rows, start: int, stop: int) -> pa.Table:
    """Rows `start` to `stop` of the truth file, as SCHEMA."""
    at = slice(start, stop)
    reason, flags = truth.reason[at], truth.flags[at]
    gone = reason > 0
    distance = rows.get("trip_distance", at)
    dropoff = rows.get("dropoff_at", at) + 3600 * (flags & FLAGS["dst_fallback"] > 0)
    passengers = rows.get("passenger_count", at)
    bad_distance, bad_count = flags & FLAGS["bad_distance"] > 0, flags & FLAGS["passenger_unknown"] > 0
    outcomes = pa.array(["trip", "quarantine", "adjustment"])
    reversal = reason == 1 + REASONS.index("reversal")
    columns = [
        pa.array(np.arange(start, start + len(reason))),
        outcomes.take(pa.array(np.where(reversal, 2, gone.astype(np.int64)), pa.int64())),
        pa.array(REASONS).take(pa.array(reason.astype(np.int64) - 1, pa.int64(), mask=~gone)),
        pa.array(flags),
        _fixed(flags),
        pa.array(np.where(gone, 0, dropoff) * 1_000_000, mask=gone).cast(pa.timestamp("us")),
        pa.array(distance / 100.0, mask=gone | bad_distance | (distance == NULL)),
        pa.array(passengers.astype(np.int32), mask=gone | bad_count | (passengers == NULL)),
    ]
    return pa.table(columns, schema=SCHEMA)


def _fixed(flags: NDArray[np.int32]) -> "pa.Array[Any]":
    texts, which = [], np.zeros(len(flags), np.int64)
    for bits in range(2 ** len(FIXES)):
        chosen = [name for position, name in enumerate(FIXES) if bits >> position & 1]
        texts.append(",".join(FIXES[name] for name in chosen))
    for position, name in enumerate(FIXES):
        which |= (flags & FLAGS[name] > 0).astype(np.int64) << position
    return pa.array(texts).take(pa.array(which, pa.int64(), mask=which == 0))
