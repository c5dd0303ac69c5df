"""Ownership on a pool in memory whose assemblers die, freeze and dawdle as Hypothesis says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.ownership import (
    Assembler,
    Assign,
    Holding,
    Kill,
    Patience,
    Release,
    Scaling,
    Start,
    Stop,
    moves,
    pause_before_start,
    scaled,
    settled,
    stuck,
)

PATIENCE = Patience()


class World:
    """Assemblers as they are; each move is checked, and carried out in part at once, in part by `work`."""

    def __init__(self, partitions: int, size: int) -> None:
        self.partitions, self.size, self.now = partitions, size, 0.0
        self.pool: dict[str, Assembler] = {}
        self.frozen: set[str] = set()
        self.started = 0

    def turn(self) -> int:
        self.now += 1.0
        found = moves(list(self.pool.values()), self.partitions, self.size, self.now)
        for move in found:
            self.carry_out(move)
        return len(found)

    def carry_out(self, move) -> None:
        match move:
            case Start():
                self.started += 1
                name = f"assembler-{self.started}"
                self.pool[name] = Assembler(name, self.now)
            case Kill(name, _):
                del self.pool[name]
            case Stop(name):
                assert not self.pool[name].held
                self.pool[name] = replace(self.pool[name], stopping=True)
            case Assign(name, partition):
                owners = [each.name for each in self.pool.values() if partition in each.held]
                assert not owners, f"{partition} has {owners}, and goes to {name}"
                assert self.pool[name].heard is not None
                self.hold(name, partition, "asked")
            case Release(name, partition):
                transit = [held for each in self.pool.values() for held in each.held.values() if held.phase != "live"]
                assert not transit, "one at a time"
                self.hold(name, partition, "releasing")

    def hold(self, name: str, partition: int, phase) -> None:
        each = self.pool[name]
        self.pool[name] = replace(each, held={**each.held, partition: Holding(phase, self.now)})

    def work(self, name: str) -> None:
        """An assembler carries out what it was asked for, and says so."""
        each = self.pool[name]
        if name in self.frozen:
            return
        if each.stopping:
            del self.pool[name]
            return
        held = {
            partition: Holding("live" if holding.phase == "recovering" else "recovering", self.now)
            if holding.phase in ("asked", "recovering")
            else holding
            for partition, holding in each.held.items()
            if holding.phase != "releasing"
        }
        self.pool[name] = replace(each, heard=self.now, progressed=self.now, held=held)

    def heal(self) -> None:
        for _ in range(200 + 8 * self.partitions):
            asked = self.turn()
            for name in list(self.pool):
                self.work(name)
            if not asked and settled(list(self.pool.values()), self.partitions, self.size):
                return
        raise AssertionError(f"never settled: {self.pool}")


FAULTS = st.lists(
    st.tuples(st.sampled_from(["work", "work", "work", "die", "freeze", "lose", "scale"]), st.integers(0, 99)),
    max_size=60,
)


@given(st.integers(1, 12), st.integers(1, 6), FAULTS)
def test_whatever_dies_each_partition_gets_one_owner_and_owners_are_balanced(partitions, size, faults):
    world = World(partitions, size)
    for fault, number in faults:
        world.turn()
        names = sorted(world.pool)
        name = names[number % len(names)]
        if fault == "work":
            world.work(name)
        elif fault == "die":
            del world.pool[name]
        elif fault == "freeze":
            world.frozen.add(name)
        elif fault == "lose":
            each = world.pool[name]
            world.pool[name] = replace(each, held=dict(list(each.held.items())[1:]))
        else:
            world.size = 1 + number % 6

    world.heal()

    assert settled(list(world.pool.values()), partitions, world.size)
    assert world.turn() == 0


def up(name: str, *held: int, **other) -> Assembler:
    given = {"began": 0.0, "heard": 100.0, "progressed": 100.0, **other}
    return Assembler(name, held={partition: Holding("live") for partition in held}, **given)


def test_the_first_assemblers_wait_for_the_others_and_share_at_once():
    both = [up("a", began=99.0), Assembler("b", began=99.0)]
    assert moves(both, 4, 2, 100.0) == []
    assert moves(both, 4, 2, 105.0) == [Assign("a", partition) for partition in range(4)]

    both[1] = up("b")
    assert moves(both, 4, 2, 100.0) == [Assign("a", 0), Assign("b", 1), Assign("a", 2), Assign("b", 3)]


def test_partitions_of_the_dead_go_to_the_living_at_once_and_another_is_started():
    assert moves([up("a", 0, 1)], 4, 2, 100.0) == [Start(), Assign("a", 2), Assign("a", 3)]


def test_who_joins_gets_one_partition_at_a_time_the_least_behind_first():
    assert moves([up("a", 0, 1, 2, 3), up("b")], 4, 2, 100.0, {0: 9, 1: 2, 2: 5}) == [Release("a", 3)]
    assert moves([up("a", 0, 1, 2), up("b")], 4, 2, 100.0) == [Assign("b", 3)]
    moving = replace(up("b"), held={3: Holding("recovering")})
    assert moves([up("a", 0, 1, 2), moving], 4, 2, 100.0) == []


def test_who_is_too_many_gives_its_partitions_away_and_is_stopped_when_it_has_none():
    pool = [up("a", 0, 1, began=1.0), up("b", 2, 3, began=2.0)]
    assert moves(pool, 4, 1, 100.0) == [Release("b", 2)]
    assert moves([up("a", 0, 1, 2, 3), up("b")], 4, 1, 100.0) == [Stop("b")]
    assert moves([up("a", 0, 1, 2, 3), Assembler("b", 99.0)], 4, 1, 100.0) == [Stop("b")]


def test_more_assemblers_than_partitions_are_not_started():
    assert moves([], 2, 5, 0.0) == [Start(), Start()]


def test_liveness_is_not_progress():
    pool = [up("a", 0, progressed=30.0), up("b", 1)]
    assert moves(pool, 2, 2, 100.0)[0] == Kill("a", "it has not got on for 70 s")
    assert Assign("b", 0) in moves(pool, 2, 2, 100.0)


def test_who_is_silent_is_given_up_but_not_who_is_not_up_yet():
    pool = [up("a", heard=80.0), Assembler("b", 0.0)]
    assert stuck(pool, 100.0, PATIENCE) == {"a": "it has been silent for 20 s"}
    assert "assembler_slot" in stuck(pool, 121.0, PATIENCE)["b"]


def test_while_all_wait_for_a_service_nobody_is_stuck():
    pool = [up("a", 0, progressed=0.0, troubled=True), up("b", 1, progressed=0.0, troubled=True)]
    assert stuck(pool, 100.0, PATIENCE) == {}
    assert [*stuck([pool[0], up("b", 1)], 100.0, PATIENCE)] == ["a"]


def test_a_partition_that_failed_is_tried_again_after_a_while():
    each = replace(up("a", 0), held={0: Holding("live"), 1: Holding("failed", 80.0)})
    assert moves([each], 2, 1, 100.0) == []
    assert moves([each], 2, 1, 110.0) == [Assign("a", 1)]


@pytest.mark.parametrize(("deaths", "pause"), [(0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0), (20, 30.0)])
def test_assemblers_that_die_young_are_followed_ever_more_slowly(deaths, pause):
    assert pause_before_start(deaths) == pause


def test_lag_makes_the_pool_grow_at_once_to_what_is_needed_and_shrink_one_by_one():
    scaling = Scaling(1)
    for now, lag, size in [(0, 350, 1), (4, 350, 1), (5, 350, 4), (6, 900, 4), (12, 900, 6), (13, 0, 6), (72, 0, 6),
                           (73, 0, 5), (74, 0, 5), (134, 0, 4)]:  # fmt: skip
        scaling = scaled(scaling, 1, 6, lag, 100, now)
        assert scaling.size == size, f"at {now}"


def test_a_lag_that_wavers_about_the_target_changes_nothing():
    scaling = Scaling(3)
    for now in range(1000):
        scaling = scaled(scaling, 1, 6, 201 + 99 * (now % 2), 100, float(now))
        assert scaling.size == 3


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 90)), max_size=50))
def test_the_size_stays_between_minimum_and_maximum(steps):
    scaling, now = Scaling(9), 0.0
    for lag, seconds in steps:
        now += seconds
        scaling = scaled(scaling, 2, 5, lag, 100, now)
        assert 2 <= scaling.size <= 5


def test_one_whose_machine_is_emptied_is_told_to_let_go_once_and_another_is_started():
    held = {0: Holding("live")}
    going = Assembler("going", 0.0, heard=1.0, leaving=True, held=held)
    other = Assembler("other", 0.0, heard=1.0, held={1: Holding("live")})
    assert moves([going, other], 2, 2, 1.0) == [Stop("going"), Start()]

    told = replace(going, stopping=True)
    third = Assembler("third", 1.0, heard=2.0)
    assert moves([told, other, third], 2, 2, 2.0) == []
    assert moves([replace(told, held={}), other, third], 2, 2, 2.0) == [Assign("third", 0)]
