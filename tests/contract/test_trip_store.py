"""The contract of TripStore and Transaction, over PostgreSQL in memory and PostgreSQL itself."""

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from chillflow.assembly import Known, Settled, Table, prefix_of
from chillflow.errors import (
    Fenced,
    NoSuchGroup,
    OpenTrips,
    OtherTopic,
    OutcomeUnknown,
    PartitionsChanged,
    ServiceDown,
    Superseded,
    TopicReplaced,
    WarehouseRefused,
)
from chillflow.events import DeadLetter
from chillflow.placing import place
from chillflow.positions import Desired, GivenUp, Position, Topic
from chillflow.stores.transactions import FEW
from chillflow.testing.rows import rows_of
from tests.trip_stores import (
    GROUP,
    MONTH,
    NOON,
    TOPIC,
    InMemory,
    InPostgres,
    Shared,
    claimed,
    id_of,
    slots_of,
    trip,
    write,
)

REFUSED = (AssertionError, WarehouseRefused)


@pytest.fixture(params=["in memory", "in PostgreSQL"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    shared = InMemory() if request.param == "in memory" else InPostgres(request.getfixturevalue("postgres_dsn"))
    yield shared
    shared.close()


class Stop(Exception):
    """What a test raises inside a transaction."""


def test_a_group_is_taken_again_and_again(shared: Shared) -> None:
    store = shared.store()
    assert store.group(GROUP) is None
    first = store.take_group(GROUP, TOPIC, Desired(size=2))
    assert (first.epoch, first.desired, first.topic) == (1, Desired(size=2), TOPIC)
    second = shared.store().take_group(GROUP, TOPIC, None)
    assert second == replace(first, epoch=2) == store.group(GROUP)
    third = store.take_group(GROUP, TOPIC, Desired(minimum=1, maximum=4, lag_target=9))
    assert third == replace(first, epoch=3, desired=Desired(minimum=1, maximum=4, lag_target=9))


def test_desired_sizes_are_kept(shared: Shared) -> None:
    store = shared.store()
    with pytest.raises(NoSuchGroup):
        store.set_desired(GROUP, Desired())
    group = store.take_group(GROUP, TOPIC, None)
    assert group.desired == Desired()
    shared.store().set_desired(GROUP, Desired(size=7))
    assert store.group(GROUP) == replace(group, desired=Desired(size=7))


@pytest.mark.parametrize(
    ("group", "topic", "error", "values"),
    [
        ("other", TOPIC, OtherTopic, f"from group {GROUP}, not {TOPIC.name} from other"),
        (GROUP, Topic("other", "id-2", 3), OtherTopic, f"takes topic {TOPIC.name} .*, not other"),
        (GROUP, Topic(TOPIC.name, "id-2", 3), TopicReplaced, f"is id-2, the warehouse knows {TOPIC.topic_id}"),
        (GROUP, Topic(TOPIC.name, TOPIC.topic_id, 4), PartitionsChanged, "has 4 partitions, the group began with 3"),
    ],
)
def test_a_warehouse_takes_one_topic_as_it_was(
    shared: Shared, group: str, topic: Topic, error: Any, values: str
) -> None:
    store = shared.store()
    store.take_group(GROUP, TOPIC, None)
    with pytest.raises(error, match=rf"(?s){values}.*--switch-topic"):
        store.take_group(group, topic, None)
    assert store.take_group(GROUP, TOPIC, None).epoch == 2


def test_a_group_begins_above_the_pickups_that_are_known(shared: Shared) -> None:
    store = shared.store()
    group, [claim] = claimed(store)
    assert claim.position == Position(0, 0, 0)
    write(store, claim, 0, 5, trip(7), trip(9, (1, 1, 0)), trip(8, total_amount=0.0))
    store.switch_topic(GROUP, Topic("new", "id-2", 2))
    assert [(row["topic"], row["next_offset"], row["max_pickup"]) for row in store.partitions(GROUP)] == [
        ("new", 0, NOON + dt.timedelta(minutes=9))
    ] * 2
    with pytest.raises(Superseded):
        store.claim(group, 0, "me")


def test_a_topic_is_left_when_nothing_is_open(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store, 1)
    with store.transaction() as transaction:
        transaction.lock([claim], {1: 0})
        transaction.advance([claim], [Position(1, 9, 4)])
    with pytest.raises(OpenTrips, match="partitions 1 "):
        store.switch_topic(GROUP, Topic("new", "id-2", 2))
    write(store, claim, 9, 10)
    taken, given_up = store.switch_topic(GROUP, Topic("new", "id-2", 2))
    assert (taken.topic.name, given_up) == ("new", [])
    back, _ = store.switch_topic(GROUP, TOPIC)
    assert [row["next_offset"] for row in store.partitions(GROUP)] == [0, 10, 0]
    again, _ = store.switch_topic(GROUP, replace(TOPIC, topic_id="id-3"))
    assert (back.epoch, again.epoch) == (3, 4)
    assert [row["next_offset"] for row in store.partitions(GROUP)] == [0, 0, 0]
    assert store.claim(again, 1, "me").epoch > claim.epoch


def test_who_owned_a_topic_that_is_left_can_write_nothing_any_more(shared: Shared) -> None:
    """Else it could write a trip beyond the pickups above which the new topic's owners take an id for new."""
    owner, other = shared.store(), shared.store()
    _, [claim] = claimed(owner, 0)
    other.switch_topic(GROUP, Topic("new", "id-2", 2))
    with owner.transaction() as transaction:
        assert transaction.lock([claim], {0: 0}) == [0]


def test_what_is_given_up_with_a_topic_is_counted(shared: Shared) -> None:
    """Partition 0 is assembled, 1 has open trips and waits, retention has passed 2, 3 was added; then all is gone."""
    store = shared.store()
    _, claims = claimed(store, 0, 1, 2)
    positions = [Position(0, 9, 9), Position(1, 20, 12, open_trips=3), Position(2, 5, 5)]
    with store.transaction() as transaction:
        assert not transaction.lock(claims, {0: 0, 1: 0, 2: 0})
        transaction.advance(claims, positions)
    new = Topic("new", "id-2", 2)
    _, given_up = store.switch_topic(GROUP, new, {0: (0, 9), 1: (0, 26), 2: (8, 11), 3: (0, 4)})
    assert given_up == [
        GivenUp(1, 20, 12, 0, 26, 6, 3), GivenUp(2, 5, 5, 8, 11, 6, 0), GivenUp(3, 0, 0, 0, 4, 4, 0),
    ]  # fmt: skip
    store.switch_topic(GROUP, TOPIC)
    _, unknown = store.switch_topic(GROUP, new, dict.fromkeys(range(3)))
    assert [(one.partition, one.next_offset, one.records) for one in unknown] == [
        (0, 9, None),
        (1, 20, None),
        (2, 5, None),
    ]
    assert sum(one.open_trips for one in unknown) == 3


def test_each_claim_is_newer_and_names_the_one_that_it_replaced(shared: Shared) -> None:
    store = shared.store()
    group, [first] = claimed(store, 2)
    assert (first.epoch, first.replaced, first.topic, first.partition) == (1, None, TOPIC, 2)
    write(store, first, 0, 7)
    store.release(first)
    [row] = [row for row in store.partitions(GROUP) if row["partition"] == 2]
    assert (row["owner"], row["next_offset"], row["epoch"]) == (None, 7, 1)
    second = shared.store().claim(group, 2, "you")
    assert (second.epoch, second.replaced) == (2, first.token)
    assert second.position == Position(2, 7, 7, NOON, NOON)
    assert second.token != first.token
    store.release(first)
    [row] = [row for row in store.partitions(GROUP) if row["partition"] == 2]
    assert row["owner"] == "you"


def test_a_superseded_coordinator_claims_nothing(shared: Shared) -> None:
    store = shared.store()
    group, _ = claimed(store)
    newer = shared.store().take_group(GROUP, TOPIC, None)
    with pytest.raises(Superseded, match="epoch 2"):
        store.claim(group, 1, "me")
    assert store.claim(newer, 1, "me").epoch == 1


def test_only_the_newest_claim_at_the_right_place_holds_a_partition(shared: Shared) -> None:
    store, other = shared.store(), shared.store()
    group, claims = claimed(store, 0, 1, 2)
    write(store, claims[2], 0, 5)
    other.claim(group, 1, "you")
    with pytest.raises(ServiceDown):
        store.group(GROUP)
    with store.transaction() as transaction:
        assert transaction.lock([claims[2], claims[0], claims[1]], {0: 0, 1: 0, 2: 0}) == [1, 2]


def test_advancing_under_an_old_claim_is_fenced(shared: Shared) -> None:
    store, other = shared.store(), shared.store()
    group, [claim] = claimed(store)
    store.release(claim)
    other.claim(group, 0, "you")

    def advance() -> None:
        with store.transaction() as transaction:
            transaction.write(place([trip(0, (1, 0, 0))], ()))
            transaction.advance([claim], [Position(0, 5, 5)])

    with pytest.raises(Fenced):
        advance()
    assert shared.rows() == {}
    assert store.partitions(GROUP)[0]["next_offset"] == 0


def test_a_row_that_somebody_holds_is_not_waited_for_forever(shared: Shared) -> None:
    store, other = shared.store(), shared.store()
    _, [claim] = claimed(store)
    with store.transaction() as transaction:
        assert transaction.lock([claim], {0: 0}) == []
        with pytest.raises(ServiceDown), other.transaction() as second:
            second.lock([claim], {0: 0})
    with other.transaction() as second:
        assert second.lock([claim], {0: 0}) == []


def test_nothing_is_visible_before_the_commit(shared: Shared) -> None:
    store, other = shared.store(), shared.store()
    _, [claim] = claimed(store)
    store.ensure_partitions([MONTH])
    with store.transaction() as transaction:
        transaction.lock([claim], {0: 0})
        transaction.write(place([trip(0), trip(1, (1, 0, 1))], ()))
        transaction.bury(TOPIC, [DeadLetter(0, 3, None, None, "type: unknown")])
        transaction.advance([claim], [Position(0, 5, 5)])
        with other.transaction() as second:
            assert second.look_up([id_of(0), id_of(1)]) == {}
        assert (shared.rows(), shared.dead(), shared.dirty()) == ({}, [], [])
        assert other.partitions(GROUP)[0]["next_offset"] == 0
    assert set(shared.rows()) == {id_of(0), id_of(1)}
    assert len(shared.dead()) == 1
    assert shared.dirty()
    assert other.partitions(GROUP)[0]["next_offset"] == 5


def test_what_raises_is_rolled_back(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store)
    store.ensure_partitions([MONTH])

    def stop() -> None:
        with store.transaction() as transaction:
            transaction.lock([claim], {0: 0})
            transaction.write(place([trip(0), trip(1, (1, 0, 1))], ()))
            transaction.advance([claim], [Position(0, 5, 5)])
            raise Stop

    with pytest.raises(Stop):
        stop()
    assert (shared.rows(), shared.dirty()) == ({}, [])
    write(store, claim, 0, 5, trip(0))
    assert set(shared.rows()) == {id_of(0)}


@pytest.mark.parametrize("more", [0, FEW])
def test_rows_come_back_as_they_were_sent(shared: Shared, more: int) -> None:
    """Raw values and revisions, whichever table holds them, few rows or many."""
    store = shared.store()
    _, [claim] = claimed(store)
    fallback = NOON.replace(day=4, hour=1, minute=50)
    settled = [
        trip(0, (3, 1, 2), store_and_fwd="\\N\t", trip_type=2, request_source="a\n\\b\r'é", airport_fee=1.25),
        trip(1, passenger_count=0, trip_distance=123.456),
        trip(2, total_amount=0.0, extra=-0.5, passenger_count=9),
        trip(3, total_amount=-7.5, passenger_count=0),
        trip(4, (0, 4, 1), total_amount=-1.1),
        trip(5, (0, 0, 2)),
        trip(6, (2, 0, 0)),
        Settled(
            f"{prefix_of(fallback)}-8abc-9def-000000000070",
            "yellow",
            trip(7, pickup_at=fallback, dropoff_at=fallback.replace(minute=5)).slots,
        ),
    ]
    kinds: list[dict[str, Any]] = [{}, {"total_amount": 0.0}, {"total_amount": -0.05}, {"revisions": (1, 0, 1)}]
    others = [trip(100 + 4 * number + kind, **kinds[kind]) for number in range(more) for kind in range(4)]
    write(store, claim, 0, 9, *settled, *others)
    rows = shared.rows()
    if more:
        assert rows == rows_of(place([*settled, *others], ()))
        rows = {one.trip_id: rows[one.trip_id] for one in settled}
    assert slots_of(rows) == {one.trip_id: one.slots for one in settled}
    assert rows == rows_of(place(settled, ()))
    tables = {one.trip_id: rows[one.trip_id].table for one in settled}
    assert list(tables.values()) == [
        "trips", "trips", "quarantine", "adjustments", "incomplete_trips", "incomplete_trips", "incomplete_trips",
        "trips",
    ]  # fmt: skip
    assert rows[id_of(2)].reason == "zero_total"
    assert rows[id_of(1)].stored[1:3] == (None, None)
    with store.transaction() as transaction:
        found = transaction.look_up([one.trip_id for one in settled] + [id_of(99)])
    assert {trip_id: (row.slots, row.table, row.service) for trip_id, row in found.items()} == {
        one.trip_id: (one.slots, tables[one.trip_id], "yellow") for one in settled
    }
    assert found[settled[-1].trip_id].dropoff_at == fallback.replace(hour=2, minute=5)
    assert found[id_of(0)].dropoff_at == NOON + dt.timedelta(minutes=9)


def test_rows_move_between_the_tables(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0, (1, 0, 1)), trip(1), trip(2, total_amount=0.0), trip(3, (1, 0, 0)))
    with store.transaction() as transaction:
        was = transaction.look_up([id_of(0), id_of(1), id_of(2), id_of(3)])
    moved = [
        trip(0, (1, 2, 1), was=was[id_of(0)]),
        trip(1, (1, 1, 2), was=was[id_of(1)], total_amount=0.0),
        trip(2, (1, 1, 2), was=was[id_of(2)], total_amount=8.0),
        trip(3, (1, 0, 2), was=was[id_of(3)]),
    ]
    write(store, claim, 1, 2, *moved)
    rows = shared.rows()
    assert [rows[id_of(number)].table for number in range(4)] == ["trips", "quarantine", "trips", "incomplete_trips"]
    assert slots_of(rows) == {one.trip_id: one.slots for one in moved}


def test_a_reversal_is_found_beside_its_original(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store)
    write(
        store, claim, 0, 1, trip(0, total_amount=-7.5), trip(1, total_amount=7.5), trip(2, (1, 0, 1), total_amount=-3.0)
    )
    with store.transaction() as transaction:
        assert transaction.reversed_among([id_of(number) for number in range(50)]) == {id_of(0)}
        assert transaction.reversed_among([]) == set()
    write(store, claim, 1, 2, trip(0), taken_back=[id_of(0)])
    assert shared.rows()[id_of(0)].reason == "reversed_original"


def test_a_trip_has_one_row(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0), trip(1, total_amount=0.0), trip(2, total_amount=-1.0), trip(3, (1, 0, 0)))
    before = shared.rows()
    for again in (trip(0), trip(1, total_amount=0.0), trip(2, total_amount=-1.0), trip(3, (1, 0, 0))):
        with pytest.raises(REFUSED):
            write(store, claim, 1, 2, again)
    assert shared.rows() == before
    assert store.partitions(GROUP)[0]["next_offset"] == 1


