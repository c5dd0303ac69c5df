"""Months fetched from a site as a job asks for them; a file that is there serves where the site fails."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from chillflow.download import Pace, Watcher, fetch_month, kept
from chillflow.errors import ChillFlowError, DownloadFailed, Throttled
from chillflow.jobs.outcomes import Outcomes
from chillflow.months import Month

_MEGABYTE = 1_000_000


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
    site: str, service: str, months: Iterable[Month], folder: Path, outcomes: Outcomes, pace: Pace | None = None
) -> Iterator[Month]:
    """The months that can go on, each once its file is in the folder; a month that cannot be fetched has failed.

    Where the site does not answer, a file that was fetched from it before, and is as it was then, is used, with a
    warning. Of a site that did not answer once, little is expected for such files.
    """
    pace = pace or Pace()
    answered = True
    for month in months:
        before = kept(site, service, month, folder)
        outcomes.begin(service, month, "fetch, MB")
        try:
            patience = pace if answered or before is None else replace(pace, tries=1)
            done = fetch_month(site, service, month, folder, _Told(service, month, outcomes), patience)
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
