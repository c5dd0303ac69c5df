"""Which blocks must be told of reversals in other blocks."""

import numpy as np
import polars as pl

from chillflow.pairs import BlockKeys, reversed_elsewhere, shared_keys


def ids(*values: int) -> pl.Series:
    return pl.Series("trip_id", values, pl.UInt128)


def block(keys: list[int], originals: pl.Series) -> BlockKeys:
    return BlockKeys(np.array(sorted(keys), np.uint64), originals)


def test_keys_are_shared_where_two_blocks_hold_them_not_where_one_does_twice():
    first = 1 << 63
    blocks = [block([first, first + 5, first + 5, -1 + (1 << 64)], ids()), block([], ids()), block([first + 7], ids())]
    assert list(shared_keys(blocks)) == []

    blocks.append(block([first, first + 7, first + 8, -1 + (1 << 64)], ids()))
    assert list(shared_keys(blocks)) == [first, first + 7, -1 + (1 << 64)]
    assert list(shared_keys([])) == []


def test_only_the_block_that_holds_an_original_is_told_and_only_by_the_others():
    blocks = [block([2, 4, 6], ids(4)), block([8], ids(2, 6, 10)), block([], ids(8, 4))]

    found = reversed_elsewhere(blocks)

    assert {position: sorted(named) for position, named in found.items()} == {0: [2, 6], 1: [8]}


def test_equal_keys_of_different_ids_are_all_told():
    high = 1 << 64
    found = reversed_elsewhere([block([5], ids()), block([], ids(5, high + 5, 7))])
    assert {position: sorted(named) for position, named in found.items()} == {0: [5, high + 5]}


def test_a_month_without_reversals_tells_nobody():
    assert reversed_elsewhere([block([1], ids()), block([], ids())]) == {}
    assert reversed_elsewhere([]) == {}
