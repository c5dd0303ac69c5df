"""The event log: Kafka. docs/events.md is the contract of its topic, docs/services.md tells how brokers differ.

Partitions are read by assignment, never by group rebalancing: PostgreSQL says who may read on from where.
"""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from chillflow.errors import LogTooShort, OffsetGone, ServiceDown, TopicMissing
from chillflow.events import Polled
from chillflow.positions import Topic

Config = Mapping[str, str]
"""librdkafka's settings of a connection: bootstrap.servers, and security where there is some."""

PATIENCE = 5.0
LIFE = 1.0
"""Seconds after which a reader that gets nothing of a partition asks its broker whether it is there."""

MEGABYTE = 1 << 20
_OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
_MISSING = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_REFUSED = (KafkaError._AUTHENTICATION, KafkaError._SSL)
log = logging.getLogger("chillflow.kafka")
log.addHandler(logging.NullHandler())
log.propagate = False  # librdkafka tries again by itself, and says so at length


def describe(config: Config, name: str) -> Topic:
    """The topic as the broker knows it; raises TopicMissing and ServiceDown."""
    return _described(admin_client(config), config, name)


def ensure_topic(config: Config, name: str, partitions: int) -> Topic:
    """The topic, made with this number of partitions if it is missing; raises ServiceDown."""
    admin = admin_client(config)
    deadline = time.monotonic() + 4 * PATIENCE
    while (found := _listed(admin, config, name)) is None:
        [made] = admin.create_topics([NewTopic(name, num_partitions=partitions)]).values()
        try:
            made.result(PATIENCE)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS and time.monotonic() > deadline:
                raise down(config, error.args[0].str()) from error
        time.sleep(0.05)
    return found


def admin_client(config: Config) -> AdminClient:
    settings: dict[str, Any] = {**config, "logger": log, "socket.timeout.ms": 5000}
    return AdminClient(settings)


def _described(admin: AdminClient, config: Config, name: str) -> Topic:
    found = _listed(admin, config, name)
    if found is None:
        raise TopicMissing(name)
    return found


def _listed(admin: AdminClient, config: Config, name: str) -> Topic | None:
    try:
        # All topics: the embedded broker makes one that it is asked for, with a number of partitions of its own.
        facts = admin.list_topics(timeout=PATIENCE).topics.get(name)
        if facts is None or facts.error is not None or not facts.partitions:
            return None
        [described] = admin.describe_topics(TopicCollection([name]), request_timeout=PATIENCE).values()
        identity = str(described.result(PATIENCE).topic_id)
    except KafkaException as error:
        raise down(config, _cause(config) or error.args[0].str()) from error
    return Topic(name, identity, len(facts.partitions))


def _cause(config: Config) -> str | None:
    """Why a broker refuses us, which calls that come to nothing do not tell: a password, a certificate."""
    if config.get("security.protocol", "PLAINTEXT") == "PLAINTEXT":
        return None
    heard: list[KafkaError] = []
    settings: dict[str, Any] = {**config, "logger": log, "error_cb": heard.append}
    admin = AdminClient(settings)
    deadline = time.monotonic() + PATIENCE
    while not any(error.code() in _REFUSED for error in heard) and time.monotonic() < deadline:
        admin.poll(0.1)
    return next((error.str() for error in heard if error.code() in _REFUSED), None)


