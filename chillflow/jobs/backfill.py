"""The backfill job: curate, load and aggregate as one; each month is loaded while the next are being curated."""

import time
from dataclasses import dataclass

import click

from chillflow import console
from chillflow.errors import ChillFlowError
from chillflow.jobs import options, session
from chillflow.jobs.curate import curate_from, sweep, tell
from chillflow.jobs.lake_measures import aggregate_lake
from chillflow.jobs.load import describe, is_loaded, load_month
from chillflow.jobs.outcomes import Outcomes, label
from chillflow.jobs.plan import Failure
from chillflow.jobs.schema import prepare
from chillflow.jobs.tasks import Tasks
from chillflow.manifests import Manifest
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.lake import Lake
from chillflow.stores.ledger import Loaded
from chillflow.stores.warehouse import Row, Warehouse


@dataclass(frozen=True)
class Stored:
    """What loading and aggregating a month changed."""

    loaded: Loaded | None
    zone_hours: int
    seconds: float

    def __str__(self) -> str:
        rows = describe(self.loaded) if self.loaded else "trips as they were"
        return f"loaded in {self.seconds:.1f} s: {rows}, {self.zone_hours:,} zone-hours changed"


def store_month(dsn: str, lake: Lake, manifest: Manifest, load: bool) -> Stored:
    """Loads a month if it must be, and computes its KPIs."""
    began = time.monotonic()
    loaded = load_month(dsn, lake, manifest) if load else None
    zone_hours = aggregate_lake(dsn, lake, manifest)
    return Stored(loaded, zone_hours, time.monotonic() - began)


@click.command()
@options.service
@options.months
@options.source
@options.force
def backfill(service: str, months: tuple[Month, ...], source: str | None, force: bool) -> None:
    """Curate, load and aggregate MONTHS of SERVICE.

    Safe to run again: a month whose source is unchanged is skipped, a killed backfill goes on where it stopped. The
    other months go on when one fails.
    """
    settings = Settings.read()
    dsn, lake = session.postgres_dsn(settings), Lake(settings.lake)
    with Reporter() as reporter, session.Cluster(settings) as cluster, Outcomes(reporter, len(months)) as outcomes:
        prepare(dsn, reporter)
        with Warehouse(dsn) as warehouse:
            ledger = {month: warehouse.month(service, month) for month in months}
        stores: Tasks[Month, Stored] = Tasks(store_month)
        folder, left = session.source_folder(settings, source, service, months, outcomes)
        for outcome in curate_from(folder, service, left, lake, reporter, cluster, force=force):
            if isinstance(outcome, Failure):
                outcomes.failed(service, outcome.month, outcome.error)
                continue
            month = Month.parse(outcome.manifest.month)
            if is_done(ledger[month], outcome.manifest) and not force:
                outcomes.say(service, month, "done already, its source is unchanged")
                continue
            tell(outcome, outcomes)
            load = force or not is_loaded(ledger[month], outcome.manifest)
            cluster.connect()
            reporter.begin(label(service, month), "load", 1)
            stores.submit(month, f"load {service} {month}", dsn, lake, outcome.manifest, load)
            _tell(stores, outcomes, service, wait=False)
        _tell(stores, outcomes, service, wait=True)
        sweep(lake, reporter)


def is_done(row: Row | None, manifest: Manifest) -> bool:
    return row is not None and row["status"] == "done" and is_loaded(row, manifest)


def _tell(stores: Tasks[Month, Stored], outcomes: Outcomes, service: str, *, wait: bool) -> None:
    for month, outcome in stores.finished(wait=wait):
        if isinstance(outcome, ChillFlowError):
            outcomes.failed(service, month, outcome)
        else:
            outcomes.say(service, month, str(outcome))


def main() -> None:
    console.run(backfill, "chillflow backfill")


if __name__ == "__main__":
    main()
