"""Parts: what one task does with one block of a month's file."""

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from chillflow import curation, kpis, pairs, tlc
from chillflow.curation import Curated, Pairs
from chillflow.errors import ChillFlowError
from chillflow.jobs.plan import MonthPlan
from chillflow.manifests import FileEntry
from chillflow.months import Month
from chillflow.stores.lake import Attempt
from chillflow.stores.sources import open_input
from chillflow.trips import ADJUSTMENTS, QUARANTINE, TRIPS, id_key, to_table, trip_id


@dataclass(frozen=True)
class Work:
    """Blocks of one row group to curate, by their positions in the month, and what pairs in other blocks say of them.

    It travels to a task: only what concerns its blocks is in it. `path` opens the file.
    """

    path: str
    month: Month
    blocks: Mapping[int, tlc.Block]
    attempt: Attempt
    pairs: Mapping[int, Pairs]

    @classmethod
    def of(cls, plan: MonthPlan, parts: Iterable[int], attempt: Attempt, told: Mapping[int, Pairs]) -> "Work":
        blocks = {part: plan.blocks[part] for part in parts}
        mine = {part: told[part] for part in blocks if part in told}
        return cls(plan.path, plan.month, blocks, attempt, mine)

    def read(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Each part with its raw rows; raises SourceError."""
        with open_input(self.path) as file:
            yield from zip(self.blocks, tlc.read_blocks(file, list(self.blocks.values())), strict=True)


@dataclass(frozen=True)
class Part:
    """What became of a block: its files in the attempt, when it was begun, and what the month's settlement needs."""

    began: datetime
    files: tuple[FileEntry, ...]
    counts: dict[str, int]
    keys: pairs.BlockKeys
    measures: pl.DataFrame


def curate_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A work as a row of a Ray dataset, `work` pickled, with what became of it as `outcome`, pickled too."""
    try:
        outcome: dict[int, Part] | ChillFlowError = curate_parts(pickle.loads(row["work"]))
    except ChillFlowError as error:
        outcome = error
    return {"run": row["run"], "parts": row["parts"], "outcome": pickle.dumps(outcome)}


def curate_parts(work: Work) -> dict[int, Part]:
    """Reads blocks, curates each and writes its files to the attempt; again and again with the same result."""
    began = datetime.now(UTC)
    found: dict[int, Part] = {}
    for part, raw in work.read():
        curated = curation.curate(raw, work.month, work.pairs.get(part, curation.NO_PAIRS))
        found[part] = Part(
            began=began,
            files=tuple(_write(work.attempt, part, curated)),
            counts=curated.counts,
            keys=pairs.BlockKeys(curated.keys.to_numpy(), curated.originals),
            measures=kpis.partial(curated.trips, curated.adjustments),
        )
    return found


def _write(attempt: Attempt, part: int, curated: Curated) -> Iterator[FileEntry]:
    if len(curated.trips):
        yield attempt.write("trips", part, to_table(curated.trips, TRIPS))
    if len(curated.quarantine):
        yield attempt.write("quarantine", part, to_table(curated.quarantine, QUARANTINE))
    if len(curated.adjustments):
        yield attempt.write("adjustments", part, to_table(curated.adjustments, ADJUSTMENTS))


def ids_behind(work: Work, keys: pairs.Keys) -> dict[int, pl.Series]:
    """The full ids of each part's rows whose keys are among `keys`."""
    wanted = pl.Series(keys, dtype=pl.UInt64).implode()
    return {
        part: raw.select(trip_id(raw)).filter(id_key(pl.col("trip_id")).is_in(wanted))["trip_id"]
        for part, raw in work.read()
    }
