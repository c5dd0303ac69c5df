"""The metrics of a group, published by its coordinator: it alone knows lag, and of each partition one owner."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ray.util import metrics

from chillflow.actors.coordinator import Coordinator
from chillflow.assembly import Counts
from chillflow.metrics import METRICS

COUNTED = {
    "complete": "chillflow_trips",
    "corrected": "chillflow_corrections",
    **{name: f"chillflow_{name}" for name in asdict(Counts()) if name not in ("complete", "corrected")},
}
"""assembly.Counts by metric."""


class Publisher:
    """Puts what the coordinator knows into Ray's metrics."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._before: dict[str, int] = {}
        kinds = {"gauge": metrics.Gauge, "counter": metrics.Counter}
        self._metrics: dict[str, Any] = {
            each.name: kinds[each.kind](each.name, description=each.help, tag_keys=each.labels) for each in METRICS
        }

    def publish(self) -> None:
        topic = {"topic": self._coordinator.group.topic.name}
        for partition, lag in self._coordinator.lag.items():
            self._metrics["chillflow_lag"].set(lag, topic | {"partition": str(partition)})
        members = list(self._coordinator.members.values())
        for one in (one for member in members for one in member.told.values() if one.state == "live"):
            tags = topic | {"partition": str(one.partition)}
            self._metrics["chillflow_next_offset"].set(one.next_offset, tags)
            self._metrics["chillflow_open_trips"].set(one.open, tags)
        self._metrics["chillflow_assemblers"].set(sum(member.heard is not None for member in members), topic)
        for name, value in self.totals().items():
            if (more := value - self._before.get(name, 0)) > 0:  # Ray refuses inc(0)
                self._metrics[name].inc(more, topic)
                self._before[name] = value

    def totals(self) -> Mapping[str, int]:
        """The counters since the coordinator began."""
        found = {each.name: 0 for each in METRICS if each.kind == "counter"}
        for status in self._coordinator.statuses():
            found["chillflow_events"] += status.committed
            found["chillflow_dead_letters"] += status.dead_letters
            for name, count in status.counts.items():
                found[COUNTED[name]] += count
        return found
