"""Random draws that are the same on every machine and with every numpy.

Only the raw stream of PCG64 is used, which numpy promises never to change; everything else is integers, table look-ups
and single IEEE operations. Tables that need a logarithm or an exponential are rounded, so that the last bit of a
mathematics library cannot show.
"""

from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEPS = 4096


@cache
def spread(sigma: float) -> Floats:
    """4096 equally likely factors of a lognormal distribution with median 1."""
    normal = NormalDist()
    deviates = np.array([normal.inv_cdf((step + 0.5) / _STEPS) for step in range(_STEPS)])
    return np.round(np.exp(sigma * deviates), 6).astype(np.float64)


class Dice:
    """Draws from a stream that belongs to `seed` alone."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def raw(self, size: int) -> NDArray[np.uint64]:
        """64 random bits each."""
        return np.asarray(self._bits.random_raw(size), dtype=np.uint64)

    def below(self, bound: int | Ints, size: int) -> Ints:
        """Whole numbers from 0 to `bound` - 1, where 0 < bound < 2**32."""
        scaled = (self.raw(size) >> np.uint64(32)) * np.asarray(bound, dtype=np.uint64)
        return (scaled >> np.uint64(32)).astype(np.int64)

    def between(self, low: int, high: int, size: int) -> Ints:
        """Whole numbers from `low` to `high`, both included."""
        return low + self.below(high - low + 1, size)

    def chance(self, share: float, size: int) -> Mask:
        """True with probability `share`."""
        return (self.raw(size) >> np.uint64(11)).astype(np.float64) < share * 2.0**53

    def pick(self, weights: Ints, size: int) -> Ints:
        """Positions in `weights`, each as often as its weight says; the weights sum to less than 2**32."""
        ends = np.cumsum(weights)
        return np.searchsorted(ends, self.below(int(ends[-1]), size), side="right").astype(np.int64)

    def factor(self, sigma: float, size: int) -> Floats:
        """Lognormal factors with median 1."""
        return spread(sigma)[(self.raw(size) >> np.uint64(52)).astype(np.int64)]

    def order(self, size: int) -> Ints:
        """A random order of 0 to `size` - 1."""
        return np.argsort(self.raw(size), kind="stable").astype(np.int64)
