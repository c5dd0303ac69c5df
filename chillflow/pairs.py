"""Pairs that lie in different blocks of a month: found from the blocks' keys, without a shuffle.

A block settles the duplicates and reversals that it holds itself. What is left is few: ids that two blocks share, then
originals whose reversal is in another block (in this order, since a duplicate of a reversal reverses nothing). The
driver finds them from 8 bytes a row; only the blocks concerned are read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from chillflow.trips import id_key, no_ids

Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]

_RANGES = 64


@dataclass(frozen=True)
class BlockKeys:
    """What a block tells of its ids: their sorted 64-bit keys, and the originals that its reversals name."""

    keys: Keys
    originals: pl.Series


def shared_keys(blocks: Sequence[BlockKeys]) -> Keys:
    """The keys that more than one block holds: candidates for duplicates, each to be confirmed on the full id.

    Works through ranges of the key space, so that it needs little memory beside the blocks' own arrays.
    """
    bounds = (1 << 63) + np.arange(_RANGES, dtype=np.uint64) * np.uint64((1 << 62) // _RANGES)
    cuts = [np.append(np.searchsorted(block.keys, bounds), len(block.keys)) for block in blocks]
    found: list[Keys] = []
    for part in range(_RANGES):
        slices = [block.keys[cut[part] : cut[part + 1]] for block, cut in zip(blocks, cuts, strict=True)]
        found.append(_repeated(slices))
    return np.concatenate(found)


def held_keys(block: BlockKeys, keys: Keys) -> Keys:
    """Those of the keys that the block holds."""
    return keys[_held(keys, block.keys)]


def seen_before(ids: Mapping[int, pl.Series]) -> dict[int, pl.Series]:
    """The ids of each block that an earlier block holds already, from the full ids behind shared keys by position."""
    found: dict[int, pl.Series] = {}
    earlier = no_ids()
    for position, mine in sorted(ids.items()):
        again = mine.filter(mine.is_in(earlier.implode())).unique()
        if len(again):
            found[position] = again
        earlier = pl.concat([earlier, mine])
    return found


def reversed_elsewhere(blocks: Sequence[BlockKeys]) -> dict[int, pl.Series]:
    """The ids of each block that a reversal in another block names, once duplicates are settled.

    Found by key, so an id may not be in the block after all: harmless, since the block compares full ids.
    """
    ids = pl.concat([no_ids(), *(block.originals for block in blocks)]).unique()
    named = pl.DataFrame({"id": ids}).select("id", key=id_key(pl.col("id"))).sort("key")
    keys = named["key"].to_numpy()
    found: dict[int, pl.Series] = {}
    for position, block in enumerate(blocks):
        held = named["id"].filter(pl.Series(_held(keys, block.keys)))
        elsewhere = held.filter(~held.is_in(block.originals.implode()))
        if len(elsewhere):
            found[position] = elsewhere.alias("trip_id")
    return found


def _repeated(arrays: Sequence[Keys]) -> Keys:
    """The keys that more than one of the sorted arrays holds."""
    merged = np.concatenate([np.empty(0, np.uint64), *arrays])
    merged.sort(kind="stable")  # merges what is sorted already, in a third of the other kinds' time
    twice = np.unique(merged[1:][merged[1:] == merged[:-1]])
    holders = sum((_held(twice, keys).astype(np.int64) for keys in arrays), np.zeros(len(twice), np.int64))
    return twice[holders > 1]


def _held(needles: Keys, keys: Keys) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    if not len(keys):
        return np.zeros(len(needles), np.bool_)
    places = np.searchsorted(keys, needles)
    held: np.ndarray[tuple[int], np.dtype[np.bool_]] = keys[np.minimum(places, len(keys) - 1)] == needles
    return held
