"""What assembly asks of its stores. Each has a real server behind it, and a double in chillflow/testing.

One contract suite runs over both. Errors of all of them: ServiceDown where the service does not answer, is frozen or
drops the connection (try again with backoff); others as said.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from chillflow.assembly import Known, ServiceMonth
from chillflow.events import DeadLetter, Polled
from chillflow.months import Month
from chillflow.placing import Placed
from chillflow.positions import Claim, Desired, Ends, GivenUp, Group, Position, Topic

Outcome = Literal["done", "again", "fenced"]


class LogReader(Protocol):
    """Reads partitions by assignment, never by group rebalancing. Used by one thread at a time."""

    def topic(self) -> Topic:
        """The topic as it is now; raises TopicMissing."""
        ...

    def range(self, partition: int) -> tuple[int, int]:
        """The smallest offset that is still there, and the end (the next offset to be written).

        Real brokers: the embedded one tells wrong ends; it must be right there too (see the eventlog store).
        """
        ...

    def ranges(self, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
        """`range` of several at once."""
        ...

    def assign(self, partition: int, offset: int) -> None:
        """Reads on at this offset, whether the partition was assigned before or not."""
        ...

    def unassign(self, partition: int) -> None: ...

    def poll(self, limit: int, timeout: float) -> list[Polled]:
        """Up to about `limit` records, at most one Polled per assigned partition, waiting up to `timeout` seconds.

        Returns as soon as there is something. A partition at its end appears (with no records) at most about once a
        second, with `at_end`. Raises OffsetGone where retention has passed a position, LogTooShort where
        the log ends before it, TopicMissing where the topic is gone; ServiceDown where the broker has been away for
        longer than a few seconds.
        """
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tells the broker, for lag tools only; does not wait and does not fail."""
        ...

    def close(self) -> None: ...


class LogWriter(Protocol):
    """An idempotent producer; records of a key keep their order."""

    def send(self, key: bytes, value: bytes, mark: int = 0) -> None:
        """Queues a record; blocks while the queue is full; raises ServiceDown. `mark`: see acknowledged()."""
        ...

    def send_all(self, keys: Sequence[bytes], values: Sequence[bytes], first_mark: int) -> None:
        """`send` for many: record i has the mark first_mark + i."""
        ...

    def acknowledged(self) -> int:
        """The smallest mark + 1 such that it and all marks before it are acknowledged by the broker."""
        ...

    def flush(self) -> None:
        """Waits until all that was sent is acknowledged; raises ServiceDown."""
        ...

    def close(self) -> None: ...


class Checkpoints(Protocol):
    """Snapshots of a partition's state: a shortcut, never the truth. Whatever is wrong with one reads as None."""

    def save(self, claim: Claim, offset: int, payload: bytes) -> bool:
        """Stores the state as of `offset`, which PostgreSQL has confirmed; False where Redis did not take it."""
        ...

    def load(self, claim: Claim) -> tuple[int, bytes] | None:
        """The snapshot (offset, payload) made under the token that `claim` replaced, of the same topic id and format
        version, its checksum right and rewind_offset <= offset <= next_offset of claim.position; else None."""
        ...

    def close(self) -> None: ...


class Transaction(Protocol):
    """Step 3 of the commit loop; its methods are called in this order, once each but for look_up."""

    def lock(self, claims: Sequence[Claim], begins: Mapping[int, int]) -> list[int]:
        """3a: locks the partition rows `for update` in partition order; returns the fenced partitions (another epoch,
        or next_offset is not where the batch begins)."""
        ...

    def loaded(self, months: Collection[ServiceMonth]) -> set[ServiceMonth]:
        """3b: takes the shared advisory locks, sorted; returns the months that have a loaded file."""
        ...

    def look_up(self, ids: Collection[str]) -> dict[str, Known]:
        """3c: rows of the four tables that stand for these trips; in bulk."""
        ...

    def reversed_among(self, ids: Collection[str]) -> set[str]:
        """3c: which of these originals have a reversal in `adjustments`."""
        ...

    def write(self, placed: Placed) -> None:
        """3e: deletes `gone`, inserts the rest by COPY, notes dirty hours. A row that is there already is an error."""
        ...

    def bury(self, topic: Topic, letters: Sequence[DeadLetter]) -> None:
        """3e: dead letters; those that are there already (topic id, partition, offset) are passed over."""
        ...

    def advance(self, claims: Sequence[Claim], positions: Sequence[Position]) -> None:
        """3f: moves the partitions' rows; raises Fenced where a row is not this claim's (cannot be, after 3a)."""
        ...


class TripStore(Protocol):
    """PostgreSQL as assembly sees it. A connection of its own per instance; used by one thread at a time."""

    def take_group(self, group: str, topic: Topic, desired: Desired | None) -> Group:
        """The coordinator's: group epoch + 1, the group and its partitions' rows made where missing.

        A partition row that is made starts at offset 0 of the log (next_offset = rewind_offset = the log's start is
        checked by the caller) with max_pickup = the greatest pickup in the four tables. Raises OtherTopic (the
        warehouse takes this topic from another group, or the group another topic) and PartitionsChanged.
        """
        ...

    def switch_topic(self, group: str, topic: Topic, ends: Ends | None = None) -> tuple[Group, list[GivenUp]]:
        """Makes `topic` the group's, and takes the group; whoever owned a partition is fenced. A topic that is come
        back to goes on. Raises NoSuchGroup.

        Without `ends` the caller has seen that the former topic has no lag; raises OpenTrips where rewind_offset <
        next_offset. With `ends`, those of the former topic, it is left as it is, and what that loses is written down
        and returned.
        """
        ...

    def group(self, group: str) -> Group | None: ...

    def set_desired(self, group: str, desired: Desired) -> None:
        """`chillflow scale`; raises NoSuchGroup."""
        ...

    def partitions(self, group: str) -> list[dict[str, object]]:
        """The rows of assembly_partitions as dicts named like the columns, by partition."""
        ...

    def claim(self, group: Group, partition: int, owner: str) -> Claim:
        """Step R1: under the group row `for share`, while its epoch is `group.epoch` (else raises Superseded):
        terminates the former owner's backend (pid and start match), epoch + 1, a new token, owner, this backend."""
        ...

    def release(self, claim: Claim) -> None:
        """Clears owner and pid where the epoch is still the claim's."""
        ...

    def ensure_partitions(self, months: Collection[Month]) -> None:
        """Partitions of `trips`, in short transactions of their own; remembers what is there."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begins; commits at the end of the block, rolls back where it raises. Raises OutcomeUnknown where the answer
        to COMMIT was lost."""
        ...

    def outcomes(
        self, claims: Sequence[Claim], begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> dict[int, Outcome]:
        """After OutcomeUnknown: rows read back `for update`: my epoch and the end = done, my epoch and the beginning =
        again, anything else = fenced."""
        ...

    def close(self) -> None: ...
