"""Months fetched from a site as a job asks for them; a file that is there serves where the site fails."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from chillflow import tlc
from chillflow.download import Fetched, Pace, Watcher, fetch_month, kept
from chillflow.errors import ChillFlowError, DownloadFailed, Throttled
from chillflow.jobs.outcomes import Outcomes
from chillflow.jobs.plan import within
from chillflow.months import Month
from chillflow.settings import Settings
from chillflow.stores import sources

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Shelf:
    """Where fetched months are kept: a folder of this machine, and the object store from which others read them."""

    folder: Path
    store: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Shelf":
        if "://" in settings.raw:
            return cls(settings.home / "raw", settings.raw)
        return cls(Path(settings.raw).absolute())

    def kept(self, site: str, service: str, month: Month) -> Path | None:
        """See download.kept; a file that only the object store has is brought from there. Raises LakeUnavailable."""
        name = tlc.file_name(service, month)
        if self.store is not None and not (self.folder / name).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            sources.mirror(_both(self.store, name), _both(str(self.folder), name))
        return kept(site, service, month, self.folder)

    def fetch(
        self, site: str, service: str, month: Month, watcher: Watcher | None = None, pace: Pace | None = None
    ) -> Fetched:
        """See download.fetch_month; raises LakeUnavailable, too."""
        found = fetch_month(site, service, month, self.folder, watcher, pace)
        if self.store is not None:
            name = tlc.file_name(service, month)
            sources.mirror(_both(str(self.folder), name), _both(self.store, name))
        return found


def _both(folder: str, name: str) -> tuple[str, str]:
    """A file and its note."""
    return within(folder, name), within(folder, name + sources.SIDECAR)


@dataclass(frozen=True)
class _Told(Watcher):
    service: str
    month: Month
    outcomes: Outcomes

    def moved(self, done: int, total: int | None) -> None:
        in_all = None if total is None else total // _MEGABYTE
        self.outcomes.reach(self.service, self.month, done // _MEGABYTE, in_all)

    def waits(self, seconds: float, why: str) -> None:
        self.outcomes.remark(self.service, self.month, f"{why}; again in {seconds:.0f} s")


def fetched(
    site: str, service: str, months: Iterable[Month], shelf: Shelf, outcomes: Outcomes, pace: Pace | None = None
) -> Iterator[Month]:
    """The months that can go on, each once its file is on the shelf; a month that cannot be fetched has failed.

    Where the site does not answer, a file that was fetched from it before, and is as it was then, is used, with a
    warning. Of a site that did not answer once, little is expected for such files.
    """
    pace = pace or Pace()
    answered = True
    for month in months:
        before = None
        outcomes.begin(service, month, "fetch, MB")
        try:
            before = shelf.kept(site, service, month)
            patience = pace if answered or before is None else replace(pace, tries=1)
            done = shelf.fetch(site, service, month, _Told(service, month, outcomes), patience)
            answered = True
            outcomes.say(service, month, str(done))
        except (DownloadFailed, Throttled) as error:
            answered = False
            if before is None:
                outcomes.failed(service, month, error)
                continue
            outcomes.say(service, month, f"warning: {error}; {before}, fetched before, is used as it is")
        except ChillFlowError as error:
            outcomes.failed(service, month, error)
            continue
        yield month
