"""Rows in the making: whole numbers in named columns, with marks for what is no number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chillflow.synth.dice import Ints, Mask
from chillflow.trips import MONEY

NULL, NAN, MINUS_HUGE = -(2**31), -(2**31) + 1, -(2**31) + 2
INFINITE, HUGE = 2**31 - 1, 2**31 - 2
"""Marks in int32 columns; HUGE is a million million dollars."""

NO_TIME = int(np.iinfo(np.int64).min)

TIMES = ("pickup_at", "dropoff_at")
CODES = (
    "vendor_id",
    "pickup_zone_id",
    "dropoff_zone_id",
    "passenger_count",
    "rate_code",
    "store_and_fwd",
    "payment_type",
    "trip_type",
    "request_source",
)
COMPONENTS = tuple(name for name in MONEY if name != "total_amount")


@dataclass
class Rows:
    """Columns by canonical name, all equally long: seconds since 1970 of wall time (int64), else int32.

    Distances are hundredths of a mile, money is cents, `store_and_fwd` and `request_source` are positions in the
    texts that the file holds.
    """

    columns: dict[str, NDArray[np.int64] | NDArray[np.int32]]

    @classmethod
    def empty(cls, size: int) -> "Rows":
        names = (*CODES, "trip_distance", *MONEY)
        columns: dict[str, NDArray[np.int64] | NDArray[np.int32]] = {
            name: np.zeros(size, dtype=np.int64) for name in TIMES
        }
        return cls(columns | {name: np.zeros(size, dtype=np.int32) for name in names})

    def __len__(self) -> int:
        return len(self.columns["pickup_at"])

    def get(self, name: str, at: Ints | slice = slice(None)) -> Ints:
        """Values of a column as int64."""
        return self.columns[name][at].astype(np.int64)

    def put(self, name: str, at: Ints | Mask | slice, values: Ints | Mask | int) -> None:
        self.columns[name][at] = values

    def seconds(self, at: Ints | slice = slice(None)) -> Ints:
        return self.get("dropoff_at", at) - self.get("pickup_at", at)

    def last(self, at: Ints, seconds: Ints | int) -> None:
        """Sets the duration."""
        self.put("dropoff_at", at, self.get("pickup_at", at) + seconds)

    def move(self, at: Ints, pickup: Ints | int) -> None:
        """Sets the pickup and keeps the duration."""
        seconds = self.seconds(at)
        self.put("pickup_at", at, pickup)
        self.last(at, seconds)

    def pay(self, at: Ints, name: str, cents: Ints | int) -> None:
        """Sets a component; the total follows."""
        self.put("total_amount", at, self.get("total_amount", at) + cents - self.get(name, at))
        self.put(name, at, cents)

    def negate(self, at: Ints) -> None:
        """Turns every amount around, as a reversal does."""
        for name in MONEY:
            cents = self.get(name, at)
            self.put(name, at, np.where(cents == NULL, NULL, -cents))

    def take(self, at: Ints) -> "Rows":
        return Rows({name: column[at] for name, column in self.columns.items()})

    @staticmethod
    def concat(parts: Sequence["Rows"]) -> "Rows":
        names = parts[0].columns
        return Rows({name: np.concatenate([part.columns[name] for part in parts]) for name in names})
