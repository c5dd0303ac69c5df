"""TripStore in memory: connections to one MemoryWarehouse, which transactions.py explains."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from chillflow.errors import (
    NoSuchGroup,
    OpenTrips,
    OtherTopic,
    OutcomeUnknown,
    PartitionsChanged,
    Superseded,
    TopicReplaced,
)
from chillflow.months import Month
from chillflow.positions import Claim, Desired, Ends, GivenUp, Group, Position, Topic
from chillflow.stores.protocols import Outcome
from chillflow.testing.rows import Row, rows_of
from chillflow.testing.transactions import ADDRESS, MemoryTransaction, MemoryWarehouse, PartitionRow, down, place_of

__all__ = ["MemoryTransaction", "MemoryTripStore", "MemoryWarehouse", "PartitionRow", "Row", "rows_of"]

Answer = Literal["before", "after", "later"]


class MemoryTripStore:
    """TripStore over a MemoryWarehouse: one connection, which is made anew by the call after the one that lost it.

    `lose_commit_answer`: the next COMMIT raises OutcomeUnknown: not done ("before"), done ("after"), or under way
    until somebody else waits for its rows ("later"). `lost_answers` hears of each.
    """

    def __init__(self, warehouse: MemoryWarehouse) -> None:
        self.warehouse = warehouse
        self.lose_commit_answer: Answer | None = None
        self.lost_answers: set[str] = set()
        self.open: MemoryTransaction | None = None
        self.pid: int | None = None
        self._lost = False

    def lost(self) -> None:
        """The connection is gone: what it had open is rolled back, the next call raises ServiceDown."""
        if self.open is not None:
            self.open.end()
        self.open, self.pid, self._lost = None, None, True

    def check(self, transaction: MemoryTransaction | None = None) -> None:
        """Raises ServiceDown where the connection is gone."""
        if self.warehouse.away:
            self._lost = False
            raise down("it is away")
        if self._lost or (transaction is not None and transaction is not self.open):
            self._lost = False
            raise down("the connection was lost")
        if self.pid is None:
            self.pid = self.warehouse.number()
            self.warehouse.backends[self.pid] = self

    def take_group(self, group: str, topic: Topic, desired: Desired | None) -> Group:
        self.check()
        for other in self.warehouse.groups.values():
            if other.name != group or other.topic.name != topic.name:
                raise OtherTopic(ADDRESS, other.name, other.topic.name, group, topic.name)
            if other.topic.topic_id != topic.topic_id:
                raise TopicReplaced(topic.name, other.topic.topic_id, topic.topic_id)
            if other.topic.partitions != topic.partitions:
                raise PartitionsChanged(topic.name, other.topic.partitions, topic.partitions)
        return self._take(group, topic, desired)

    def switch_topic(self, group: str, topic: Topic, ends: Ends | None = None) -> tuple[Group, list[GivenUp]]:
        self.check()
        was = self._group(group).topic
        open_ = [row for row in self._rows(group) if row.position.rewind_offset < row.position.next_offset]
        if open_ and ends is None:
            raise OpenTrips(was.name, tuple(row.position.partition for row in open_))
        for place, row in self.warehouse.partitions.items():
            self.warehouse.wait_for(place)
            row = self.warehouse.partitions[place]
            self.warehouse.partitions[place] = replace(row, epoch=row.epoch + 1, owner=None, backend_pid=None)
        given_up = [found for partition in ends or () if (found := self._left(was, partition, (ends or {})[partition]))]
        for partition in range(topic.partitions):
            place = topic.name, partition
            self.warehouse.partitions[place] = self._switched(
                self.warehouse.partitions.get(place), group, topic, partition
            )
        return self._take(group, topic, None), given_up

    def group(self, group: str) -> Group | None:
        self.check()
        return self.warehouse.groups.get(group)

    def set_desired(self, group: str, desired: Desired) -> None:
        self.check()
        self.warehouse.groups[group] = replace(self._group(group), desired=desired)

    def partitions(self, group: str) -> list[dict[str, object]]:
        self.check()
        rows = ({**vars(row), **vars(row.position)} for row in self._rows(group))
        return [{name: value for name, value in row.items() if name != "position"} for row in rows]

    def claim(self, group: Group, partition: int, owner: str) -> Claim:
        self.check()
        if (newest := self._group(group.name)).epoch != group.epoch:
            raise Superseded(group.name, newest.epoch)
        place = group.topic.name, partition
        former = self.warehouse.partitions[place]
        if former.backend_pid is not None and former.backend_pid != self.pid:
            self.warehouse.terminate(former.backend_pid)
        self.warehouse.wait_for(place)
        former = self.warehouse.partitions[place]
        token, epoch = f"token-{self.warehouse.number()}", former.epoch + 1
        self.warehouse.partitions[place] = replace(former, epoch=epoch, owner=owner, backend_pid=self.pid, token=token)
        return Claim(group.topic, group.name, partition, epoch, token, former.token, former.position)

    def release(self, claim: Claim) -> None:
        self.check()
        self.warehouse.wait_for(place_of(claim))
        row = self.warehouse.partitions[place_of(claim)]
        if row.epoch == claim.epoch:
            self.warehouse.partitions[place_of(claim)] = replace(row, owner=None, backend_pid=None)

    def ensure_partitions(self, months: Collection[Month]) -> None:
        self.check()
        self.warehouse.created |= set(months)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        self.check()
        assert self.open is None, "a transaction is open already"
        mine = self.open = MemoryTransaction(self)
        try:
            yield mine
        except BaseException:
            mine.end()
            self.open = None if self.open is mine else self.open
            raise
        self._commit(mine)

    def outcomes(
        self, claims: Sequence[Claim], begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> dict[int, Outcome]:
        self.check()
        found: dict[int, Outcome] = {}
        for claim in sorted(claims, key=lambda claim: claim.partition):
            self.warehouse.wait_for(place_of(claim))
            row, partition = self.warehouse.partitions[place_of(claim)], claim.partition
            mine, offset = row.epoch == claim.epoch, row.position.next_offset
            if mine and offset == ends[partition]:
                found[partition] = "done"
            else:
                found[partition] = "again" if mine and offset == begins[partition] else "fenced"
        return found

    def close(self) -> None:
        if self.pid is not None:
            self.warehouse.terminate(self.pid)
        self._lost = False

    def _commit(self, mine: MemoryTransaction) -> None:
        answer, self.lose_commit_answer = self.lose_commit_answer, None
        if self.open is not mine or self._lost or self.warehouse.away:
            mine.end()
            self._lost = False
            raise OutcomeUnknown(ADDRESS)
        self.open = None
        if answer is None:
            mine.apply()
            return
        self.lost_answers.add(f"COMMIT without an answer: {answer}")
        self.warehouse.backends.pop(self.pid or 0, None)
        self.pid = None
        mine.committing = True
        if answer == "after":
            mine.apply()
        elif answer == "before":
            mine.end()
        raise OutcomeUnknown(ADDRESS)

    def _take(self, group: str, topic: Topic, desired: Desired | None) -> Group:
        former = self.warehouse.groups.get(group) or Group(group, 0, topic, Desired())
        taken = Group(group, former.epoch + 1, topic, desired or former.desired)
        self.warehouse.groups[group] = taken
        for partition in range(topic.partitions):
            place = topic.name, partition
            if place not in self.warehouse.partitions:
                self.warehouse.partitions[place] = self._switched(None, group, topic, partition)
        return taken

    def _switched(self, former: PartitionRow | None, group: str, topic: Topic, partition: int) -> PartitionRow:
        """A partition's row that begins: what other topics brought meanwhile lies below its max_pickup."""
        greatest = self.warehouse.greatest_pickup()
        if former is None or former.topic_id != topic.topic_id:
            epoch = former.epoch if former else 0
            return PartitionRow(group, topic.name, topic.topic_id, Position(partition, 0, 0, None, greatest), epoch)
        position = replace(former.position, max_pickup=greatest)
        return replace(former, position=position)

    def _left(self, topic: Topic, partition: int, ends: tuple[int, int] | None) -> GivenUp | None:
        """What is lost of a partition; None where nothing is."""
        row = self.warehouse.partitions.get((topic.name, partition))
        at = row.position if row else Position(partition, 0, 0)
        first, end = ends or (None, None)
        if at.rewind_offset == at.next_offset == end:
            return None
        records = None if end is None else max(0, end - at.next_offset)
        return GivenUp(partition, at.next_offset, at.rewind_offset, first, end, records, at.open_trips)

    def _group(self, group: str) -> Group:
        found = self.warehouse.groups.get(group)
        if found is None:
            raise NoSuchGroup(group)
        return found

    def _rows(self, group: str) -> list[PartitionRow]:
        topic = self._group(group).topic.name
        return [row for (name, _), row in sorted(self.warehouse.partitions.items()) if name == topic]
