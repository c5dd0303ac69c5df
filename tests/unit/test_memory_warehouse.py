"""What PostgreSQL in memory offers beside the contract: faults, loads, and strictness."""

from typing import Any

import pytest

from chillflow.errors import OutcomeUnknown, ServiceDown
from chillflow.placing import place
from chillflow.positions import Position
from chillflow.testing.rows import Row, rows_of
from chillflow.testing.warehouse import MemoryTripStore, MemoryWarehouse
from tests.trip_stores import GROUP, MONTH, claimed, id_of, trip, write


@pytest.fixture
def warehouse() -> MemoryWarehouse:
    return MemoryWarehouse()


@pytest.fixture
def store(warehouse: MemoryWarehouse) -> MemoryTripStore:
    return MemoryTripStore(warehouse)


def test_a_commit_under_way_ends_when_its_rows_are_waited_for(
    warehouse: MemoryWarehouse, store: MemoryTripStore
) -> None:
    _, [claim] = claimed(store)
    store.lose_commit_answer = "later"
    with pytest.raises(OutcomeUnknown):
        write(store, claim, 0, 2, trip(0))
    assert (warehouse.rows(), store.partitions(GROUP)[0]["next_offset"]) == ({}, 0)
    assert store.outcomes([claim], {0: 0}, {0: 2}) == {0: "done"}
    assert set(warehouse.rows()) == {id_of(0)}


def test_while_it_is_away_nothing_answers_and_nothing_stays_open(
    warehouse: MemoryWarehouse, store: MemoryTripStore
) -> None:
    group, [claim] = claimed(store)

    def lose() -> None:
        with store.transaction() as transaction:
            transaction.lock([claim], {0: 0})
            transaction.write(place([trip(0, (1, 0, 0))], ()))
            warehouse.away = True
            transaction.advance([claim], [Position(0, 1, 1)])

    for call in (lose, lambda: store.group(GROUP)):
        with pytest.raises(ServiceDown):
            call()
    warehouse.away = False
    assert store.claim(group, 0, "me").position == claim.position
    assert warehouse.rows() == {}


def test_a_load_stands_and_waits_for_nobody(warehouse: MemoryWarehouse, store: MemoryTripStore) -> None:
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0), trip(1), trip(2, (1, 0, 0)), trip(3, (1, 0, 0)))
    file = {trip_id: row._replace(reason=None) for trip_id, row in rows_of(place([trip(1), trip(2)], ())).items()}

    def hold() -> None:
        with store.transaction() as transaction:
            transaction.loaded([("yellow", MONTH)])
            warehouse.load("yellow", MONTH, file)

    with pytest.raises(ServiceDown):
        hold()
    warehouse.load("yellow", MONTH, file)
    assert {trip_id: (row.table, row.reason) for trip_id, row in warehouse.rows().items()} == {
        id_of(0): ("quarantine", "not_in_file"),
        id_of(1): ("trips", None),
        id_of(2): ("trips", None),
        id_of(3): ("incomplete_trips", None),
    }
    with store.transaction() as transaction:
        assert transaction.loaded([("yellow", MONTH)]) == {("yellow", MONTH)}


@pytest.mark.parametrize("position", [Position(0, 4, 4), Position(0, 6, 7), Position(0, 6, 6, None)])
def test_a_position_never_goes_back(store: MemoryTripStore, position: Position) -> None:
    _, [claim] = claimed(store)
    write(store, claim, 0, 5)

    def go_back() -> None:
        with store.transaction() as transaction:
            transaction.lock([claim], {0: 5})
            transaction.advance([claim], [position])

    with pytest.raises(AssertionError):
        go_back()


def test_two_transactions_cannot_write_one_trip(warehouse: MemoryWarehouse, store: MemoryTripStore) -> None:
    other: Any = MemoryTripStore(warehouse)

    def write_both() -> None:
        with store.transaction() as first, other.transaction() as second:
            first.write(place([trip(0, (1, 0, 0))], ()))
            second.write(place([trip(0, (1, 0, 0))], ()))

    with pytest.raises(ServiceDown):
        write_both()
    assert warehouse.rows() == {}


def test_a_row_tells_its_table() -> None:
    [row] = rows_of(place([trip(0, total_amount=0.0)], ())).values()
    assert row == Row("quarantine", "yellow", trip(0, total_amount=0.0).slots, "zero_total")
