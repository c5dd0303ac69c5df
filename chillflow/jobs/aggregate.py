"""The aggregate job: zone-hour KPIs, of whole months by slices side by side, or of what writers have noted."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import click

from chillflow import console
from chillflow.errors import ChillFlowError, MonthNotCurated, MonthNotLoaded
from chillflow.jobs import options, session
from chillflow.jobs.exposing import exposed
from chillflow.jobs.lake_measures import aggregate_lake
from chillflow.jobs.outcomes import Outcomes, label
from chillflow.jobs.refreshing import refresh, watch
from chillflow.jobs.schema import prepare
from chillflow.jobs.stopping import Stop
from chillflow.jobs.tasks import Tasks
from chillflow.manifests import Manifest
from chillflow.months import Month, parse_months
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.slices import halves
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.lake import Lake

Source = Literal["warehouse", "lake"]
Part = Literal["first", "second", "head", "rest"]
SLICES: tuple[Part, ...] = ("first", "second", "head")
"""What is computed of a month side by side: its halves, and the hours of the next month in which its trips may end.

All first halves begin before the second ones: neighbours in time wait for each other.
"""


@click.command()
@click.argument("service", type=click.Choice(["yellow", "green"]), required=False)
@click.argument("months", type=parse_months, metavar="[MONTHS]", required=False)
@click.option(
    "--from",
    "source",
    type=click.Choice(["warehouse", "lake"]),
    help="what the MONTHS are computed from: trips in PostgreSQL, or measures of the curated lake [default: warehouse]",
)
@click.option("--watch", "watching", is_flag=True, help="go on refreshing while trips arrive, until SIGTERM or Ctrl-C")
@click.option(
    "--metrics",
    type=options.Listening(),
    metavar="[HOST:]PORT",
    help="with --watch: how often Redis had the answer about KPIs, for Prometheus",
)
def aggregate(
    service: str | None,
    months: tuple[Month, ...] | None,
    source: Source | None,
    watching: bool,
    metrics: tuple[str, int] | None,
) -> None:
    """Compute zone-hour KPIs.

    Of all hours of MONTHS of SERVICE; without them, of the hours that were touched since they were computed: loads and
    assemblers note them. Killed at any moment, run it again.
    """
    settings = Settings.read()
    dsn = session.postgres_dsn(settings)
    if metrics is not None and not watching:
        raise click.UsageError("--metrics is for --watch: nobody could ask for them otherwise")
    if service is None:
        if source is not None:
            raise click.UsageError("--from is for whole months: name SERVICE and MONTHS")
        with exposed(metrics, session.redis_if_any(settings)):
            _refresh(dsn, watching)
        return
    if not months or watching:
        what = "--watch is for all that is touched: leave SERVICE and MONTHS out" if months else "MONTHS are missing"
        raise click.UsageError(what)
    with Reporter() as reporter, session.Cluster(settings) as cluster, Outcomes(reporter, len(months)) as outcomes:
        prepare(dsn, reporter)
        if source == "lake":
            _from_lake(dsn, Lake(settings.lake), service, months, cluster, reporter, outcomes)
        else:
            _from_trips(dsn, service, months, cluster, reporter, outcomes)


def _refresh(dsn: str, watching: bool) -> None:
    with Reporter() as reporter, Aggregates(dsn) as aggregates:
        prepare(dsn, reporter)
        if not watching:
            reporter.say(f"refreshed: {refresh(aggregates)}")
            return
        stop = Stop()
        stop.listen()
        reporter.say("watching; SIGTERM or Ctrl-C ends it")
        watch(aggregates, stop, reporter.say)


def _from_trips(
    dsn: str,
    service: str,
    months: Sequence[Month],
    cluster: session.Cluster,
    reporter: Reporter,
    outcomes: Outcomes,
) -> None:
    """Slices side by side, and the rest of a month when its slices are done."""
    with Aggregates(dsn) as aggregates:
        known = [month for month in months if aggregates.has(service, month)]
    for month in sorted(set(months) - set(known)):
        outcomes.failed(service, month, MonthNotLoaded(service, str(month)))
    if not known:
        return
    cluster.connect()
    tasks: Tasks[tuple[Month, Part], int] = Tasks(_compute)
    for part in SLICES:
        for month in known:
            reporter.begin(label(service, month), "aggregate", len(SLICES))
            tasks.submit((month, part), f"aggregate {service} {month} {part}", dsn, service, month, part)
    done: defaultdict[Month, list[int]] = defaultdict(list)
    for (month, part), outcome in tasks.finished(wait=True):
        reporter.advance(label(service, month))
        if isinstance(outcome, ChillFlowError):
            outcomes.failed(service, month, outcome)
        elif part == "rest":
            outcomes.say(service, month, f"aggregated: {sum(done[month]):,} zone-hours changed")
        else:
            done[month].append(outcome)
            if len(done[month]) == len(SLICES):
                tasks.submit((month, "rest"), f"aggregate {service} {month} pairs", dsn, service, month, "rest")


def _compute(dsn: str, service: str, month: Month, part: Part) -> int:
    first, second = halves(service, month)
    with Aggregates(dsn) as aggregates:
        match part:
            case "first":
                return aggregates.all_of(first)
            case "second":
                return aggregates.all_of(second)
            case "head":
                return aggregates.head_of(halves(service, month.next)[0])
        aggregates.finish(service, month)
    return 0


def _from_lake(
    dsn: str,
    lake: Lake,
    service: str,
    months: Sequence[Month],
    cluster: session.Cluster,
    reporter: Reporter,
    outcomes: Outcomes,
) -> None:
    tasks: Tasks[Month, int] = Tasks(aggregate_lake)
    manifests: dict[Month, Manifest | None] = {month: lake.manifest(service, month) for month in months}
    for month, manifest in manifests.items():
        if manifest is None:
            outcomes.failed(service, month, MonthNotCurated(service, str(month)))
            continue
        cluster.connect()
        reporter.begin(label(service, month), "aggregate", 1)
        tasks.submit(month, f"aggregate {service} {month}", dsn, lake, manifest)
    for month, outcome in tasks.finished(wait=True):
        if isinstance(outcome, ChillFlowError):
            outcomes.failed(service, month, outcome)
        else:
            outcomes.say(service, month, f"aggregated: {outcome:,} zone-hours changed")


def main() -> None:
    console.run(aggregate, "chillflow aggregate")


if __name__ == "__main__":
    main()
