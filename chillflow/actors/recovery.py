"""Recovery of a partition: a claim, a check of the log, a snapshot, a rewind without output, a look at PostgreSQL."""

from collections.abc import Generator, Iterator

import msgspec

from chillflow.actors.held import Batch, Held
from chillflow.assembly import DEFAULTS, Limits, State, rewind
from chillflow.errors import LogTooShort, OffsetGone, PartitionsChanged, TopicReplaced
from chillflow.positions import Claim, Group, Topic
from chillflow.stores.protocols import Checkpoints, LogReader, TripStore

LOOKED_UP = 20_000
"""Ids looked up at a time."""


def recover(
    owner: str, group: Group, partition: int, store: TripStore, reader: LogReader, checkpoints: Checkpoints, now: float
) -> Generator[str, None, Held]:
    """Steps R1 to R3; returns the partition, held, and the reader where its rewind begins."""
    topic = reader.topic()  # before the claim: one that is made in vain makes the snapshot another claim's
    # R1: nobody else can commit from here on
    claim = store.claim(group, partition, owner)
    yield "R1"
    # R2: the log must still be the one that the offsets are of, and hold what is needed
    check_log(claim, topic, reader)
    yield "R2"
    # R3: a snapshot spares the rewind of what lies before it
    state = State.claimed(claim.position)
    begin = claim.position.rewind_offset
    if (found := checkpoints.load(claim)) is not None:
        offset, payload = found
        try:
            state.restore(payload)
            begin = offset
        except msgspec.DecodeError:
            state = State.claimed(claim.position)
    yield "R3"
    reader.assign(partition, begin)
    return Held(group, claim, state, claim.position.next_offset, begin, saved_at=now)


def check_log(claim: Claim, topic: Topic, reader: LogReader) -> None:
    """Raises TopicReplaced, PartitionsChanged, LogTooShort and OffsetGone: never a silent reset."""
    position = claim.position
    if topic.topic_id != claim.topic.topic_id:
        raise TopicReplaced(topic.name, claim.topic.topic_id, topic.topic_id)
    if topic.partitions != claim.topic.partitions:
        raise PartitionsChanged(topic.name, claim.topic.partitions, topic.partitions)
    first, end = reader.range(claim.partition)
    if end < position.next_offset:
        raise LogTooShort(topic.name, claim.partition, position.next_offset, end)
    if first > position.rewind_offset:
        raise OffsetGone(topic.name, claim.partition, position.rewind_offset, first)


def rewound(held: Held, batch: Batch, limits: Limits = DEFAULTS) -> Batch:
    """Step R4 with one batch: rebuilds what lies below next_offset, without output; returns what lies above it."""
    below, above = batch.split(min(batch.end, held.next_offset))
    rewind(held.state, below.gathered, limits)
    held.read_to = below.end
    return above


def drop_written(held: Held, store: TripStore) -> Iterator[str]:
    """Step R5: what PostgreSQL has of the rebuilt trips has been applied there, and is not open."""
    ids = list(held.state.open)
    for first in range(0, len(ids), LOOKED_UP):
        with store.transaction() as transaction:
            held.state.drop(transaction.look_up(ids[first : first + LOOKED_UP]))
    held.live = True
    yield "R5"
