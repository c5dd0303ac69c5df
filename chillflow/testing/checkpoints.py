"""Redis in memory, as assembly sees it; what it holds can be lost, old or damaged."""

import random
import zlib
from dataclasses import dataclass, field, replace

from chillflow.positions import Claim


@dataclass(frozen=True)
class Snapshot:
    token: str
    topic_id: str
    offset: int
    payload: bytes
    checksum: int


@dataclass
class MemoryCheckpoints:
    """`away`: saves are not taken, loads find nothing."""

    saved: dict[tuple[str, str, int], Snapshot] = field(default_factory=dict)
    away: bool = False

    def save(self, claim: Claim, offset: int, payload: bytes) -> bool:
        if self.away:
            return False
        self.saved[_key(claim)] = Snapshot(claim.token, claim.topic.topic_id, offset, payload, zlib.crc32(payload))
        return True

    def load(self, claim: Claim) -> tuple[int, bytes] | None:
        found = None if self.away else self.saved.get(_key(claim))
        if found is None or found.token != claim.replaced or found.topic_id != claim.topic.topic_id:
            return None
        if zlib.crc32(found.payload) != found.checksum:
            return None
        if not claim.position.rewind_offset <= found.offset <= claim.position.next_offset:
            return None
        return found.offset, found.payload

    def close(self) -> None:
        pass

    def flush(self) -> None:
        self.saved.clear()

    def corrupt(self, dice: random.Random) -> None:
        for key, found in self.saved.items():
            if found.payload:
                at = dice.randrange(len(found.payload))
                damaged = bytes([*found.payload[:at], found.payload[at] ^ 0x5A, *found.payload[at + 1 :]])
                self.saved[key] = replace(found, payload=damaged)


def _key(claim: Claim) -> tuple[str, str, int]:
    return claim.group, claim.topic.name, claim.partition
