"""PostgreSQL in memory, as assembly sees it: transactions, row locks, backends that can be terminated, lost answers.

No threads: a call that would have to wait for a lock fails at once, as after lock_timeout. What a correct assembly
never does raises AssertionError: a second row for a trip, a row to be replaced that is not there, an offset that goes
back.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chillflow.assembly import Known, ServiceMonth, Table, pickup_at
from chillflow.errors import Fenced, ServiceDown
from chillflow.events import DeadLetter
from chillflow.months import Month
from chillflow.placing import Placed
from chillflow.positions import Claim, Group, Position, Topic
from chillflow.testing.rows import Row, rows_of

if TYPE_CHECKING:
    from chillflow.testing.warehouse import MemoryTripStore

ADDRESS = "memory"
Place = tuple[str, int]


@dataclass(frozen=True)
class PartitionRow:
    """A row of assembly_partitions."""

    group: str
    topic: str
    topic_id: str
    position: Position
    epoch: int = 0
    owner: str | None = None
    backend_pid: int | None = None
    token: str | None = None


@dataclass
class MemoryWarehouse:
    """What is committed, and the locks of open transactions; shared by stores, each of which is a connection.

    `away`: while it is set, every call raises ServiceDown, and what was open is rolled back.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    partitions: dict[Place, PartitionRow] = field(default_factory=dict)
    trips: dict[str, Row] = field(default_factory=dict)
    dead: dict[tuple[str, int, int], DeadLetter] = field(default_factory=dict)
    dirty: list[tuple[str, int, dt.datetime]] = field(default_factory=list)
    months: set[ServiceMonth] = field(default_factory=set)
    """Months with a loaded file."""
    created: set[Month] = field(default_factory=set)
    commits: int = 0
    backends: dict[int, "MemoryTripStore"] = field(default_factory=dict)
    _locks: dict[Place, "MemoryTransaction"] = field(default_factory=dict)
    _numbers: int = 0
    _away: bool = False

    def rows(self) -> dict[str, Row]:
        """All that is committed, by trip id; `rows_of` tells the same of what should be."""
        return dict(self.trips)

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        if away:
            for pid in list(self.backends):
                self.terminate(pid)

    def terminate(self, pid: int) -> None:
        """Ends a connection, as pg_terminate_backend does: what it had open is rolled back."""
        store = self.backends.pop(pid, None)
        if store is not None:
            store.lost()

    def load(self, service: str, month: Month, rows: Mapping[str, Row]) -> None:
        """A file's rows become the month's, as a load makes them; ServiceDown where a transaction holds the month."""
        if any((service, month) in open_.months for open_ in self._open()):
            raise down("a transaction of the stream holds the month")
        for trip_id, row in list(self.trips.items()):
            at = pickup_at(trip_id)
            if row.service == service and at is not None and Month.of(at) == month and trip_id not in rows:
                missing = row.table == "incomplete_trips"
                self.trips[trip_id] = row if missing else Row("quarantine", service, row.slots, "not_in_file")
        self.trips.update(rows)
        self.months.add((service, month))

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def wait_for(self, place: Place, mine: "MemoryTransaction | None" = None) -> None:
        """Returns when nobody else holds the row: a COMMIT that is under way comes to its end first."""
        holder = self._locks.get(place)
        if holder is None or holder is mine:
            return
        if not holder.committing:
            raise down(f"lock timeout on {place[0]} partition {place[1]}")
        holder.apply()

    def lock(self, place: Place, transaction: "MemoryTransaction") -> None:
        self.wait_for(place, transaction)
        self._locks[place] = transaction

    def unlock(self, transaction: "MemoryTransaction") -> None:
        for place in [place for place, holder in self._locks.items() if holder is transaction]:
            del self._locks[place]

    def other_writer(self, trip_id: str, mine: "MemoryTransaction") -> bool:
        return any(one is not mine and trip_id in one.inserted for one in self._open())

    def greatest_pickup(self) -> dt.datetime | None:
        return pickup_at(max(self.trips, default=""))

    def _open(self) -> list["MemoryTransaction"]:
        held = {id(one): one for one in self._locks.values()}
        held |= {id(one): one for store in self.backends.values() if (one := store.open) is not None}
        return list(held.values())


