"""What became of each month of a job, said as it happens; a job with failed months ends as failed."""

from types import TracebackType
from typing import Self

from chillflow import quality
from chillflow.errors import ChillFlowError, MonthsFailed
from chillflow.manifests import Manifest
from chillflow.months import Month
from chillflow.progress import Reporter


def label(service: str, month: Month | str) -> str:
    return f"{service} {month}"


class Outcomes:
    """Collects failures, so that one month's fault does not stop the others; leaving the block raises MonthsFailed."""

    def __init__(self, reporter: Reporter, asked: int) -> None:
        self._reporter = reporter
        self._asked = asked
        self._failed: set[str] = set()

    @property
    def any_failed(self) -> bool:
        return bool(self._failed)

    def say(self, service: str, month: Month | str, text: str) -> None:
        name = label(service, month)
        self._reporter.end(name)
        self._reporter.say(f"{name}: {text}")

    def begin(self, service: str, month: Month, step: str, total: int | None = None) -> None:
        self._reporter.begin(label(service, month), step, total)

    def reach(self, service: str, month: Month, done: int, total: int | None) -> None:
        self._reporter.reach(label(service, month), done, total)

    def remark(self, service: str, month: Month, text: str) -> None:
        """Says something of a step that goes on."""
        self._reporter.say(f"{label(service, month)}: {text}")

    def failed(self, service: str, month: Month, error: ChillFlowError) -> None:
        self._failed.add(label(service, month))
        self.say(service, month, f"failed: {error}")

    def curated(self, manifest: Manifest) -> None:
        """Says what curation made of a month, with warnings and alerts."""
        self.say(manifest.service, manifest.month, summary(manifest))
        for warning in manifest.warnings:
            self.say(manifest.service, manifest.month, f"warning: {warning}")
        counts = manifest.rules | manifest.flags
        for alert in quality.alerts(manifest.service, manifest.rows_in, manifest.trips, counts):
            self.say(manifest.service, manifest.month, f"alert: {alert}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None and self._failed:
            raise MonthsFailed(len(self._failed), self._asked)


def summary(manifest: Manifest) -> str:
    """A month's account in one line."""
    share = 100 * manifest.quarantined / manifest.rows_in if manifest.rows_in else 0.0
    return (
        f"curated {manifest.rows_in:,} rows in {manifest.seconds:.1f} s: {manifest.trips:,} trips, "
        f"{manifest.quarantined:,} quarantined ({share:.2f} %), {manifest.adjustments:,} adjustments"
    )
