"""Event logs for the contract of LogReader: in memory, the embedded broker, Apache Kafka; one way to treat them all."""

from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from chillflow.positions import Topic
from chillflow.stores.eventlog import KafkaReader, describe, ensure_topic
from chillflow.stores.log_writer import KafkaWriter
from chillflow.stores.protocols import LogReader, LogWriter
from chillflow.testing.log import MemoryLog, MemoryReader, MemoryWriter
from tests.streams import new_topic

Record = tuple[bytes | None, bytes | None]


class EventLog(Protocol):
    """A broker as its operator sees it."""

    def create(self, partitions: int, name: str | None = None) -> Topic: ...

    def send(self, topic: Topic, partition: int, records: Sequence[Record]) -> None: ...

    def reader(self, topic: str) -> LogReader: ...

    def writer(self, topic: str) -> LogWriter: ...

    def away(self, topic: str) -> LogReader:
        """A reader of a broker that is not there."""
        ...

    def committed(self, reader: LogReader, topic: Topic) -> dict[int, int]:
        """What lag tools see."""
        ...

    def close(self) -> None: ...


class Administered(EventLog, Protocol):
    """A broker that knows these too; the embedded one does not."""

    def delete_records(self, topic: Topic, partition: int, before: int) -> None: ...

    def delete(self, topic: Topic) -> None: ...

    def grow(self, topic: Topic, partitions: int) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.log = MemoryLog()

    def create(self, partitions: int, name: str | None = None) -> Topic:
        return self.log.create(name or new_topic(), partitions)

    def send(self, topic: Topic, partition: int, records: Sequence[Record]) -> None:
        for key, value in records:
            self.log.send(topic.name, partition, key, value)

    def reader(self, topic: str) -> MemoryReader:
        return MemoryReader(self.log, topic)

    def writer(self, topic: str) -> MemoryWriter:
        return MemoryWriter(self.log, topic)

    def away(self, topic: str) -> MemoryReader:
        self.log.away = True
        return self.reader(topic)

    def committed(self, reader: LogReader, topic: Topic) -> dict[int, int]:
        assert isinstance(reader, MemoryReader)
        return reader.committed

    def delete_records(self, topic: Topic, partition: int, before: int) -> None:
        self.log.delete_records(topic.name, partition, before)

    def delete(self, topic: Topic) -> None:
        self.log.delete(topic.name)

    def grow(self, topic: Topic, partitions: int) -> None:
        self.log.grow(topic.name, partitions)

    def close(self) -> None: ...


class InKafka:
    """A broker that speaks Kafka's protocol."""

    def __init__(self, config: dict[str, str]) -> None:
        self.config = config
        self._opened: list[Any] = []

    def create(self, partitions: int, name: str | None = None) -> Topic:
        return ensure_topic(self.config, name or new_topic(), partitions)

    def send(self, topic: Topic, partition: int, records: Sequence[Record]) -> None:
        producer = Producer({**self.config, "linger.ms": 1})
        faults: list[Any] = []
        for key, value in records:
            producer.produce(
                topic.name, value, key, partition, on_delivery=lambda error, _: faults.append(error) if error else None
            )
        assert producer.flush(30) == 0
        assert not faults

    def reader(self, topic: str) -> KafkaReader:
        return self._closed_later(KafkaReader(self.config, topic))

    def writer(self, topic: str) -> KafkaWriter:
        return self._closed_later(KafkaWriter(self.config, topic))

    def away(self, topic: str) -> KafkaReader:
        return self._closed_later(KafkaReader({**self.config, "bootstrap.servers": "127.0.0.1:9"}, topic))

    def committed(self, reader: LogReader, topic: Topic) -> dict[int, int]:
        assert isinstance(reader, KafkaReader)
        places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        try:
            found = reader._consumer.committed(places, timeout=10)
        except KafkaException:
            return {}
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def delete_records(self, topic: Topic, partition: int, before: int) -> None:
        admin = self._admin()
        [done] = admin.delete_records([TopicPartition(topic.name, partition, before)]).values()
        assert done.result(30).low_watermark == before

    def delete(self, topic: Topic) -> None:
        admin = self._admin()
        [done] = admin.delete_topics([topic.name]).values()
        done.result(30)

    def grow(self, topic: Topic, partitions: int) -> None:
        admin = self._admin()
        [done] = admin.create_partitions([NewPartitions(topic.name, partitions)]).values()
        done.result(30)
        while describe(self.config, topic.name).partitions != partitions:
            pass

    def close(self) -> None:
        for one in self._opened:
            one.close()

    def _admin(self) -> AdminClient:
        return AdminClient(dict(self.config))

    def _closed_later(self, one: Any) -> Any:
        self._opened.append(one)
        return one
