"""Warehouses for the contract of TripStore: one in memory, one in PostgreSQL, with the same questions to both."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Protocol

from chillflow.assembly import Known, Settled, Slots, prefix_of
from chillflow.months import Month
from chillflow.placing import place
from chillflow.positions import Claim, Group, Position, Topic
from chillflow.stores.assembling import PostgresTripStore
from chillflow.stores.protocols import TripStore
from chillflow.stores.sessions import Patience
from chillflow.testing.rows import Row
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse
from tests.fix_proxy import Proxy
from tests.warehouse_samples import ask

TOPIC = Topic("trip-events", "id-1", 3)
GROUP = "chillflow"
MONTH = Month(2018, 11)
NOON = dt.datetime(2018, 11, 5, 12)
IMPATIENT = Patience(lock=0.3, answer=6.0)


class Shared(Protocol):
    """A warehouse that several stores are connections to."""

    def store(self) -> TripStore: ...

    def lossy_store(self, answer: Any) -> TripStore:
        """A store whose transaction after the next claim loses its COMMIT (`before`) or the answer to it (`after`)."""
        ...

    def lose(self) -> None: ...

    def rows(self) -> dict[str, Row]: ...

    def dead(self) -> list[tuple[str, int, int, bytes | None, bytes | None, str]]: ...

    def dirty(self) -> list[tuple[str, int, dt.datetime]]: ...

    def mark_loaded(self, service: str, month: Month) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.warehouse = MemoryWarehouse()
        self._lossy: tuple[MemoryTripStore, Any] | None = None

    def store(self) -> MemoryTripStore:
        return MemoryTripStore(self.warehouse)

    def lossy_store(self, answer: Any) -> MemoryTripStore:
        store = self.store()
        self._lossy = store, answer
        return store

    def lose(self) -> None:
        assert self._lossy is not None
        store, store.lose_commit_answer = self._lossy

    def rows(self) -> dict[str, Row]:
        return self.warehouse.rows()

    def dead(self) -> list[tuple[str, int, int, bytes | None, bytes | None, str]]:
        dead = sorted(self.warehouse.dead.items())
        return [(*key, letter.key, letter.payload, letter.reason) for key, letter in dead]

    def dirty(self) -> list[tuple[str, int, dt.datetime]]:
        return sorted(self.warehouse.dirty)

    def mark_loaded(self, service: str, month: Month) -> None:
        self.warehouse.months.add((service, month))

    def close(self) -> None: ...


class InPostgres:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._stores: list[PostgresTripStore] = []
        self._proxy: tuple[Proxy, Any] | None = None

    def store(self, dsn: str | None = None) -> PostgresTripStore:
        store = PostgresTripStore(dsn or self.dsn, IMPATIENT)
        self._stores.append(store)
        return store

    def lossy_store(self, answer: Any) -> PostgresTripStore:
        self._proxy = Proxy(self.dsn), answer
        return self.store(self._proxy[0].dsn)

    def lose(self) -> None:
        assert self._proxy is not None
        proxy, proxy.lose = self._proxy

    def rows(self) -> dict[str, Row]:
        found = {}
        rows = ask(self.dsn, ALL)
        store = self.store()
        with store.transaction() as transaction:
            all_known = transaction.look_up([row["id"] for row in rows])
        store.close()
        for row in rows:
            known = all_known[row["id"]]
            assert row["table"] == known.table
            stored = ("dropoff_at", "passenger_count", "trip_distance", "flags") if row["table"] == "trips" else ()
            found[row["id"]] = Row(known.table, known.service, known.slots, row["reason"],
                                   tuple(row[name] for name in stored))  # fmt: skip
        return found

    def dead(self) -> list[tuple[str, int, int, bytes | None, bytes | None, str]]:
        columns = 'topic_id, partition, "offset", key, payload, reason'
        rows = ask(self.dsn, f"select {columns} from chillflow.dead_letters order by 1, 2, 3")
        return [tuple(row.values()) for row in rows]

    def dirty(self) -> list[tuple[str, int, dt.datetime]]:
        rows = ask(self.dsn, "select service, zone_id, hour from chillflow.kpi_dirty order by 1, 2, 3")
        return [tuple(row.values()) for row in rows]

    def mark_loaded(self, service: str, month: Month) -> None:
        ask(self.dsn, LEDGER, service, month.date)

    def close(self) -> None:
        for store in self._stores:
            store.close()
        if self._proxy is not None:
            self._proxy[0].close()


_NOTHING = "null::timestamp as dropoff_at, null::int as passenger_count, null::float8 as trip_distance, null as flags"
ALL = f"""
select trip_id::text as id, 'trips' as "table", null as reason, dropoff_at, passenger_count, trip_distance, flags
from chillflow.trips
union all
select trip_id::text, 'quarantine', reason, {_NOTHING} from chillflow.quarantine where not chillflow.of_file(reason)
union all
select trip_id::text, 'adjustments', null, {_NOTHING} from chillflow.adjustments
union all
select trip_id::text, 'incomplete_trips', null, {_NOTHING} from chillflow.incomplete_trips
"""
LEDGER = """
insert into chillflow.months (service, month, path, status, rows_in, trips, quarantined, adjustments, code_version,
    rules_version, started_at)