class KafkaReader:
    """Reads partitions of a topic by assignment; for one thread at a time. See protocols.LogReader."""

    def __init__(self, config: Config, topic: str, group: str = "chillflow") -> None:
        self._config, self.name = config, topic
        self._consumer = Consumer(_reading(config) | {
            "group.id": group,
            "queued.min.messages": 60_000,
            "queued.max.messages.kbytes": 131_072,
            "fetch.wait.max.ms": 50,
        })  # fmt: skip
        self._admin: AdminClient | None = None
        self._probe: Consumer | None = None
        self._known_ends: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._ends: dict[int, float] = {}
        self._sign_of_life = time.monotonic()
        self._troubles: dict[int, KafkaError] = {}

    def topic(self) -> Topic:
        if self._admin is None:
            self._admin = admin_client(self._config)
        return _described(self._admin, self._config, self.name)

    def range(self, partition: int) -> tuple[int, int]:
        return self.ranges([partition])[partition]

    def ranges(self, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
        """Asks for the ends by reading up to them: the embedded broker's own answer is wrong."""
        if self._probe is None:
            self._probe = Consumer(_reading(self._config) | {"fetch.wait.max.ms": 5})  # an end is told after as long
        beginnings = {partition: self._bounds(partition) for partition in partitions}
        self._probe.assign([
            TopicPartition(self.name, partition, max(low, high - 1, self._known_ends.get(partition, 0)))
            for partition, (low, high) in beginnings.items()
        ])  # fmt: skip
        found: dict[int, tuple[int, int]] = {}
        deadline = time.monotonic() + 2 * PATIENCE
        try:
            while len(found) < len(beginnings) and time.monotonic() < deadline:
                for message in self._probe.consume(1, 0.5) + self._probe.consume(1000, 0.0):
                    if (fault := message.error()) is None:
                        continue
                    partition = message.partition() or 0
                    if fault.code() == KafkaError._PARTITION_EOF:
                        found[partition] = beginnings[partition][0], int(message.offset() or 0)
                    elif fault.code() in _OUT_OF_RANGE and self._known_ends.pop(partition, None) is not None:
                        self._probe.incremental_unassign([TopicPartition(self.name, partition)])
                        low, high = beginnings[partition]
                        self._probe.incremental_assign([TopicPartition(self.name, partition, max(low, high - 1))])
                    else:
                        raise self._translated(fault)
        finally:
            self._probe.unassign()
        if len(found) < len(beginnings):
            for partition in beginnings.keys() - found.keys():  # beyond its end, the embedded broker says nothing
                self._known_ends.pop(partition, None)
            raise down(self._config, "it does not tell the end of a partition")
        self._known_ends |= {partition: end for partition, (_, end) in found.items()}
        return found

    def _bounds(self, partition: int) -> tuple[int, int]:
        """As the broker says: the end may be too low."""
        assert self._probe is not None
        place = TopicPartition(self.name, partition)
        try:
            low, high = self._probe.get_watermark_offsets(place, timeout=PATIENCE, cached=False)
        except KafkaException as error:
            raise self._translated(error.args[0]) from error
        if low < 0 or high < 0:  # what librdkafka says where it was told nothing
            raise down(self._config, "it does not tell the range of a partition")
        return low, high

    def assign(self, partition: int, offset: int) -> None:
        self.unassign(partition)
        self._consumer.incremental_assign([TopicPartition(self.name, partition, offset)])
        self._positions[partition] = offset
        self._sign_of_life = time.monotonic()

    def unassign(self, partition: int) -> None:
        if self._positions.pop(partition, None) is not None:
            self._consumer.incremental_unassign([TopicPartition(self.name, partition)])
        self._ends.pop(partition, None)
        self._troubles.pop(partition, None)

    def poll(self, limit: int, timeout: float) -> list[Polled]:
        if not self._positions:
            time.sleep(timeout)
            return []
        self._raise()
        try:
            messages = self._consumer.consume(1, timeout)
            messages += self._consumer.consume(limit, 0.0)
        except KafkaException as error:
            raise self._translated(error.args[0]) from error
        polled = self._sorted(messages)
        if messages:
            self._sign_of_life = time.monotonic()
        try:
            polled += self._still_at_end({one.partition for one in polled})
        except (ServiceDown, TopicMissing):
            if not polled:
                raise
        if not polled:
            self._raise()
        return polled

    def _still_at_end(self, read: Collection[int]) -> list[Polled]:
        """Partitions that were at their end a while ago, and nothing has come since; the broker says that it is there.

        Where nothing at all comes, the brokers of the other partitions are asked for a sign of life too.
        """
        now = time.monotonic()
        due = [partition for partition, told in self._ends.items() if partition not in read and now - told >= LIFE]
        if now - self._sign_of_life >= LIFE:
            self._ask(self._positions.keys() - set(due))
            self._sign_of_life = time.monotonic()
        self._ask(due)
        self._ends |= dict.fromkeys(due, time.monotonic())
        at = self._positions
        return [Polled(partition, at[partition], at[partition], [], [], [], at_end=True) for partition in sorted(due)]

    def commit(self, offsets: Mapping[int, int]) -> None:
        places = [TopicPartition(self.name, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            log.debug("offsets for lag tools were not stored: %s", error)

    def close(self) -> None:
        self._consumer.close()
        if self._probe is not None:
            self._probe.close()

    def _sorted(self, messages: Iterable[Message]) -> list[Polled]:
        """The messages by partition, in their order."""
        found: dict[int, tuple[list[int], list[bytes | None], list[bytes | None]]] = {}
        ended: dict[int, int] = {}
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    ended[partition] = offset
                else:
                    self._troubles[partition] = error
                continue
            if (lists := found.get(partition)) is None:
                lists = found[partition] = ([], [], [])
            lists[0].append(offset)
            lists[1].append(message.key())
            lists[2].append(message.value())
        polled = []
        for partition in sorted(found.keys() | ended.keys()):
            begin = self._positions.get(partition)
            if begin is None:
                continue
            offsets, keys, values = found.get(partition, ([], [], []))
            end = max(offsets[-1] + 1 if offsets else begin, ended.get(partition, 0))
            self._positions[partition] = end
            at_end = ended.get(partition) == end
            self._ends.pop(partition, None)
            if at_end:
                self._ends[partition] = time.monotonic()
            polled.append(Polled(partition, begin, end, offsets, keys, values, at_end))
        return polled

    def _raise(self) -> None:
        """Raises what a reader cannot go on from, once what was read beside it is out of the way."""
        while self._troubles:
            partition, error = self._troubles.popitem()
            if error.code() in _OUT_OF_RANGE:
                needed = self._positions.get(partition)
                if needed is None:
                    continue
                self._troubles[partition] = error  # it is told once, and the range may not be had now
                first, end = self.range(partition)
                if needed > end:
                    raise LogTooShort(self.name, partition, needed, end)
                raise OffsetGone(self.name, partition, needed, first)
            elif not error.retriable():
                raise self._translated(error)

    def _ask(self, partitions: Iterable[int]) -> None:
        """A sign of life of the broker of each partition; raises ServiceDown."""
        for partition in partitions:
            place = TopicPartition(self.name, partition)
            try:
                self._consumer.get_watermark_offsets(place, timeout=2 * LIFE, cached=False)
            except KafkaException as error:
                raise self._translated(error.args[0]) from error

    def _translated(self, error: KafkaError) -> Exception:
        if error.code() in _MISSING:
            return TopicMissing(self.name)
        return down(self._config, error.str())


def _reading(config: Config) -> dict[str, Any]:
    return {
        **config,
        "logger": log,
        "group.id": "chillflow",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "fetch.message.max.bytes": 16 * MEGABYTE,
        "fetch.max.bytes": 64 * MEGABYTE,
        "receive.message.max.bytes": 128 * MEGABYTE,
        "topic.metadata.refresh.interval.ms": 10_000,
    }


def down(config: Config, why: str) -> ServiceDown:
    return ServiceDown("Kafka", config.get("bootstrap.servers", ""), why)
