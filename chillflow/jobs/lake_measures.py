"""Zone-hours out of the lake: the measures that curation computed block by block and merged, or those of its rows."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from chillflow import kpis
from chillflow.jobs.load import is_loaded
from chillflow.manifests import Kind, Manifest
from chillflow.months import Month
from chillflow.slices import halves
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.lake import SCHEMAS, Lake
from chillflow.trips import to_frame


def aggregate_lake(dsn: str, lake: Lake, manifest: Manifest) -> int:
    """Makes a curated month's measures its zone-hours, and computes what else its trips touch; returns the changes.

    Slices are summed up from the trips where another file than the manifest's is loaded, or none.
    """
    month, changed = Month.parse(manifest.month), 0
    with Aggregates(dsn) as aggregates:
        for hours in halves(manifest.service, month):
            found = aggregates.given(hours, measures(lake, manifest), lambda row: is_loaded(row, manifest))
            changed += aggregates.all_of(hours) if found is None else found
        changed += aggregates.head_of(halves(manifest.service, month.next)[0])
        aggregates.finish(manifest.service, month)
    return changed


def measures(lake: Lake, manifest: Manifest) -> Iterator[pa.Table]:
    """The measures (kpis.SCHEMA) of a curated month; a zone-hour is in one table only."""
    stored = [table for entry in manifest.of("kpis") for table in lake.read_file(entry)]
    if all(set(kpis.SCHEMA.names) <= set(table.schema.names) for table in stored):
        yield from stored
    else:
        yield measures_of_rows(lake, manifest)


def measures_of_rows(lake: Lake, manifest: Manifest) -> pa.Table:
    """The same, computed anew from the trips and adjustments, a row group at a time."""
    trips, adjustments = (pl.DataFrame(to_frame(SCHEMAS[kind].empty_table())) for kind in ("trips", "adjustments"))
    parts = [kpis.partial(frame, adjustments) for frame in _frames(lake, manifest, "trips")]
    parts += [kpis.partial(trips, frame) for frame in _frames(lake, manifest, "adjustments")]
    return kpis.to_table(kpis.merge(parts or [kpis.partial(trips, adjustments)]))


def _frames(lake: Lake, manifest: Manifest, kind: Kind) -> Iterator[pl.DataFrame]:
    return (to_frame(table) for entry in manifest.of(kind) for table in lake.read_file(entry))
