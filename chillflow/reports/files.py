"""Figures as files: CSV and Parquet of each, under its name."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from chillflow.errors import FolderUnwritable
from chillflow.reports.figure import Figure


def write(figures: Iterable[Figure], folder: Path) -> Iterator[Path]:
    """Writes NAME.csv and NAME.parquet of each figure; raises FolderUnwritable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            figure.table.write_csv(folder / f"{figure.name}.csv")
            yield folder / f"{figure.name}.csv"
            figure.table.write_parquet(folder / f"{figure.name}.parquet")
            yield folder / f"{figure.name}.parquet"
    except OSError as error:
        raise FolderUnwritable(str(folder), error.strerror or str(error)) from error
