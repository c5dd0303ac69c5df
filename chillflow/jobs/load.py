"""The load job: curated months from the lake into PostgreSQL, each in one transaction, several side by side."""

from collections.abc import Iterator
from datetime import timedelta

import click
import pyarrow as pa

from chillflow import console
from chillflow.errors import ChillFlowError, MonthNotCurated
from chillflow.jobs import options, session
from chillflow.jobs.outcomes import Outcomes, label
from chillflow.jobs.schema import prepare
from chillflow.jobs.tasks import Tasks
from chillflow.manifests import Kind, Manifest
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.lake import Lake
from chillflow.stores.ledger import Loaded, MonthEntry
from chillflow.stores.warehouse import Row, Warehouse


def load_month(dsn: str, lake: Lake, manifest: Manifest) -> Loaded:
    """Loads a curated month; again and nothing changes."""
    with Warehouse(dsn) as warehouse:
        return warehouse.load_month(
            entry_of(manifest),
            trips=_tables(lake, manifest, "trips"),
            quarantine=_tables(lake, manifest, "quarantine"),
            adjustments=_tables(lake, manifest, "adjustments"),
        )


def entry_of(manifest: Manifest) -> MonthEntry:
    """What the ledger says of a curated month."""
    return MonthEntry(
        service=manifest.service,
        month=Month.parse(manifest.month),
        rows_in=manifest.rows_in,
        trips=manifest.trips,
        quarantined=manifest.quarantined,
        adjustments=manifest.adjustments,
        counts=manifest.rules | manifest.flags,
        started_at=manifest.written_at - timedelta(seconds=manifest.seconds),
        seconds=manifest.seconds,
        code_version=manifest.code_version,
        rules_version=manifest.rules_version,
        source=manifest.source.url or manifest.source.path,
        source_size=manifest.source.size,
        source_etag=manifest.source.etag,
        source_checksum=manifest.source.sha256,
    )


def is_loaded(row: Row | None, manifest: Manifest) -> bool:
    """Whether the ledger's row of a month tells of the very file and rules of its manifest."""
    entry = entry_of(manifest)
    names = ("source_size", "source_etag", "source_checksum", "rules_version", "rows_in", "trips")
    return row is not None and all(row[name] == getattr(entry, name) for name in names)


def describe(loaded: Loaded) -> str:
    """What a load changed, in words."""
    text = f"{loaded.inserted:,} trips added, {loaded.updated:,} replaced, {loaded.removed:,} removed"
    return f"{text}, {loaded.not_in_file:,} not in the file" if loaded.not_in_file else text


def _tables(lake: Lake, manifest: Manifest, kind: Kind) -> Iterator[pa.Table]:
    return (table for file in manifest.of(kind) for table in lake.read_file(file))


@click.command()
@options.service
@options.months
@options.force
def load(service: str, months: tuple[Month, ...], force: bool) -> None:
    """Load curated MONTHS of SERVICE into PostgreSQL.

    A month that is loaded as it was curated is skipped. The other months go on when one fails.
    """
    settings = Settings.read()
    dsn, lake = session.postgres_dsn(settings), Lake(settings.lake)
    with Reporter() as reporter, session.Cluster(settings) as cluster, Outcomes(reporter, len(months)) as outcomes:
        prepare(dsn, reporter)
        loads: Tasks[Month, Loaded] = Tasks(load_month)
        for month in months:
            try:
                manifest = lake.manifest(service, month)
                if manifest is None:
                    raise MonthNotCurated(service, str(month))
                with Warehouse(dsn) as warehouse:
                    row = warehouse.month(service, month)
            except ChillFlowError as error:
                outcomes.failed(service, month, error)
                continue
            if is_loaded(row, manifest) and not force:
                outcomes.say(service, month, "loaded already")
                continue
            cluster.connect()
            reporter.begin(label(service, month), "load", 1)
            loads.submit(month, f"load {service} {month}", dsn, lake, manifest)
        for month, outcome in loads.finished(wait=True):
            if isinstance(outcome, ChillFlowError):
                outcomes.failed(service, month, outcome)
            else:
                outcomes.say(service, month, f"loaded: {describe(outcome)}")


def main() -> None:
    console.run(load, "chillflow load")


if __name__ == "__main__":
    main()
