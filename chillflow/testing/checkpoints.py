"""Redis in memory, as assembly sees it; what it holds can be lost, old or damaged."""

import random
from dataclasses import dataclass, field

from chillflow.positions import Claim
from chillflow.stores.snapshots import open_for, seal

Key = tuple[str, str, int]


@dataclass
class MemoryCheckpoints:
    """`away`: saves are not taken, loads find nothing."""

    saved: dict[Key, bytes] = field(default_factory=dict)
    away: bool = False

    def save(self, claim: Claim, offset: int, payload: bytes) -> bool:
        if not self.away:
            self.saved[_key(claim)] = seal(claim, offset, payload)
        return not self.away

    def load(self, claim: Claim) -> tuple[int, bytes] | None:
        return None if self.away else open_for(claim, self.saved.get(_key(claim)))

    def close(self) -> None:
        pass

    def flush(self) -> None:
        self.saved.clear()

    def corrupt(self, dice: random.Random) -> None:
        """Flips a bit of each snapshot."""
        for key, found in self.saved.items():
            at = dice.randrange(len(found))
            self.saved[key] = found[:at] + bytes([found[at] ^ 1 << dice.randrange(8)]) + found[at + 1 :]


def _key(claim: Claim) -> Key:
    return claim.group, claim.topic.name, claim.partition
