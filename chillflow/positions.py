"""Where a partition stands: what PostgreSQL keeps of it, who may write it, and since when."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

Partition = NewType("Partition", int)


@dataclass(frozen=True)
class Topic:
    """A topic as the broker knows it. `topic_id` differs when a topic is deleted and made again."""

    name: str
    topic_id: str
    partitions: int


@dataclass(frozen=True)
class Position:
    """A partition's row in `assembly_partitions`, as of a commit.

    All records below `next_offset` are settled; `rewind_offset` is the smallest offset that an open trip still needs
    (`next_offset` where none is open). `watermark` is the greatest event time seen, `max_pickup` the greatest pickup.
    `open_trips`, the oldest of them first seen at the event time `oldest_at`: for those who look.
    """

    partition: int
    next_offset: int
    rewind_offset: int
    watermark: dt.datetime | None = None
    max_pickup: dt.datetime | None = None
    open_trips: int = 0
    oldest_at: dt.datetime | None = None


@dataclass(frozen=True)
class Claim:
    """The right to write a partition: until somebody claims it with a higher epoch.

    `token` names this claim in snapshots, `replaced` is the token of the claim before it (None for the first).
    """

    topic: Topic
    group: str
    partition: int
    epoch: int
    token: str
    replaced: str | None
    position: Position


@dataclass(frozen=True)
class Desired:
    """What the user wants of a group's pool of assemblers; `size` is used where `minimum` = `maximum` = None."""

    size: int = 1
    minimum: int | None = None
    maximum: int | None = None
    lag_target: int = 100_000


@dataclass(frozen=True)
class Group:
    """A consumer group's row in `assembly_groups`."""

    name: str
    epoch: int
    topic: Topic
    desired: Desired


Ends = Mapping[int, tuple[int, int] | None]
"""Of each partition of a topic its first offset and the one after its last; None where the topic is gone."""


@dataclass(frozen=True)
class GivenUp:
    """A partition that was left before all of it was assembled: a row of `given_up`.

    `records` were not assembled, None where the topic is gone and nobody knows; `open_trips` lacked an event.
    """

    partition: int
    next_offset: int
    rewind_offset: int
    log_start: int | None
    log_end: int | None
    records: int | None
    open_trips: int
