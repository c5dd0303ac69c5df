"""A partition that an assembler holds, and the batches that wait to be committed."""

from collections.abc import Sequence
from dataclasses import dataclass

from chillflow.assembly import Gathered, State, gather
from chillflow.events import DeadLetter, Decoded, Polled
from chillflow.positions import Claim, Group


@dataclass
class Held:
    """A partition claimed for a group: all below `next_offset` is in PostgreSQL.

    `read_to` is how far the log has been read, below next_offset during the rewind; `live` once the rebuilt state has
    been compared with PostgreSQL. Times are the clock's monotonic seconds: `idle_since` is from when on the broker has
    confirmed that there is nothing to read, None when there was.
    """

    group: Group
    claim: Claim
    state: State
    next_offset: int
    read_to: int
    saved_at: float
    live: bool = False
    saved_offset: int = -1
    idle_since: float | None = None

    @property
    def partition(self) -> int:
        return self.claim.partition

    @property
    def rewinding(self) -> bool:
        return self.read_to < self.next_offset


@dataclass(frozen=True)
class Batch:
    """What a poll brought of one partition, decoded and grouped by trip (steps 1 and 2)."""

    decoded: Decoded
    gathered: Gathered

    @classmethod
    def of(cls, decoded: Decoded) -> "Batch":
        return cls(decoded, gather(decoded))

    @property
    def partition(self) -> int:
        return self.gathered.partition

    @property
    def begin(self) -> int:
        return self.gathered.begin

    @property
    def end(self) -> int:
        return self.gathered.end

    @property
    def dead(self) -> Sequence[DeadLetter]:
        return self.decoded.dead

    def split(self, at: int) -> tuple["Batch", "Batch"]:
        """The records before an offset, and those from it on."""
        decoded, polled = self.decoded, self.decoded.polled
        parts = []
        for begin, end, at_end in ((polled.begin, at, False), (at, polled.end, polled.at_end)):
            inside = [begin <= offset < end for offset in decoded.offsets]
            part = Polled(polled.partition, begin, end, [], [], [], at_end)
            events = [event for event, take in zip(decoded.events, inside, strict=True) if take]
            offsets = [offset for offset, take in zip(decoded.offsets, inside, strict=True) if take]
            dead = [letter for letter in decoded.dead if begin <= letter.offset < end]
            parts.append(Batch.of(Decoded(part, events, offsets, dead, decoded.unknown_fields)))
        return parts[0], parts[1]
