"""Real processes on Apache Kafka: the broker is killed; retention takes what is needed; partitions are added."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.event_logs import InKafka
from tests.fix_brokers import Kafka
from tests.fix_embedded import Cli
from tests.streams import Stream, curated, new_topic

ROWS = 6_000


@pytest.fixture(scope="module")
def prepared(embedded: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return curated(lambda: embedded, tmp_path_factory.mktemp("stream"), rows=ROWS)


@pytest.fixture
def stream(kafka: Kafka, new_cli: Callable[[], Cli], prepared: tuple[Path, Path]) -> Stream:
    files, lake = prepared
    cli = new_cli().given(CHILLFLOW_LAKE=str(lake), CHILLFLOW_KAFKA_BOOTSTRAP=kafka.address)
    return Stream(cli, files, new_topic())


@pytest.fixture
def broker(kafka: Kafka) -> Iterator[InKafka]:
    """The broker as its operator sees it."""
    broker = InKafka(kafka.config)
    yield broker
    broker.close()


def test_a_broker_that_is_killed_loses_nothing_and_added_partitions_are_refused(
    stream: Stream, kafka: Kafka, broker: InKafka
) -> None:
    replay = stream.replaying("--duplicate", "0.05", "--late", "0.05", "--seed", "7", "--speed", "300000")
    with stream.assembling() as driver:
        stream.until(lambda: stream.settled() > 0, "the first records")
        kafka.kill()
        kafka.start()
        stream.await_sent(replay, driver)
    stream.finish()
    assert "no differences" in stream.reconcile()

    before = stream.partitions()
    broker.grow(broker.reader(stream.topic).topic(), 13)
    said = stream.cli.run("assemble", "--topic", stream.topic, "--until-caught-up", code=1).stderr
    assert "has 13 partitions, the group began with 12" in said
    assert stream.partitions() == before


def test_a_topic_that_retention_has_passed_is_left_and_the_month_sent_again(stream: Stream, broker: InKafka) -> None:
    stream.replay("--drop", "0.05", "--seed", "7")
    with stream.assembling():
        stream.until(lambda: stream.settled() > 0 and not lag(stream, broker), "all is settled, some trips are open")
    stream.replay("--seed", "8")
    open_ = [row for row in stream.partitions() if row["rewind_offset"] < row["next_offset"]]
    for row in open_:
        broker.delete_records(broker.reader(stream.topic).topic(), row["partition"], row["rewind_offset"] + 1)
    waiting = lag(stream, broker)

    said = stream.cli.run("assemble", "--topic", stream.topic, "--until-caught-up", code=1).stderr
    passed = {f"offsets {row['rewind_offset']} to {row['rewind_offset']} are needed but gone" for row in open_}
    assert any(range_ in said for range_ in passed), said

    new = Stream(stream.cli, stream.files, new_topic())
    new.replay("--seed", "9")
    said = stream.cli.run("assemble", "--topic", new.topic, "--switch-topic", "--give-up", "--until-caught-up").stderr
    assert f"given up with {stream.topic}: " in said
    with psycopg.connect(stream.cli.dsn) as connection:
        [(records,)] = connection.execute("select sum(records) from chillflow.given_up").fetchall()
    assert f"{records:,} records" in said
    assert 0 < records <= waiting
    assert "no differences" in new.reconcile()


def lag(stream: Stream, broker: InKafka) -> int:
    """Records that are not settled."""
    ends = broker.reader(stream.topic).ranges(range(12))
    return sum(ends[row["partition"]][1] - row["next_offset"] for row in stream.partitions())