def test_a_row_to_be_replaced_must_be_there(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store)
    rows: list[tuple[Table, Settled]] = [
        ("trips", trip(0)),
        ("quarantine", trip(0)),
        ("incomplete_trips", trip(0, (1, 0, 0))),
    ]
    for table, known in rows:
        write(store, claim, 0, 0)
        with store.transaction() as transaction:
            assert transaction.look_up([id_of(0)]) == {}
        with pytest.raises(REFUSED):
            write(store, claim, 0, 1, trip(0, was=Known(known.trip_id, known.service, table, known.slots, NOON)))
    assert shared.rows() == {}


def test_touched_hours_are_noted(shared: Shared) -> None:
    store = shared.store()
    _, [claim] = claimed(store)
    write(store, claim, 0, 1, trip(0), trip(1), trip(58))
    assert shared.dirty() == [
        ("yellow", 100, NOON),
        ("yellow", 132, NOON),
        ("yellow", 132, NOON + dt.timedelta(hours=1)),
    ]
    write(store, claim, 1, 2, trip(2))
    assert len(shared.dirty()) == 5


def test_letters_are_buried_once(shared: Shared) -> None:
    store = shared.store()
    letters = [
        DeadLetter(0, 3, None, None, "payload: is missing"),
        DeadLetter(0, 4, b"\0\xff", b"\x00\xfe{", "payload: not UTF-8 \0 at all \ud800"),
        DeadLetter(1, 3, b"k" * 10, b"x" * 9_000_000, "payload: too long"),
        DeadLetter(1, 4, b"k" * 10, b"x" * 9_000_000, "payload: too long"),
    ]
    for some in (letters[:2], letters, []):
        with store.transaction() as transaction:
            transaction.bury(TOPIC, some)
    with store.transaction() as transaction:
        transaction.bury(replace(TOPIC, topic_id="id-2"), letters[:1])
    found = shared.dead()
    assert [row[:5] for row in found] == [
        *(("id-1", one.partition, one.offset, one.key, one.payload) for one in letters),
        ("id-2", 0, 3, None, None),
    ]
    assert found[0][5] == "payload: is missing"


