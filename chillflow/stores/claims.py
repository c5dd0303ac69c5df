"""Groups and claims of partitions: statements inside a transaction that the caller has begun."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from chillflow.errors import NoSuchGroup, OpenTrips, OtherTopic, PartitionsChanged, Superseded, TopicReplaced
from chillflow.positions import Claim, Desired, Ends, GivenUp, Group, Position, Topic
from chillflow.stores.postgres import Connection
from chillflow.stores.protocols import Outcome
from chillflow.stores.queries import query

Row = dict[str, Any]


def take_group(connection: Connection, place: str, group: str, topic: Topic, desired: Desired | None) -> Group:
    connection.execute(query("lock_groups"))
    former: Group | None = None
    for row in connection.execute(query("read_groups")):
        former = _group(row)
        if former.name != group or former.topic.name != topic.name:
            raise OtherTopic(place, former.name, former.topic.name, group, topic.name)
        if former.topic.topic_id != topic.topic_id:
            raise TopicReplaced(topic.name, former.topic.topic_id, topic.topic_id)
        if former.topic.partitions != topic.partitions:
            raise PartitionsChanged(topic.name, former.topic.partitions, topic.partitions)
    return _take(connection, group, topic, desired or (former.desired if former else Desired()))


def switch_topic(
    connection: Connection, group: str, topic: Topic, ends: Ends | None = None
) -> tuple[Group, list[GivenUp]]:
    connection.execute(query("lock_groups"))
    former = read_group(connection, group)
    if former is None:
        raise NoSuchGroup(group)
    connection.execute(query("fence_all"))
    given_up: list[GivenUp] = []
    if ends is not None:
        given_up = _give_up(connection, former.topic, ends)
    else:
        open_ = [row for row in read_positions(connection, group) if row["rewind_offset"] < row["next_offset"]]
        if open_:
            raise OpenTrips(former.topic.name, tuple(row["partition"] for row in open_))
    connection.execute(query("reset_positions"), _beginning(connection, group, topic))
    return _take(connection, group, topic, former.desired), given_up


def _give_up(connection: Connection, topic: Topic, ends: Ends) -> list[GivenUp]:
    starts, lasts = zip(*(ends[partition] or (None, None) for partition in ends), strict=True)
    names = {"topic": topic.name, "topic_id": topic.topic_id, "partitions": [*ends], "starts": [*starts],
             "ends": [*lasts]}  # fmt: skip
    rows = connection.execute(query("give_up"), names).fetchall()
    found = [GivenUp(**{field.name: row[field.name] for field in fields(GivenUp)}) for row in rows]
    return sorted(found, key=lambda one: one.partition)


def read_group(connection: Connection, group: str) -> Group | None:
    row = connection.execute(query("read_group"), {"group": group}).fetchone()
    return _group(row) if row else None


def set_desired(connection: Connection, group: str, desired: Desired) -> None:
    if connection.execute(query("set_desired"), {"group": group, **asdict(desired)}).fetchone() is None:
        raise NoSuchGroup(group)


def read_positions(connection: Connection, group: str) -> list[Row]:
    if read_group(connection, group) is None:
        raise NoSuchGroup(group)
    return connection.execute(query("read_positions"), {"group": group}).fetchall()


def claim(connection: Connection, began: dt.datetime, group: Group, partition: int, owner: str) -> Claim:
    """`began` is when this connection did."""
    names = {"group": group.name, "topic": group.topic.name, "partition": partition}
    held = connection.execute(query("hold_group"), names).fetchone()
    if held is None:
        raise NoSuchGroup(group.name)
    if held["epoch"] != group.epoch:
        raise Superseded(group.name, held["epoch"])
    connection.execute(query("end_former_owner"), names)
    former = _one(connection, "hold_position", names)
    token = str(uuid.uuid4())
    row = _one(connection, "claim", names | {"owner": owner, "token": token, "backend_start": began})
    return Claim(group.topic, group.name, partition, row["epoch"], token, former["token"], _position(row))


def release(connection: Connection, claim: Claim) -> None:
    names = {"topic": claim.topic.name, "partition": claim.partition, "epoch": claim.epoch}
    connection.execute(query("release"), names)


def outcomes(
    connection: Connection, claims: Sequence[Claim], begins: Mapping[int, int], ends: Mapping[int, int]
) -> dict[int, Outcome]:
    if not claims:
        return {}
    names = {"topic": claims[0].topic.name, "partitions": [claim.partition for claim in claims]}
    rows = {row["partition"]: row for row in connection.execute(query("read_back"), names)}
    return {claim.partition: _outcome(rows[claim.partition], claim, begins, ends) for claim in claims}


def _outcome(row: Row, claim: Claim, begins: Mapping[int, int], ends: Mapping[int, int]) -> Outcome:
    if row["epoch"] != claim.epoch:
        return "fenced"
    if row["next_offset"] == ends[claim.partition]:
        return "done"
    return "again" if row["next_offset"] == begins[claim.partition] else "fenced"


def _take(connection: Connection, group: str, topic: Topic, desired: Desired) -> Group:
    names = _beginning(connection, group, topic)
    taken = _group(_one(connection, "take_group", names | asdict(desired)))
    connection.execute(query("make_positions"), names)
    return taken


def _beginning(connection: Connection, group: str, topic: Topic) -> Row:
    greatest = _one(connection, "greatest_pickup", {})
    return {"group": group, "topic": topic.name, "topic_id": topic.topic_id, "partitions": topic.partitions, **greatest}


def _group(row: Row) -> Group:
    desired = Desired(row["size"], row["minimum"], row["maximum"], row["lag_target"])
    return Group(row["name"], row["epoch"], Topic(row["topic"], row["topic_id"], row["partitions"]), desired)


def _position(row: Row) -> Position:
    return Position(**{field.name: row[field.name] for field in fields(Position)})


def _one(connection: Connection, name: str, names: Row) -> Row:
    row = connection.execute(query(name), names).fetchone()
    assert row is not None, f"{name} found no row"
    return row
