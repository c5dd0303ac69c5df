"""The ground for planting: rows, their truth, and which of them are still free."""

from dataclasses import dataclass

import numpy as np

from chillflow.months import Month
from chillflow.synth.city import epoch, fall_back
from chillflow.synth.dice import Dice, Ints, Mask
from chillflow.synth.eras import Shares, shares
from chillflow.synth.rows import Rows
from chillflow.synth.truth import Truth

LEAST = {
    "ts_missing": 4, "outside": 9, "value_invalid": 10, "zone_invalid": 6, "reversed": 8, "orphans": 4, "zero_total": 4,
    "nonpositive": 6, "over_24h": 4, "no_movement": 4, "absurd": 5, "speed": 3, "edges": 19, "dst": 5, "long": 4,
    "copies": 8, "bad_distance": 4, "zero_distance": 2, "unknown_zone": 3, "passengers": 4, "mismatch": 3, "code": 4,
}  # fmt: skip
"""Rows of each plant that even a small file gets, so that each case occurs."""

SMALL = 400
"""Files with fewer rows hold only as many plants, in the order of LEAST, as a third of them can take."""


@dataclass(frozen=True)
class Quotas:
    """How many rows of a file each plant takes."""

    counts: dict[str, int]
    rides: int
    flexible: int

    def __getitem__(self, plant: str) -> int:
        return self.counts[plant]

    @classmethod
    def of(cls, service: str, month: Month, rows: int) -> "Quotas":
        usual = shares(service, month)
        wanted = {name: max(least, round(rows * _share(usual, name) / 100)) for name, least in LEAST.items()}
        if month.number != 11:
            wanted["dst"] = 0
        flexible = min(max(4, round(rows * usual.flex / 100)), rows // 3)
        if rows < SMALL:
            left = rows // 3
            for name in wanted:
                wanted[name] = min(wanted[name], left // (2 if name in ("reversed", "copies") else 1))
                left -= wanted[name] * (2 if name in ("reversed", "copies") else 1)
        return cls(wanted, rows - wanted["reversed"] - wanted["copies"], flexible)


def _share(usual: Shares, name: str) -> float:
    if name == "reversed":
        return usual.reversal * usual.mirrored / 100
    if name == "orphans":
        return usual.reversal * (1 - usual.mirrored / 100)
    return float(getattr(usual, name, 0.0))


@dataclass
class Field:
    """A month's rides in the making. `take` gives rows that nobody else gets, `kept` any that stay trips."""

    service: str
    month: Month
    dice: Dice
    rows: Rows
    truth: Truth
    quotas: Quotas
    untouched: Ints
    """Rows without a plant and without a flex fare, in random order."""

    @property
    def main(self) -> int:
        """Where the rows with a flex fare begin."""
        return self.quotas.rides - self.quotas.flexible

    def take(self, count: int) -> Ints:
        """Rows for a plant, none of them with a flex fare."""
        at, self.untouched = self.untouched[:count], self.untouched[count:]
        return at

    def kept(self, count: int, among: Mask | None = None) -> Ints:
        """Trips for a flag beside which others may stand, in random order."""
        trips = self.truth.reason == 0
        found = np.flatnonzero(trips if among is None else trips & among)
        return found[self.dice.order(len(found))[:count]]

    def autumn_night(self, at: Ints) -> Mask:
        """Whether a pickup falls into the first two hours of a fall-back day, where time may run backwards."""
        since = self.rows.get("pickup_at", at) - fall_back(self.month.year)
        return (since >= 0) & (since < 7200)

    @property
    def start(self) -> int:
        return epoch(self.month.date)

    @property
    def end(self) -> int:
        return epoch(self.month.next.date)

    @property
    def fall_back(self) -> int:
        return fall_back(self.month.year)
