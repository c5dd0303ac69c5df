"""The replay job: months as events in the order of their times, to the topic. docs/replay.md tells what it promises."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from chillflow import console
from chillflow.clock import SystemClock
from chillflow.emission.faults import Faults
from chillflow.errors import ChillFlowError
from chillflow.jobs import options, session
from chillflow.jobs.outcomes import Outcomes
from chillflow.jobs.plan import MonthPlan, plan_month, source_of
from chillflow.jobs.replaying import PARTITIONS, Replaying, Wish, months_of
from chillflow.jobs.schema import prepare
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.settings import Settings

TOPIC = "trip-events"
Command = TypeVar("Command", bound=Callable[..., Any])


def _finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number to plan with", context, parameter)
    return value


def _speed(context: click.Context, parameter: click.Parameter, value: str) -> float | None:
    if value == "max":
        return None
    try:
        speed = float(value)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise click.BadParameter(f"{value!r} is neither `max` nor a number above 0", context, parameter)
    return speed


def _share(name: str, what: str) -> Callable[[Command], Command]:
    kind = click.FloatRange(0, 1)
    return click.option(f"--{name}", type=kind, default=0.0, metavar="P", callback=_finite, help=what)


@click.command()
@options.service
@options.months
@options.source
@click.option("--speed", default="max", metavar="N|max", callback=_speed, help="times real time [default: max]")
@_share("duplicate", "share of events that are sent again later")
@click.option("--shuffle", type=click.FloatRange(0, 31 * 86_400), default=0.0, metavar="SECONDS", callback=_finite,
              help="displace events by up to so much event time, either way")  # fmt: skip
@_share("late", "share of payments that come hours to days late")
@_share("drop", "share of events that are never sent; at most two of a trip")
@_share("corrupt", "share of events that are made unreadable")
@_share("revise", "share of events that tell a wrong value first, and are corrected later")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="the same seed, the same faults [default: 0]")
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="write down every planted fault: Parquet, or JSON lines where it ends in .jsonl")  # fmt: skip
@click.option("--topic", default=TOPIC, show_default=True, help="where the events go; made if it is missing")
@click.option("--partitions", type=click.IntRange(1, 10_000), metavar="N",
              help=f"of a topic to be made [default: {PARTITIONS}]")  # fmt: skip
@options.force
@options.as_json
def replay(
    service: str,
    months: tuple[Month, ...],
    source: str | None,
    speed: float | None,
    duplicate: float,
    shuffle: float,
    late: float,
    drop: float,
    corrupt: float,
    revise: float,
    seed: int,
    ledger: Path | None,
    topic: str,
    partitions: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Send MONTHS of SERVICE as events, in the order of their times, to the topic.

    Safe to run again: a replay that was killed goes on where the broker's acknowledgements end, one that is done is
    skipped. The other months go on when one fails.
    """
    settings = Settings.read()
    faults = Faults(duplicate, shuffle, late, drop, corrupt, revise, seed)
    wish = Wish(service, faults, speed, ledger and ledger.absolute(), topic, partitions, force)
    dsn, kafka = session.postgres_dsn(settings), session.kafka_config(settings)
    with Reporter() as reporter, Outcomes(reporter, len(months)) as outcomes:
        prepare(dsn, reporter)
        folder, left = session.source_folder(settings, source, service, months, outcomes)
        plans: list[MonthPlan] = []
        for month in left:
            try:
                plans.append(plan_month(folder, service, month, source_of(folder, service, month)))
            except ChillFlowError as error:
                outcomes.failed(service, month, error)
        if not plans:
            return
        replaying = Replaying(wish, settings.home, dsn, kafka, reporter, outcomes, SystemClock())
        summary = replaying.run(plans)
        if summary is None:
            if not outcomes.any_failed:
                reporter.say(f"{service} {months_of(plans)}: sent already; --force sends it again")
            return
        for line in summary.lines():
            reporter.say(line)
        if as_json:
            console.show_json([summary.as_row()])


def main() -> None:
    console.run(replay, "chillflow replay")


if __name__ == "__main__":
    main()