class MemoryTransaction:
    """Step 3 of the commit loop; nothing of it is visible to others before `apply`."""

    def __init__(self, store: "MemoryTripStore") -> None:
        self.store, self.warehouse = store, store.warehouse
        self.inserted: dict[str, Row] = {}
        self.deleted: dict[str, Table] = {}
        self.months: set[ServiceMonth] = set()
        self.committing = False
        self._dead: list[tuple[tuple[str, int, int], DeadLetter]] = []
        self._dirty: list[tuple[str, int, dt.datetime]] = []
        self._advanced: dict[Place, tuple[int, Position]] = {}

    def lock(self, claims: Sequence[Claim], begins: Mapping[int, int]) -> list[int]:
        self.store.check(self)
        fenced = []
        for claim in sorted(claims, key=lambda claim: claim.partition):
            place = place_of(claim)
            self.warehouse.lock(place, self)
            row = self.warehouse.partitions[place]
            if row.epoch != claim.epoch or row.position.next_offset != begins[claim.partition]:
                fenced.append(claim.partition)
        return fenced

    def loaded(self, months: Collection[ServiceMonth]) -> set[ServiceMonth]:
        self.store.check(self)
        self.months |= set(months)
        return set(months) & self.warehouse.months

    def look_up(self, ids: Collection[str]) -> dict[str, Known]:
        self.store.check(self)
        rows = self.warehouse.trips
        return {trip_id: rows[trip_id].known(trip_id) for trip_id in sorted(ids) if trip_id in rows}

    def reversed_among(self, ids: Collection[str]) -> set[str]:
        self.store.check(self)
        rows = self.warehouse.trips
        reversals = ((trip_id, rows.get(reversal_of(trip_id))) for trip_id in ids)
        return {trip_id for trip_id, row in reversals if row is not None and row.table == "adjustments"}

    def write(self, placed: Placed) -> None:
        self.store.check(self)
        for table, ids in placed.gone.items():
            for trip_id in ids:
                assert trip_id not in self.deleted, f"{trip_id} is taken out twice"
                self.deleted[trip_id] = table
        for trip_id, row in rows_of(placed).items():
            if self.warehouse.other_writer(trip_id, self):
                raise down(f"lock timeout: another transaction is writing {trip_id}")
            at = pickup_at(trip_id)
            assert row.table != "trips" or (at is not None and Month.of(at) in self.warehouse.created), "no partition"
            self.inserted[trip_id] = row
        self._check_rows()
        self._dirty += sorted(placed.dirty)

    def bury(self, topic: Topic, letters: Sequence[DeadLetter]) -> None:
        self.store.check(self)
        self._dead += (((topic.topic_id, letter.partition, letter.offset), letter) for letter in letters)

    def advance(self, claims: Sequence[Claim], positions: Sequence[Position]) -> None:
        self.store.check(self)
        for claim in claims:
            [position] = [one for one in positions if one.partition == claim.partition]
            place = place_of(claim)
            self.warehouse.lock(place, self)
            if self.warehouse.partitions[place].epoch != claim.epoch:
                raise Fenced(claim.partition)
            self._advanced[place] = claim.epoch, position
        self._check_positions()

    def apply(self) -> None:
        """The commit."""
        self._check_rows()
        self._check_positions()
        self._check_notes()
        warehouse = self.warehouse
        for trip_id in self.deleted:
            del warehouse.trips[trip_id]
        warehouse.trips.update(self.inserted)
        for key, letter in self._dead:
            warehouse.dead.setdefault(key, letter)
        warehouse.dirty += self._dirty
        for place, (_, position) in self._advanced.items():
            warehouse.partitions[place] = replace(warehouse.partitions[place], position=position)
        warehouse.commits += 1
        self.end()

    def end(self) -> None:
        self.committing = False
        self.inserted, self.months = {}, set()
        self.warehouse.unlock(self)

    def _check_rows(self) -> None:
        there = self.warehouse.trips
        for trip_id, table in self.deleted.items():
            found = there.get(trip_id)
            assert found is not None, f"{trip_id} is not there to be taken out of {table}"
            assert found.table == table, f"{trip_id} is not in {table} but in {found}"
        for trip_id, row in self.inserted.items():
            assert trip_id in self.deleted or trip_id not in there, f"{trip_id}: {row} beside {there[trip_id]}"

    def _check_notes(self) -> None:
        """Every hour that a row leaves or enters is noted."""
        touched = [self.warehouse.trips[trip_id] for trip_id in self.deleted] + list(self.inserted.values())
        hours = {hour for row in touched for hour in row.hours()}
        assert hours <= set(self._dirty), f"not noted: {hours - set(self._dirty)}"

    def _check_positions(self) -> None:
        for place, (epoch, new) in self._advanced.items():
            row = self.warehouse.partitions[place]
            old = row.position
            assert row.epoch == epoch, f"{place} is written under epoch {epoch}, but has {row.epoch}"
            assert old.next_offset <= new.next_offset, f"{old} -> {new}"
            assert new.rewind_offset <= new.next_offset, f"{old} -> {new}"
            for before, after in ((old.watermark, new.watermark), (old.max_pickup, new.max_pickup)):
                assert before is None or (after is not None and after >= before), f"{old} -> {new}"


def place_of(claim: Claim) -> Place:
    return claim.topic.name, claim.partition


def reversal_of(trip_id: str) -> str:
    return trip_id[:-1] + format(int(trip_id[-1], 16) | 1, "x")


def down(why: str) -> ServiceDown:
    return ServiceDown("PostgreSQL", ADDRESS, why)