values (%s, %s, 'batch', 'loaded', 0, 0, 0, 0, '0.1.0', 1, now())
"""


def trip(number: int, revisions: Sequence[int] = (1, 1, 1), was: Known | None = None, **changes: Any) -> Settled:
    """A trip that begins `number` minutes after noon; a revision of 0 leaves the slot out."""
    pickup = NOON + dt.timedelta(minutes=number)
    total = changes.get("total_amount", 7.5)
    values = {
        "vendor_id": 2, "pickup_at": pickup, "pickup_zone_id": 100, "passenger_count": 1, "rate_code": 1,
        "store_and_fwd": "N", "trip_type": None, "request_source": None, "dropoff_at": pickup + dt.timedelta(minutes=9),
        "dropoff_zone_id": 132, "trip_distance": 1.5, "payment_type": 1, "fare_amount": 5.55, "extra": None,
        "mta_tax": None, "tip_amount": 1.95, "tolls_amount": None, "improvement_surcharge": None,
        "total_amount": total, "congestion_surcharge": None, "airport_fee": None, "cbd_congestion_fee": None,
    } | changes  # fmt: skip
    columns = list(values)
    parts = (columns[:8], columns[8:11], columns[11:])
    slots: list[Any] = [
        (revision, *(values[name] for name in names)) if revision else None
        for names, revision in zip(parts, revisions, strict=True)
    ]
    return Settled(id_of(number, reversal=total < 0), "yellow", (slots[0], slots[1], slots[2]), was)


def id_of(number: int, *, reversal: bool = False) -> str:
    pickup = NOON + dt.timedelta(minutes=number)
    return f"{prefix_of(pickup)}-8abc-9def-{number:011x}{int(reversal):x}"


def slots_of(rows: dict[str, Row]) -> dict[str, Slots]:
    return {trip_id: row.slots for trip_id, row in rows.items()}


def claimed(store: TripStore, *partitions: int) -> tuple[Group, list[Claim]]:
    group = store.take_group(GROUP, TOPIC, None)
    return group, [store.claim(group, partition, "me") for partition in partitions or (0,)]


def write(
    store: TripStore, claim: Claim, begin: int, end: int, *settled: Settled, taken_back: Sequence[str] = ()
) -> None:
    """One whole transaction of a partition."""
    store.ensure_partitions([MONTH])
    with store.transaction() as transaction:
        assert transaction.lock([claim], {claim.partition: begin}) == []
        transaction.write(place(settled, taken_back))
        transaction.advance([claim], [Position(claim.partition, end, end, NOON, NOON)])
