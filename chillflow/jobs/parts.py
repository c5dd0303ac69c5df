"""Parts: what one task does with one block of a month's file."""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from chillflow import curation, kpis, pairs, tlc
from chillflow.curation import Curated, Pairs
from chillflow.errors import ChillFlowError
from chillflow.jobs.plan import MonthPlan
from chillflow.manifests import FileEntry
from chillflow.stores.lake import Attempt
from chillflow.stores.sources import open_input
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS, id_key, to_table, trip_id


@dataclass(frozen=True)
class Work:
    """A block to curate, and what pairs in other blocks say of it."""

    plan: MonthPlan
    part: int
    attempt: Attempt
    pairs: Pairs = curation.NO_PAIRS


@dataclass(frozen=True)
class Part:
    """What became of a block: its files in the attempt, when it was begun, and what the month's settlement needs."""

    began: datetime
    files: tuple[FileEntry, ...]
    counts: dict[str, int]
    keys: pairs.BlockKeys
    measures: pl.DataFrame


def curate_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A block to curate as a row of a Ray dataset: its `work` pickled, what became of it as `outcome`, pickled too."""
    try:
        outcome: Part | ChillFlowError = curate_part(pickle.loads(row["work"]))
    except ChillFlowError as error:
        outcome = error
    return {"run": row["run"], "part": row["part"], "outcome": pickle.dumps(outcome)}


def curate_part(work: Work) -> Part:
    """Reads a block, curates it and writes its files to the attempt; again and again with the same result."""
    began = datetime.now(UTC)
    curated = curation.curate(_read(work), work.plan.month, work.pairs)
    return Part(
        began=began,
        files=tuple(_write(work, curated)),
        counts=curated.counts,
        keys=pairs.BlockKeys(curated.keys.to_numpy(), curated.originals),
        measures=kpis.partial(curated.trips),
    )


def _read(work: Work) -> pl.DataFrame:
    block = work.plan.blocks[work.part]
    with open_input(block.path) as file:
        return tlc.read(file, block)


def _write(work: Work, curated: Curated) -> Iterator[FileEntry]:
    if len(curated.trips):
        yield work.attempt.write("trips", work.part, to_table(curated.trips, TRIPS))
    if len(curated.quarantine):
        yield work.attempt.write("quarantine", work.part, to_table(curated.quarantine, QUARANTINE))
    if len(curated.adjustments):
        yield work.attempt.write("adjustments", work.part, to_table(curated.adjustments, ADJUSTMENTS))


def ids_behind(work: Work, keys: pairs.Keys) -> pl.Series:
    """The full ids of a block's rows whose keys are among `keys`."""
    raw = _read(work)
    frame = raw.select(trip_id(raw))
    wanted = pl.Series(keys, dtype=pl.UInt64).implode()
    return frame.filter(id_key(pl.col("trip_id")).is_in(wanted))["trip_id"]
