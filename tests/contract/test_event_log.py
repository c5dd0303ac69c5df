"""The contract of LogReader and LogWriter, over the log in memory, the embedded broker, and Apache Kafka."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from confluent_kafka import OFFSET_INVALID

from chillflow.actors.fetching import Inline
from chillflow.actors.lags import Ends
from chillflow.clock import ManualClock
from chillflow.errors import LogTooShort, OffsetGone, ServiceDown, TopicMissing
from chillflow.events import Polled
from chillflow.positions import Topic
from chillflow.stores.eventlog import KafkaReader
from chillflow.stores.protocols import LogReader
from chillflow.testing.log import partition_of
from tests.event_logs import Administered, EventLog, InKafka, InMemory, Record
from tests.fix_brokers import Embedded, Kafka
from tests.services import only_embedded
from tests.streams import new_topic

PATIENCE = 60.0


def made(request: pytest.FixtureRequest) -> Iterator[EventLog]:
    if request.param == "in memory":
        log: EventLog = InMemory()
    else:
        of = "embedded_brokers" if request.param == "embedded" else "kafka"
        log = InKafka(request.getfixturevalue(of).config)
    yield log
    log.close()


embedded = pytest.param("embedded", marks=only_embedded)
log = pytest.fixture(made, params=["in memory", embedded, "Apache Kafka"], name="log")
one_server = pytest.fixture(made, params=["in memory", "embedded"], name="one_server")
administered = pytest.fixture(made, params=["in memory", "Apache Kafka"], name="administered")


def records(number: int, first: int = 0) -> list[Record]:
    return [(b"key %d" % at, b"value %d" % at) for at in range(first, first + number)]


def read(reader: LogReader, enough: Callable[[list[Polled]], bool], limit: int = 100) -> list[Polled]:
    """What is polled until it is enough."""
    found: list[Polled] = []
    deadline = time.monotonic() + PATIENCE
    while not enough(found):
        assert time.monotonic() < deadline, found
        found += reader.poll(limit, 0.1)
    return found


def values(found: list[Polled], partition: int = 0) -> list[bytes | None]:
    return [value for polled in found if polled.partition == partition for value in polled.values]


def ended(*partitions: int) -> Callable[[list[Polled]], bool]:
    """Whether the end of each of these was seen."""
    return lambda found: {polled.partition for polled in found if polled.at_end} >= set(partitions)


def test_a_topic_is_described_as_it_was_made(log: EventLog) -> None:
    topic = log.create(3)
    assert topic.partitions == 3
    assert log.reader(topic.name).topic() == topic
    assert log.create(3).topic_id != topic.topic_id


def test_a_topic_that_is_not_there_is_missing(log: EventLog) -> None:
    log.create(1)
    name = new_topic()
    with pytest.raises(TopicMissing, match=f"there is no topic {name}"):
        log.reader(name).topic()


def test_a_partition_is_read_from_the_offset_that_it_is_assigned_at(log: EventLog) -> None:
    topic = log.create(2)
    log.send(topic, 0, records(5))
    log.send(topic, 1, records(4, first=50))
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    reader.assign(1, 3)
    found = read(reader, ended(0, 1))
    assert values(found, 0) == [value for _, value in records(5)]
    assert values(found, 1) == [b"value 53"]
    assert [key for polled in found if polled.partition == 1 for key in polled.keys] == [b"key 53"]


def test_batches_of_a_partition_join_without_a_gap(log: EventLog) -> None:
    topic = log.create(1)
    log.send(topic, 0, records(250))
    reader = log.reader(topic.name)
    reader.assign(0, 10)
    found = [polled for polled in read(reader, ended(0), limit=40) if polled.offsets]
    assert len(found) > 1
    assert [polled.begin for polled in found] == [10, *(polled.end for polled in found[:-1])]
    assert [offset for polled in found for offset in polled.offsets] == list(range(10, 250))
    assert found[-1].end == 250


def test_a_batch_is_not_much_greater_than_asked_for(log: EventLog) -> None:
    topic = log.create(1)
    log.send(topic, 0, records(250))
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    assert max(len(polled.offsets) for polled in read(reader, ended(0), limit=20)) <= 21


def test_records_without_a_key_or_a_value_are_read(log: EventLog) -> None:
    topic = log.create(1)
    log.send(topic, 0, [(None, b"no key"), (b"no value", None), (b"", b"")])
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    found = read(reader, ended(0))
    assert values(found) == [b"no key", None, b""]
    assert [key for polled in found for key in polled.keys] == [None, b"no value", b""]


def test_the_end_is_told_again_while_nothing_comes_and_what_comes_then_is_read(log: EventLog) -> None:
    topic = log.create(1)
    log.send(topic, 0, records(2))
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    found = read(reader, lambda found: sum(polled.at_end for polled in found) >= 2)
    assert [(polled.begin, polled.end) for polled in found if polled.at_end and not polled.offsets][-1] == (2, 2)
    log.send(topic, 0, records(1, first=2))
    assert values(read(reader, lambda found: bool(values(found)))) == [b"value 2"]


def test_an_empty_partition_is_at_its_end(log: EventLog) -> None:
    topic = log.create(2)
    reader = log.reader(topic.name)
    reader.assign(1, 0)
    found = read(reader, ended(1))
    assert next((polled.partition, polled.begin, polled.end) for polled in found if polled.at_end) == (1, 0, 0)


def test_a_partition_that_was_let_go_is_not_read_any_more(log: EventLog) -> None:
    topic = log.create(2)
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    reader.assign(1, 0)
    read(reader, ended(0, 1))
    reader.unassign(0)
    reader.unassign(0)
    log.send(topic, 0, records(3))
    log.send(topic, 1, records(3))
    found = read(reader, lambda found: len(values(found, 1)) == 3)
    assert {polled.partition for polled in found} == {1}


def test_a_partition_that_is_assigned_again_is_read_from_there(log: EventLog) -> None:
    topic = log.create(1)
    log.send(topic, 0, records(5))
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    read(reader, ended(0))
    reader.assign(0, 3)
    assert values(read(reader, ended(0))) == [b"value 3", b"value 4"]


def test_ranges_tell_beginnings_and_ends(log: EventLog) -> None:
    topic = log.create(3)
    reader = log.reader(topic.name)
    assert reader.ranges(range(3)) == {0: (0, 0), 1: (0, 0), 2: (0, 0)}
    log.send(topic, 0, records(7))
    log.send(topic, 2, records(1))
    assert reader.ranges(range(3)) == {0: (0, 7), 1: (0, 0), 2: (0, 1)}
    log.send(topic, 0, records(200, first=7))
    assert reader.range(0) == (0, 207)
    assert reader.ranges([2]) == {2: (0, 1)}


def test_ranges_do_not_disturb_what_is_read(log: EventLog) -> None:
    topic = log.create(1)
    log.send(topic, 0, records(30))
    reader = log.reader(topic.name)
    reader.assign(0, 5)
    assert reader.range(0) == (0, 30)
    assert values(read(reader, ended(0))) == [value for _, value in records(25, first=5)]


def test_offsets_for_lag_tools_are_stored(log: EventLog) -> None:
    """Nothing waits for them, so that they are looked for until they are there."""
    topic = log.create(2)
    reader = log.reader(topic.name)
    reader.assign(0, 0)
    reader.commit({0: 3, 1: 4})
    deadline = time.monotonic() + PATIENCE
    while log.committed(reader, topic) != {0: 3, 1: 4}:
        assert time.monotonic() < deadline, log.committed(reader, topic)
        reader.poll(1, 0.1)


def test_a_broker_that_is_away_is_down_not_silent(one_server: EventLog) -> None:
    reader = one_server.away(one_server.create(1).name)
    with pytest.raises(ServiceDown, match="Kafka at"):
        reader.topic()
    reader.assign(0, 0)
    with pytest.raises(ServiceDown, match="Kafka at"):
        read(reader, lambda found: False)


@only_embedded
def test_a_frozen_broker_tells_no_ends_and_those_that_it_told_stand(embedded_brokers: Embedded) -> None:
    with closing(InKafka(embedded_brokers.config)) as broker:
        topic = broker.create(2)
        broker.send(topic, 0, records(7))
        clock = ManualClock()
        ends = Ends(broker.reader(topic.name), topic, clock, Inline(), 1.0)
        ends.look()
        assert ends.at == {0: 7, 1: 0}
        process = embedded_brokers.process()
        process.suspend()
        try:
            clock.pause(2.0)
            ends.look()
        finally:
            process.resume()
        assert isinstance(ends.trouble, ServiceDown)
        assert ends.at == {0: 7, 1: 0}


def test_an_end_below_nothing_is_no_end() -> None:
    """What librdkafka says of a broker that hangs may be -1001, and no error."""

    class Hung:
        def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
            return OFFSET_INVALID, OFFSET_INVALID

    with closing(KafkaReader({"bootstrap.servers": "127.0.0.1:9"}, "trip-events")) as reader:
        reader._probe = Hung()  # type: ignore[assignment]
        with pytest.raises(ServiceDown, match="does not tell the range"):
            reader.range(0)
        reader._probe = None


def test_a_writer_chooses_partitions_as_the_contract_says_and_keeps_the_order_of_a_key(log: EventLog) -> None:
    topic = log.create(3)
    sent = [(b"key %d" % (number % 11), b"%d" % number) for number in range(200)]
    writer = log.writer(topic.name)
    writer.send_all([key for key, _ in sent[:150]], [value for _, value in sent[:150]], 0)
    for number, (key, value) in enumerate(sent[150:], 150):
        writer.send(key, value, number)
    writer.flush()
    assert writer.acknowledged() == 200
    reader = log.reader(topic.name)
    for partition in range(3):
        reader.assign(partition, 0)
    found = read(reader, ended(0, 1, 2))
    for partition in range(3):
        assert values(found, partition) == [value for key, value in sent if partition_of(key, 3) == partition]


def test_retention_moves_the_beginning_and_is_no_end(administered: Administered) -> None:
    topic = administered.create(1)
    administered.send(topic, 0, records(10))
    administered.delete_records(topic, 0, 6)
    reader = administered.reader(topic.name)
    assert reader.range(0) == (6, 10)
    reader.assign(0, 6)
    assert values(read(reader, ended(0))) == [value for _, value in records(4, first=6)]
    administered.delete_records(topic, 0, 10)
    assert administered.reader(topic.name).range(0) == (10, 10)


def test_an_offset_that_retention_has_passed_is_an_error_with_the_range(administered: Administered) -> None:
    topic = administered.create(1)
    administered.send(topic, 0, records(10))
    administered.delete_records(topic, 0, 6)
    reader = administered.reader(topic.name)
    reader.assign(0, 2)
    with pytest.raises(OffsetGone, match="offsets 2 to 5 are needed but gone"):
        read(reader, lambda found: False)


def test_retention_that_passes_a_reader_on_the_way_is_an_error_too(administered: Administered) -> None:
    topic = administered.create(1)
    administered.send(topic, 0, records(3))
    reader = administered.reader(topic.name)
    reader.assign(0, 0)
    read(reader, ended(0))
    reader.unassign(0)
    administered.send(topic, 0, records(5, first=3))
    administered.delete_records(topic, 0, 7)
    reader.assign(0, 3)
    with pytest.raises(OffsetGone) as caught:
        read(reader, lambda found: False)
    assert (caught.value.needed, caught.value.first) == (3, 7)


def test_an_offset_beyond_the_end_is_an_error_with_both(administered: Administered) -> None:
    topic = administered.create(1)
    administered.send(topic, 0, records(4))
    reader = administered.reader(topic.name)
    reader.assign(0, 9)
    with pytest.raises(LogTooShort, match="ends at offset 4, but PostgreSQL has committed up to 9"):
        read(reader, lambda found: False)


def test_what_is_read_beside_a_partition_whose_offsets_are_gone_is_not_lost(administered: Administered) -> None:
    topic = administered.create(2)
    for partition in (0, 1):
        administered.send(topic, partition, records(10))
    administered.delete_records(topic, 1, 6)
    reader = administered.reader(topic.name)
    reader.assign(0, 0)
    reader.assign(1, 2)
    found: list[Polled] = []

    def never(polled: list[Polled]) -> bool:
        found[:] = polled
        return False

    with pytest.raises(OffsetGone):
        read(reader, never)
    reader.unassign(1)
    found += read(reader, lambda rest: len(values(found + rest)) == 10)
    assert values(found) == [value for _, value in records(10)]


def test_a_topic_that_was_made_again_has_another_id(administered: Administered) -> None:
    topic = administered.create(1)
    administered.send(topic, 0, records(3))
    administered.delete(topic)
    again = remade(administered, topic)
    assert again.topic_id != topic.topic_id
    assert administered.reader(topic.name).range(0) == (0, 0)


def test_a_deleted_topic_is_missing_for_who_reads_it(administered: Administered) -> None:
    topic = administered.create(1)
    reader = administered.reader(topic.name)
    reader.assign(0, 0)
    read(reader, ended(0))
    administered.delete(topic)
    with pytest.raises(TopicMissing):
        read(reader, lambda found: False)


def test_added_partitions_show(administered: Administered) -> None:
    topic = administered.create(2)
    administered.grow(topic, 3)
    assert administered.reader(topic.name).topic() == Topic(topic.name, topic.topic_id, 3)


def test_ends_are_those_of_the_topic_that_was_made_again(administered: Administered) -> None:
    topic = administered.create(1)
    administered.send(topic, 0, records(9))
    reader = administered.reader(topic.name)
    assert reader.range(0) == (0, 9)
    administered.delete(topic)
    administered.send(remade(administered, topic), 0, records(4))
    assert reader.range(0) == (0, 4)


def test_an_offset_that_is_gone_is_told_also_where_the_range_cannot_be_had_at_first(kafka: Kafka) -> None:
    """librdkafka tells it once, and the broker may be away just then."""

    class Interrupted(KafkaReader):
        asked = 0

        def range(self, partition: int) -> tuple[int, int]:
            self.asked += 1
            if self.asked == 1:
                raise ServiceDown("Kafka", self.name, "it is away")
            return super().range(partition)

    broker = InKafka(kafka.config)
    topic = broker.create(1)
    broker.send(topic, 0, records(10))
    broker.delete_records(topic, 0, 6)
    with closing(broker), closing(Interrupted(kafka.config, topic.name)) as reader:
        reader.assign(0, 2)
        with pytest.raises(ServiceDown):
            read(reader, lambda found: False)
        with pytest.raises(OffsetGone, match="offsets 2 to 5 are needed but gone"):
            reader.poll(100, 0.1)


def remade(administered: Administered, topic: Topic) -> Topic:
    """The topic, made again once the broker has forgotten the old one."""
    deadline = time.monotonic() + PATIENCE
    while (again := administered.create(topic.partitions, topic.name)).topic_id == topic.topic_id:
        assert time.monotonic() < deadline
    return again
