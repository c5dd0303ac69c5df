"""Staging: the events of months, sorted on disk, before the first of them is sent.

For each month: blocks are read and judged by the file's own rules (the batch path's code), what is left becomes events
with planted faults, and each part of a block a sorted run. Duplicates that lie in different blocks are found from the
blocks' keys, as the batch path does; the blocks concerned are staged again.
"""

import fcntl
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chillflow import pairs, tlc
from chillflow.curation import NO_PAIRS, Pairs, judge_file
from chillflow.emission.faults import RECORD, Faults, plant, slot_of
from chillflow.emission.runs import Run, write_run
from chillflow.explosion import TYPES
from chillflow.jobs.plan import MonthPlan
from chillflow.stores.sources import open_input
from chillflow.trips import QUARANTINE, id_key, no_ids, to_table, trip_id

ROWS = 65_536
"""Rows whose events are sorted in memory at a time: about 150 MB of work."""

AT_ONCE = 2


@dataclass
class Staged:
    """A month's events as runs, its rejected rows and the record of its faults, as files."""

    plan: MonthPlan
    runs: list[Run] = field(default_factory=list)
    rejected: list[Path] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    planted: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.plan.blocks)

    @property
    def quarantine(self) -> Iterator[pa.Table]:
        return (pq.ParquetFile(path).read() for path in self.rejected)


@dataclass
class _Part:
    """A block's: runs and record being made, its keys, rejected rows as a file."""

    keys: pl.Series
    files: list[Future["_Made"]]
    rejected: Path | None
    reasons: dict[str, int]


@dataclass(frozen=True)
class _Made:
    run: Run | None
    record: Path | None
    types: dict[int, int]
    planted: dict[str, int]


@contextmanager
def workshop(home: Path) -> Iterator[Path]:
    """An empty folder under `home` until the end of the block; what killed replays left there is deleted."""
    parent = home / "replays"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("*.lock"):
        with left.open("w") as lock:
            if _locked(lock):
                shutil.rmtree(left.with_suffix(""), ignore_errors=True)
                left.unlink(missing_ok=True)
    number = 0
    while True:
        folder = parent / str(number)
        with folder.with_suffix(".lock").open("w") as lock:
            if not _locked(lock) or not folder.with_suffix(".lock").exists():
                number += 1
                continue
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_suffix(".lock").unlink(missing_ok=True)
            return


def _locked(file: object) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
    except BlockingIOError:
        return False
    return True


def stage(plan: MonthPlan, faults: Faults, folder: Path) -> Staged:
    """Stages a month into the empty `folder`; raises SourceError."""
    folder.mkdir()
    with ThreadPoolExecutor(AT_ONCE, "staging") as pool:
        staging = _Staging(plan, faults, folder, pool)
        parts = staging.parts(range(len(plan.blocks)), {})
        keys = [pairs.BlockKeys(parts[part].keys.to_numpy(), no_ids()) for part in sorted(parts)]
        shared = pairs.shared_keys(keys)
        if len(shared):
            holders = [part for part, block in enumerate(keys) if len(pairs.held_keys(block, shared))]
            seen = pairs.seen_before(staging.ids_behind(holders, shared))
            parts |= staging.parts(seen, {part: Pairs(seen=ids) for part, ids in seen.items()})
        return _settled(plan, [parts[part] for part in sorted(parts)])


def _settled(plan: MonthPlan, parts: Sequence[_Part]) -> Staged:
    staged = Staged(plan)
    for part in parts:
        staged.reasons.update(part.reasons)
        staged.rejected += [part.rejected] if part.rejected else []
        for future in part.files:
            made = future.result()
            staged.runs += [made.run] if made.run else []
            staged.records += [made.record] if made.record else []
            staged.types.update({TYPES[slot]: number for slot, number in made.types.items()})
            staged.planted.update(made.planted)
    return staged


class _Staging:
    """Works through blocks of a month; runs are made in the pool, a few at once."""

    def __init__(self, plan: MonthPlan, faults: Faults, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.plan, self.faults, self.folder, self.pool = plan, faults, folder, pool
        self.under_way: list[Future[_Made]] = []

    def parts(self, wanted: Iterable[int], told: Mapping[int, Pairs]) -> dict[int, _Part]:
        """Stages these blocks, and waits for them."""
        found: dict[int, _Part] = {}
        for part, raw in self.read(wanted):
            judged = judge_file(raw, self.plan.month, told.get(part, NO_PAIRS))
            rejected = None
            if len(judged.rejected):
                rejected = self.folder / f"rejected-{part}.parquet"
                pq.write_table(to_table(judged.rejected, QUARANTINE), rejected)
            files = [
                self._make(f"{part}-{start}", judged.left[start : start + ROWS])
                for start in range(0, len(judged.left), ROWS)
            ]
            reasons = dict(judged.rejected["reason"].value_counts().iter_rows())
            found[part] = _Part(judged.keys, files, rejected, reasons)
        for future in self.under_way:
            future.result()
        self.under_way = []
        return found

    def ids_behind(self, wanted: Iterable[int], keys: pairs.Keys) -> dict[int, pl.Series]:
        """The full ids of each block's rows whose keys are among `keys`."""
        among = pl.Series(keys, dtype=pl.UInt64).implode()
        return {
            part: raw.select(trip_id(raw)).filter(id_key(pl.col("trip_id")).is_in(among))["trip_id"]
            for part, raw in self.read(wanted)
        }

    def read(self, wanted: Iterable[int]) -> Iterator[tuple[int, pl.DataFrame]]:
        blocks = self.plan.blocks
        for _, group in groupby(sorted(wanted), key=lambda part: blocks[part].row_group):
            parts = list(group)
            with open_input(self.plan.path) as file:
                yield from zip(parts, tlc.read_blocks(file, [blocks[part] for part in parts]), strict=True)

    def _make(self, name: str, trips: pl.DataFrame) -> Future[_Made]:
        while len(self.under_way) > AT_ONCE:
            self.under_way.pop(0).result()
        self.under_way.append(self.pool.submit(self._made, name, trips))
        return self.under_way[-1]

    def _made(self, name: str, trips: pl.DataFrame) -> _Made:
        planted = plant(trips, self.faults)
        run = write_run(self.folder / f"{name}.arrow", [planted.events])
        types = planted.events.select(slot_of(pl.col("turn")).alias("slot"))["slot"].value_counts()
        if not len(planted.record):
            return _Made(run, None, dict(types.iter_rows()), {})
        record = self.folder / f"{name}.record.parquet"
        planted.record.write_parquet(record)
        return _Made(run, record, dict(types.iter_rows()), dict(planted.record["fault"].value_counts().iter_rows()))


def write_ledger(target: Path, months: Sequence[Staged]) -> None:
    """Writes the record of all faults as one file, whole or not at all: JSON lines where it ends so, else Parquet."""
    partial = target.with_name(f".{target.name}.partial")
    schema = pa.schema([(name, pa.int32() if kind == pl.Int32 else pa.string()) for name, kind in RECORD.items()])
    paths = [path for staged in months for path in staged.records]
    if target.suffix in (".jsonl", ".ndjson"):
        with partial.open("wb") as file:
            for path in paths:
                pl.read_parquet(path).write_ndjson(file)
    else:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for path in paths:
                writer.write_table(pq.ParquetFile(path).read().cast(schema))
    partial.replace(target)
