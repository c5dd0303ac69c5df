"""`chillflow scale` and `chillflow partitions`: the pool of assemblers, and what each of them does."""

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from chillflow import console
from chillflow.errors import ChillFlowError, NoSuchGroup, TopicReplaced
from chillflow.jobs import options, session
from chillflow.positions import Desired, Group
from chillflow.settings import Settings
from chillflow.stores.assembling import PostgresTripStore

MOST = 1000


@click.command()
@click.argument("size", type=click.IntRange(1, MOST), required=False, metavar="[N]")
@click.option("--min", "minimum", type=click.IntRange(1, MOST), metavar="A", help="at least so many assemblers")
@click.option("--max", "maximum", type=click.IntRange(1, MOST), metavar="B", help="at most so many")
@click.option("--lag-target", type=click.IntRange(1), metavar="N", help="records that wait for one assembler at most")
@options.group
def scale(size: int | None, minimum: int | None, maximum: int | None, lag_target: int | None, group: str) -> None:
    """Have N assemblers, or between A and B of them, as the lag asks for.

    It is written down in PostgreSQL: a running `assemble` follows within a second, the next one begins with it.
    """
    if (size is None) == (minimum is None and maximum is None) or (minimum is None) != (maximum is None):
        raise click.UsageError("say how many assemblers: either N, or --min A and --max B")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise click.UsageError(f"--min {minimum} is more than --max {maximum}")
    with closing(PostgresTripStore(session.postgres_dsn(Settings.read()))) as store:
        found = _group(store, group)
        desired = replace(
            found.desired,
            size=size or found.desired.size,
            minimum=minimum,
            maximum=maximum,
            lag_target=lag_target or found.desired.lag_target,
        )
        store.set_desired(group, desired)
    console.say(f"group {group}: {describe(desired)}")


@click.command()
@options.group
@options.as_json
def partitions(group: str, as_json: bool) -> None:
    """Who assembles each partition, how far it is, and how much waits."""
    settings = Settings.read()
    with closing(PostgresTripStore(session.postgres_dsn(settings))) as store:
        found = _group(store, group)
        rows = store.partitions(group)
    ends = _ends(settings, found)
    shown = [_shown(row, ends) for row in rows]
    if as_json:
        console.show_json(shown)
        return
    screen = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    if not screen.is_terminal:
        screen.width = 160
    title = f"{found.topic.name}: group {group}, epoch {found.epoch}, {describe(found.desired)}"
    table = Table(title=title, title_justify="left")
    for name, head in _COLUMNS.items():
        table.add_column(head, justify="left" if name in ("owner", "watermark") else "right", no_wrap=True)
    for row in shown:
        table.add_row(*("" if row[name] is None else f"{row[name]:,}" if isinstance(row[name], int) else str(row[name])
                        for name in _COLUMNS))  # fmt: skip
    screen.print(table)


_COLUMNS = {
    "partition": "#", "owner": "owner", "epoch": "epoch", "next_offset": "next", "lag": "lag",
    "watermark": "watermark", "open_trips": "open", "oldest_seconds": "oldest (s)",
}  # fmt: skip
_HIDDEN = ("token", "backend_pid", "backend_start")


def describe(desired: Desired) -> str:
    if desired.minimum is None or desired.maximum is None:
        return f"{desired.size} assemblers" if desired.size > 1 else "1 assembler"
    return f"{desired.minimum} to {desired.maximum} assemblers, one for each {desired.lag_target:,} records that wait"


def _group(store: PostgresTripStore, name: str) -> Group:
    found = store.group(name)
    if found is None:
        raise NoSuchGroup(name)
    return found


def _ends(settings: Settings, group: Group) -> Mapping[int, int]:
    """Where the partitions end; empty, and said, where the broker does not tell."""
    from chillflow.stores.eventlog import KafkaReader

    try:
        with closing(KafkaReader(session.kafka_config(settings), group.topic.name, group.name)) as reader:
            found = reader.topic()
            if found.topic_id != group.topic.topic_id:
                raise TopicReplaced(group.topic.name, group.topic.topic_id, found.topic_id)
            ranges = reader.ranges(range(group.topic.partitions))
            return {partition: end for partition, (_, end) in ranges.items()}
    except ChillFlowError as error:
        console.say(f"the lag is not known: {error}")
        return {}


def _shown(row: Mapping[str, Any], ends: Mapping[int, int]) -> dict[str, Any]:
    """A row of assembly_partitions, its `lag` in records, and the age of the oldest open trip, in event time."""
    end = ends.get(row["partition"])
    oldest, watermark = row["oldest_at"], row["watermark"]
    return {name: value for name, value in row.items() if name not in _HIDDEN} | {
        "lag": None if end is None else max(0, end - row["next_offset"]),
        "oldest_seconds": int((watermark - oldest).total_seconds()) if oldest and watermark else None,
    }
