"""The ledger of ingested months: what a load writes of a month, and what it did."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from chillflow.months import Month


@dataclass(frozen=True)
class MonthEntry:
    """What is known of a month's file once it is curated: rows_in = trips + quarantined + adjustments.

    `counts` are rows by rule name, flags included. `source` is a path or URL, `source_size` in bytes; what a source
    does not tell is None. `started_at` has a time zone; `seconds` is the work done before the load.
    """

    service: str
    month: Month
    rows_in: int
    trips: int
    quarantined: int
    adjustments: int
    counts: Mapping[str, int]
    started_at: dt.datetime
    code_version: str
    rules_version: int
    seconds: float = 0.0
    source: str | None = None
    source_size: int | None = None
    source_etag: str | None = None
    source_checksum: str | None = None


@dataclass(frozen=True)
class Loaded:
    """What a load did: rows of `trips` added, replaced and removed.

    `not_in_file` are the month's rows that its file lacks, in all; `fresh` where the load made the month's partition;
    `completed` are incomplete trips of the stream that the file completed.
    """

    fresh: bool
    inserted: int
    updated: int
    removed: int
    not_in_file: int
    completed: int = 0


@dataclass(frozen=True)
class ZonesChanged:
    """Zone ids that the warehouse did not have, that it has no longer, and that were renamed."""

    new: tuple[int, ...] = field(default=())
    gone: tuple[int, ...] = field(default=())
    renamed: tuple[int, ...] = field(default=())


def slice_of(service: str, month: Month) -> dict[str, Any]:
    """The parameters that name a month's rows in queries."""
    return {"service": service, "month": month.date, "start": month.start, "end": month.next.start}


def parameters(entry: MonthEntry, not_in_file: int) -> dict[str, Any]:
    """The parameters of `write_month`."""
    counts = dict(entry.counts) | ({"not_in_file": not_in_file} if not_in_file else {})
    return asdict(entry) | {"month": entry.month.date, "counts": Jsonb(counts)}
