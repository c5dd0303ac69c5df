"""Every metric by name, kind, help and labels; Ray's exporter puts `ray_` before the names."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...]


KPI_READS = Metric(
    "chillflow_kpi_reads", "counter", "KPI reads of anybody, by what had the answer: redis or postgresql", ("answered",)
)
"""Exposed by `chillflow aggregate --watch --metrics`, without Ray's prefix; its exporter adds `_total`."""

_PARTITION = ("topic", "partition")
_TOPIC = ("topic",)

METRICS = (
    Metric("chillflow_lag", "gauge", "records of the partition that are not settled yet", _PARTITION),
    Metric("chillflow_next_offset", "gauge", "what lies below is settled", _PARTITION),
    Metric("chillflow_open_trips", "gauge", "trips of the partition that lack an event", _PARTITION),
    Metric("chillflow_assemblers", "gauge", "assemblers that are up", _TOPIC),
    Metric("chillflow_events", "counter", "records settled, unreadable ones included", _TOPIC),
    Metric("chillflow_trips", "counter", "trips completed from events in memory", _TOPIC),
    Metric("chillflow_corrections", "counter", "stored trips that a later revision changed", _TOPIC),
    Metric("chillflow_late", "counter", "incomplete trips that a late event added to", _TOPIC),
    Metric("chillflow_spilled", "counter", "open trips that became incomplete trips", _TOPIC),
    Metric("chillflow_duplicates", "counter", "events that told nothing new", _TOPIC),
    Metric("chillflow_conflicting", "counter", "duplicates whose content was another", _TOPIC),
    Metric("chillflow_of_loaded_month", "counter", "events dropped, since a file of their month is loaded", _TOPIC),
    Metric("chillflow_dead_letters", "counter", "records that could not be read as events", _TOPIC),
)
