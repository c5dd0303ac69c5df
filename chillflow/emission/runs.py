"""Runs: sorted events on disk, read back piece by piece."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import polars as pl
import pyarrow as pa

from chillflow.emission.order import merge, overlap

PIECE = 16_384
"""Events in a piece of a run: about 6 MB. Merging smaller ones costs half as much again."""

OPEN = 32
"""How many runs are merged at a time: two pieces of each are held in memory."""

EVENTS = pa.schema({
    "at": pa.int64(), "high": pa.uint64(), "low": pa.uint64(), "turn": pa.uint16(), "key": pa.large_binary(),
    "value": pa.large_binary(),
})  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A file of sorted events (columns of EVENTS); `first` and `last` are the times of its ends."""

    path: Path
    events: int
    first: int
    last: int

    def pieces(self) -> Iterator[pl.DataFrame]:
        with pa.OSFile(str(self.path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                piece = pl.from_arrow(reader.get_batch(number))
                assert isinstance(piece, pl.DataFrame)
                yield piece


def write_run(path: Path, events: Iterable[pl.DataFrame]) -> Run | None:
    """Writes sorted events as a run; None where there are none."""
    number, first, last = 0, 0, 0
    with pa.OSFile(str(path), "wb") as file:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(file, EVENTS, options=options) as writer:
            for frame in events:
                if not len(frame):
                    continue
                first = first if number else int(frame["at"][0])
                last = int(frame["at"][-1])
                number += len(frame)
                writer.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), max_chunksize=PIECE)
    if not number:
        path.unlink()
        return None
    return Run(path, number, first, last)


def few(runs: Sequence[Run], folder: Path) -> list[Run]:
    """Runs with the same events, of which no more than OPEN have to be read at once; those merged are deleted."""
    left = sorted(runs, key=lambda run: (run.first, run.last))
    numbers = count()
    while overlap(left) > OPEN:
        merged: list[Run] = []
        for start in range(0, len(left), OPEN):
            some = left[start : start + OPEN]
            run = write_run(folder / f"merged-{len(left)}-{next(numbers)}.arrow", merge(some))
            assert run is not None
            merged.append(run)
            for one in some:
                one.path.unlink()
        left = merged
    return left