def test_months_with_a_file_are_known(shared: Shared) -> None:
    store = shared.store()
    shared.mark_loaded("yellow", MONTH)
    asked = [("yellow", MONTH), ("green", MONTH), ("yellow", MONTH.next)]
    with store.transaction() as transaction:
        assert transaction.loaded(asked) == {("yellow", MONTH)}
        assert transaction.loaded([]) == set()


def test_a_former_owner_cannot_hold_its_locks(shared: Shared) -> None:
    frozen, next_ = shared.store(), shared.store()
    group, [claim] = claimed(frozen)
    write(frozen, claim, 0, 1, trip(0))

    def wake_up() -> None:
        with frozen.transaction() as transaction:
            assert transaction.lock([claim], {0: 1}) == []
            transaction.write(place([trip(1)], ()))
            newer = next_.claim(group, 0, "next")
            write(next_, newer, 1, 3, trip(1), trip(2))
            transaction.advance([claim], [Position(0, 2, 2)])

    with pytest.raises(ServiceDown):
        wake_up()
    assert set(shared.rows()) == {id_of(0), id_of(1), id_of(2)}
    with frozen.transaction() as transaction:
        assert transaction.lock([claim], {0: 3}) == [0]


def test_a_commit_of_a_terminated_connection_is_not_done(shared: Shared) -> None:
    frozen, next_ = shared.store(), shared.store()
    group, [claim] = claimed(frozen)
    frozen.ensure_partitions([MONTH])

    def wake_up() -> None:
        with frozen.transaction() as transaction:
            transaction.lock([claim], {0: 0})
            transaction.write(place([trip(1)], ()))
            transaction.advance([claim], [Position(0, 2, 2)])
            next_.claim(group, 0, "next")

    with pytest.raises(OutcomeUnknown):
        wake_up()
    assert frozen.outcomes([claim], {0: 0}, {0: 2}) == {0: "fenced"}
    assert shared.rows() == {}


@pytest.mark.parametrize(("answer", "outcome"), [("before", "again"), ("after", "done")])
def test_rows_tell_what_became_of_a_commit(shared: Shared, answer: str, outcome: str) -> None:
    store = shared.lossy_store(answer)
    group, [claim, idle] = claimed(store, 0, 1)
    store.ensure_partitions([MONTH])
    shared.lose()

    def commit() -> None:
        with store.transaction() as transaction:
            transaction.lock([claim], {0: 0})
            transaction.write(place([trip(1)], ()))
            transaction.advance([claim], [Position(0, 2, 2)])

    with pytest.raises(OutcomeUnknown):
        commit()
    assert store.outcomes([claim, idle], {0: 0, 1: 0}, {0: 2, 1: 4}) == {0: outcome, 1: "again"}
    assert set(shared.rows()) == ({id_of(1)} if outcome == "done" else set())
    shared.store().claim(group, 0, "you")
    with suppress(ServiceDown):  # a claim ends the connection of the owner before it, the new one too
        store.outcomes([claim], {0: 0}, {0: 2})
    assert store.outcomes([claim], {0: 0}, {0: 2}) == {0: "fenced"}
