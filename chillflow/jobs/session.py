"""Where a job finds its services: the environment first, then the embedded ones of CHILLFLOW_HOME."""

import logging
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from chillflow import local
from chillflow.errors import ClusterFailed, NotRunning, RayRefused, ServiceDown
from chillflow.jobs import access
from chillflow.jobs.outcomes import Outcomes
from chillflow.jobs.works import metadata_of
from chillflow.local import brokers
from chillflow.local.state import Home
from chillflow.months import Month
from chillflow.settings import KafkaSecurity, Settings

if TYPE_CHECKING:
    from ray.job_config import JobConfig

_PATIENCE = 10.0
_OF_RAY = "A worker died or was killed while executing"
"""What Ray would say on stdout; whoever lost the worker says so on stderr."""


def postgres_dsn(settings: Settings) -> str:
    """The warehouse's DSN; raises NotRunning."""
    found = settings.postgres_dsn or local.addresses(settings.home).postgres
    if not found:
        raise NotRunning("PostgreSQL", "CHILLFLOW_POSTGRES_DSN")
    return found


def kafka_config(settings: Settings) -> dict[str, str]:
    """What librdkafka is told of the broker; raises NotRunning."""
    found = settings.kafka_bootstrap or local.addresses(settings.home).kafka
    if not found:
        raise NotRunning("Kafka", "CHILLFLOW_KAFKA_BOOTSTRAP")
    return {"bootstrap.servers": found} | (_secured(settings.kafka_security) if settings.kafka_bootstrap else {})


def _secured(security: KafkaSecurity) -> dict[str, str]:
    """librdkafka's settings. Certificates go as text: assemblers on other machines do not have the file."""
    found = {"security.protocol": security.protocol}
    if security.protocol.startswith("SASL"):
        found |= {
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.username or "",
            "sasl.password": security.password or "",
        }
    if security.ca and security.protocol.endswith("SSL"):
        found["ssl.ca.pem"] = security.ca.read_text()
    return found


def redis_url(settings: Settings) -> str:
    """Where snapshots go, also while nothing runs there: they are missed, not needed. Raises NotRunning."""
    if settings.redis_url:
        return settings.redis_url
    if not (settings.home / "state.json").exists():
        raise NotRunning("Redis", "CHILLFLOW_REDIS_URL")
    return brokers.redis_url(Home(settings.home))


def roster(settings: Settings) -> Path:
    """Where those who assemble on a machine sign in; the same path on each."""
    return settings.home / "roster"


def redis_if_any(settings: Settings) -> str | None:
    """Where answers are remembered; None where there is no Redis, which only costs time."""
    try:
        return redis_url(settings)
    except NotRunning:
        return None


class Cluster:
    """The Ray cluster, connected to by the first `connect` and left at the end of the block."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._place = settings, access.cluster(settings)
        self.address = self._place.address
        self._connected = False

    def connect(self, *, data: bool = True) -> None:
        """Joins the cluster as a driver, quietly; again and it does nothing. Without `data`, Ray Data is not set up."""
        if self._connected:
            return
        self._probe()
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", _OF_RAY)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else an actor and a thread gather them for Ray's makers
        access.show_token(self._settings, self._place)
        import ray
        from ray.exceptions import AuthenticationError

        try:
            ray.init(
                address=self.address, namespace="chillflow", logging_level=logging.WARNING, log_to_driver=False,
                job_config=_named(),
            )  # fmt: skip
        except (ConnectionError, RuntimeError, TimeoutError, AuthenticationError) as fault:
            raise RayRefused(self.address, first_line(fault)) from fault
        self._connected = True
        if data:
            _set_up_data()

    def _probe(self) -> None:
        """Ray itself tries for minutes to reach a cluster that is not there."""
        host, colon, port = self.address.rpartition(":")
        if not colon or "/" in host or not port.isdigit():
            return
        try:
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        except OSError as fault:
            raise ServiceDown("Ray", self.address, fault.strerror or str(fault)) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._connected:
            return
        import ray
        from ray.exceptions import RayError, RayTaskError

        ray.shutdown()
        if isinstance(error, RayError) and not isinstance(error, RayTaskError):
            raise ClusterFailed(self.address, first_line(error)) from error


def _named() -> "JobConfig":
    """The name under which the dashboard shows this driver; where it was submitted, it has one already."""
    from ray.job_config import JobConfig

    context = click.get_current_context(silent=True)
    return JobConfig(metadata=metadata_of(context) if context else {})


def _set_up_data() -> None:
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Its budgets begin at one task for the first second, and leave no task waiting for a worker that gets free.
    context.op_resource_reservation_enabled = False


def first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(fault).__name__


def source_folder(
    settings: Settings, source: str | None, service: str, months: Sequence[Month], outcomes: Outcomes
) -> tuple[str, Iterable[Month]]:
    """The folder that holds the months' files, and the months to go on with, each once its file is there.

    `source` is a folder, or the address of a site from which the months are fetched into CHILLFLOW_RAW as they are
    asked for; None means CHILLFLOW_SOURCE. Where the site does not answer, a file that was fetched from it before
    is taken. A month that cannot be fetched has failed and is left out. Raises SourceMissing and SourceUnreadable of a
    folder that cannot be listed.
    """
    from chillflow.download import is_web
    from chillflow.jobs.fetching import Shelf, fetched
    from chillflow.stores import sources

    place = source or settings.source
    if not is_web(place):
        sources.list_files(place)
        return place, tuple(months)
    return settings.raw, fetched(place, service, months, Shelf.of(settings), outcomes)
