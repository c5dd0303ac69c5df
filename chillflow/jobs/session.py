"""Where a job finds its services: the environment first, then the embedded ones of CHILLFLOW_HOME."""

import logging
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from chillflow import local
from chillflow.errors import ChillFlowError, NotRunning
from chillflow.jobs.outcomes import Outcomes
from chillflow.months import Month
from chillflow.settings import Settings


def postgres_dsn(settings: Settings) -> str:
    """The warehouse's DSN; raises NotRunning."""
    found = settings.postgres_dsn or local.addresses(settings.home).postgres
    if not found:
        raise NotRunning("PostgreSQL", "CHILLFLOW_POSTGRES_DSN")
    return found


def ray_address(settings: Settings) -> str:
    """The cluster's address: that of the Ray job this is, the given one, or the local head's; raises NotRunning."""
    found = os.environ.get("RAY_ADDRESS") or settings.ray_address or local.addresses(settings.home).ray
    if not found:
        raise NotRunning("Ray", "CHILLFLOW_RAY_ADDRESS")
    return found


class Cluster:
    """The Ray cluster, connected to by the first `connect` and left at the end of the block."""

    def __init__(self, settings: Settings) -> None:
        self.address = ray_address(settings)
        self._connected = False

    def connect(self) -> None:
        """Joins the cluster as a driver, quietly; again and it does nothing."""
        if self._connected:
            return
        import ray
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.WARNING)
        logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
        ray.init(address=self.address, namespace="chillflow", logging_level=logging.WARNING, log_to_driver=False)
        self._connected = True
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._connected:
            import ray

            ray.shutdown()


def source_folder(
    settings: Settings, source: str | None, service: str, months: Sequence[Month], outcomes: Outcomes
) -> tuple[str, tuple[Month, ...]]:
    """The folder that holds the months' files, and the months to go on with.

    `source` is a folder, or the address of a site from which the months are fetched into CHILLFLOW_HOME/raw; None
    means CHILLFLOW_SOURCE. A month that cannot be fetched has failed and is left out. Raises SourceMissing and
    SourceUnreadable of a folder that cannot be listed.
    """
    from chillflow import download
    from chillflow.stores import sources

    place = source or settings.source
    if not download.is_web(place):
        sources.list_files(place)
        return place, tuple(months)
    folder = settings.home / "raw"
    left: list[Month] = []
    for month in months:
        try:
            outcomes.say(service, month, str(download.fetch_month(place, service, month, folder)))
            left.append(month)
        except ChillFlowError as error:
            outcomes.failed(service, month, error)
    return str(folder), tuple(left)
