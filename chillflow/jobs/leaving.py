"""Leaving a topic for another one: once all of it is assembled, or on demand, and then what is lost is counted."""

from collections.abc import Callable, Mapping
from contextlib import closing

from chillflow.errors import NoSuchGroup, TopicBehind, TopicGone, TopicMissing
from chillflow.positions import Ends, GivenUp, Group, Topic
from chillflow.stores.eventlog import KafkaReader
from chillflow.stores.protocols import LogReader, TripStore


def leave(
    store: TripStore, group: str, topic: Topic, kafka: Mapping[str, str], give_up: bool, say: Callable[[str], None]
) -> None:
    """Makes `topic` the group's. Raises NoSuchGroup, and without `give_up` TopicGone, TopicBehind and OpenTrips."""
    former = store.group(group)
    if former is None:
        raise NoSuchGroup(group)
    with closing(KafkaReader(kafka, former.topic.name, group)) as reader:
        ends = _ends(former, reader)
    if not give_up:
        _check_settled(store, former, ends)
    _, given_up = store.switch_topic(group, topic, ends if give_up else None)
    for line in account(former.topic, given_up) if give_up else ():
        say(line)


def account(topic: Topic, given_up: list[GivenUp]) -> list[str]:
    """What is lost with a topic, a line a partition, and all in all."""
    if not given_up:
        return [f"{topic.name}: all of it was assembled, nothing is given up"]
    lines = [f"{topic.name} partition {one.partition}: {_records(one)}, {_open(one)}" for one in given_up]
    known = [one.records for one in given_up if one.records is not None]
    records = f"{sum(known):,} records" if len(known) == len(given_up) else "an unknown number of records"
    trips = sum(one.open_trips for one in given_up)
    return [*lines, f"given up with {topic.name}: {records} and {trips:,} open trips (table given_up)"]


def _records(one: GivenUp) -> str:
    if one.log_end is None or one.log_start is None:
        return f"gone, assembled up to offset {one.next_offset}"
    if not one.records:
        return f"assembled to its end at offset {one.log_end}"
    gone = max(0, min(one.log_start, one.log_end) - one.next_offset)
    passed = f" ({gone:,} of them passed by retention)" if gone else ""
    return f"{one.records:,} records from offset {one.next_offset} on are not assembled{passed}"


def _open(one: GivenUp) -> str:
    return f"{one.open_trips:,} open trips, whose first event is at offset {one.rewind_offset}" if one.open_trips else (
        "no open trips"
    )  # fmt: skip


def _ends(group: Group, reader: LogReader) -> Ends:
    """The ends of the group's topic, partitions that were added to it included."""
    try:
        found = reader.topic()
        if found.topic_id == group.topic.topic_id:
            return reader.ranges(range(found.partitions))
    except TopicMissing:
        pass
    return dict.fromkeys(range(group.topic.partitions))


def _check_settled(store: TripStore, group: Group, ends: Ends) -> None:
    settled = {int(str(row["partition"])): int(str(row["next_offset"])) for row in store.partitions(group.name)}
    lag = 0
    for partition, range_ in ends.items():
        if range_ is None:
            raise TopicGone(group.topic.name, group.topic.topic_id)
        lag += max(0, range_[1] - settled.get(partition, 0))
    if lag:
        raise TopicBehind(group.topic.name, lag)
