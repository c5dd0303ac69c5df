"""`chillflow fetch`: downloads months, verified and resumable."""

from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from chillflow.download import Fetched, Watcher, is_web
from chillflow.errors import ChillFlowError, MonthsFailed, NotAWebAddress
from chillflow.jobs import options
from chillflow.jobs.fetching import Shelf
from chillflow.months import Month
from chillflow.settings import Settings


class _Bar(Watcher):
    """A bar on a terminal for the file that is being downloaded, a line for each that is done."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._name = ""
        self._task = self._bars.add_task("", visible=False)

    def begin(self, name: str) -> None:
        self._name = name
        self._bars.reset(self._task, description=name, total=None, visible=True)

    def moved(self, done: int, total: int | None) -> None:
        self._bars.update(self._task, completed=done, total=total)

    def waits(self, seconds: float, why: str) -> None:
        self.end(f"{why}; again in {seconds:.0f} s")

    def end(self, text: str) -> None:
        self.say(f"{self._name}: {text}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()


@click.command()
@options.service
@options.months
@click.option(
    "--to", "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
    help="where the files go [default: CHILLFLOW_RAW]",
)  # fmt: skip
@click.option("--source", metavar="URL", help="the site that holds the files [default: the TLC's]")
def fetch(service: str, months: tuple[Month, ...], folder: Path | None, source: str | None) -> None:
    """Download MONTHS of SERVICE (2019-01, 2019-01..2019-06 or a comma list).

    Each file is verified. A download that was interrupted goes on where it stopped, a file that did not change is left
    as it is. The other months go on when one fails.
    """
    settings = Settings.read()
    site = source or settings.source
    if not is_web(site):
        raise NotAWebAddress(site)
    shelf = Shelf(folder.absolute()) if folder else Shelf.of(settings)
    fetched: list[Fetched] = []
    with _Bar() as bar:
        for month in months:
            bar.begin(f"{service} {month}")
            try:
                fetched.append(shelf.fetch(site, service, month, bar))
                bar.end(str(fetched[-1]))
            except ChillFlowError as error:
                bar.end(f"failed: {error}")
        fresh = [file.size for file in fetched if file.seconds is not None]
        bar.say(
            f"{len(months)} months: {len(fresh)} fetched ({sum(fresh) / 1e6:,.1f} MB), {len(fetched) - len(fresh)} "
            f"unchanged, {len(months) - len(fetched)} failed"
        )
    if len(fetched) < len(months):
        raise MonthsFailed(len(months) - len(fetched), len(months))
