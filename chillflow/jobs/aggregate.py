"""The aggregate job: the zone-hour KPIs of loaded months, computed in PostgreSQL, several months side by side."""

import click

from chillflow import console
from chillflow.errors import ChillFlowError, MonthNotLoaded
from chillflow.jobs import options, session
from chillflow.jobs.outcomes import Outcomes, label
from chillflow.jobs.tasks import Tasks
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.warehouse import Warehouse


def aggregate_month(dsn: str, service: str, month: Month) -> int:
    """Recomputes the hours that a month's trips touch; returns how many zone-hours changed."""
    with Warehouse(dsn) as warehouse:
        return warehouse.aggregate(service, month)


@click.command()
@options.service
@options.months
def aggregate(service: str, months: tuple[Month, ...]) -> None:
    """Compute the zone-hour KPIs of loaded MONTHS of SERVICE anew."""
    settings = Settings.read()
    dsn = session.postgres_dsn(settings)
    with Reporter() as reporter, session.Cluster(settings) as cluster, Outcomes(reporter, len(months)) as outcomes:
        tasks: Tasks[Month, int] = Tasks(aggregate_month)
        with Warehouse(dsn) as warehouse:
            warehouse.migrate()
            loaded = {month for month in months if warehouse.month(service, month)}
        for month in months:
            if month not in loaded:
                outcomes.failed(service, month, MonthNotLoaded(service, str(month)))
                continue
            cluster.connect()
            reporter.begin(label(service, month), "aggregate", 1)
            tasks.submit(month, f"aggregate {service} {month}", dsn, service, month)
        for month, outcome in tasks.finished(wait=True):
            if isinstance(outcome, ChillFlowError):
                outcomes.failed(service, month, outcome)
            else:
                outcomes.say(service, month, f"aggregated: {outcome:,} zone-hours changed")


def main() -> None:
    console.run(aggregate, "chillflow aggregate")


if __name__ == "__main__":
    main()
