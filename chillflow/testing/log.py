"""Kafka in memory, as assembly sees it: topics, partitions, retention; no threads, no waiting."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chillflow.errors import LogTooShort, OffsetGone, ServiceDown, TopicMissing
from chillflow.events import Polled
from chillflow.positions import Topic

Record = tuple[bytes | None, bytes | None]


@dataclass
class MemoryTopic:
    topic: Topic
    records: list[list[Record]]
    first: list[int]


@dataclass
class MemoryLog:
    """A broker; while `away`, every call raises ServiceDown."""

    topics: dict[str, MemoryTopic] = field(default_factory=dict)
    away: bool = False
    _numbers: int = 0

    def create(self, name: str, partitions: int) -> Topic:
        self._numbers += 1
        topic = Topic(name, f"topic-{self._numbers}", partitions)
        self.topics[name] = MemoryTopic(topic, [[] for _ in range(partitions)], [0] * partitions)
        return topic

    def send(self, name: str, partition: int, key: bytes | None, value: bytes | None) -> int:
        records = self.find(name).records[partition]
        records.append((key, value))
        return len(records) - 1

    def delete_records(self, name: str, partition: int, before: int) -> None:
        self.find(name).first[partition] = before

    def delete(self, name: str) -> None:
        self.find(name)
        del self.topics[name]

    def grow(self, name: str, partitions: int) -> Topic:
        """Adds partitions, up to so many."""
        found = self.find(name)
        more = partitions - found.topic.partitions
        found.records += [[] for _ in range(more)]
        found.first += [0] * more
        found.topic = replace(found.topic, partitions=partitions)
        return found.topic

    def find(self, name: str) -> MemoryTopic:
        if self.away:
            raise ServiceDown("Kafka", "memory", "it is away")
        if name not in self.topics:
            raise TopicMissing(name)
        return self.topics[name]


class MemoryReader:
    def __init__(self, log: MemoryLog, topic: str) -> None:
        self.log, self.name = log, topic
        self.committed: dict[int, int] = {}
        self._at: dict[int, int] = {}
        self._trouble: OffsetGone | LogTooShort | None = None

    def topic(self) -> Topic:
        return self.log.find(self.name).topic

    def range(self, partition: int) -> tuple[int, int]:
        found = self.log.find(self.name)
        return found.first[partition], len(found.records[partition])

    def ranges(self, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
        return {partition: self.range(partition) for partition in partitions}

    def assign(self, partition: int, offset: int) -> None:
        self.unassign(partition)
        self._at[partition] = offset

    def unassign(self, partition: int) -> None:
        self._at.pop(partition, None)
        if self._trouble is not None and self._trouble.partition == partition:
            self._trouble = None

    def poll(self, limit: int, timeout: float) -> list[Polled]:
        found, polled = self.log.find(self.name), []
        self._raise()
        for partition, begin in sorted(self._at.items()):
            if begin < found.first[partition]:
                self._trouble = OffsetGone(self.name, partition, begin, found.first[partition])
                continue
            if begin > len(found.records[partition]):
                self._trouble = LogTooShort(self.name, partition, begin, len(found.records[partition]))
                continue
            records = found.records[partition][begin : begin + limit]
            end = begin + len(records)
            self._at[partition] = end
            keys, values = [key for key, _ in records], [value for _, value in records]
            at_end = end == len(found.records[partition])
            polled.append(Polled(partition, begin, end, list(range(begin, end)), keys, values, at_end))
        if not polled:
            self._raise()
        return polled

    def _raise(self) -> None:
        """What is wrong with one partition is told once what was read of the others is out of the way."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.committed |= offsets

    def close(self) -> None:
        self._at = {}


@dataclass
class MemoryWriter:
    """A producer whose last `behind` records are not acknowledged before it is flushed."""

    log: MemoryLog
    name: str
    behind: int = 0
    _sent: int = 0
    _flushed: int = 0

    def send(self, key: bytes, value: bytes, mark: int = 0) -> None:
        self.send_all([key], [value], mark)

    def send_all(self, keys: Sequence[bytes], values: Sequence[bytes], first_mark: int) -> None:
        partitions = self.log.find(self.name).topic.partitions
        for key, value in zip(keys, values, strict=True):
            self.log.send(self.name, partition_of(key, partitions), key, value)
        self._sent = first_mark + len(keys)

    def acknowledged(self) -> int:
        self.log.find(self.name)
        return max(self._flushed, self._sent - self.behind, 0)

    def flush(self) -> None:
        self.log.find(self.name)
        self._flushed = self._sent

    def close(self) -> None:
        self._flushed = self._sent


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a record, as Java's client chooses it: murmur2 of the key."""
    mixed, factor, mask = 0x9747B28C ^ len(key), 0x5BD1E995, 0xFFFFFFFF
    whole = len(key) // 4 * 4
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * factor & mask
        mixed = (mixed * factor & mask) ^ ((word ^ (word >> 24)) * factor & mask)
    if rest := key[whole:]:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * factor & mask
    mixed = (mixed ^ (mixed >> 13)) * factor & mask
    return ((mixed ^ (mixed >> 15)) & 0x7FFFFFFF) % partitions
