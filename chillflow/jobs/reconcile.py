"""The reconcile job: the stream's rows of a month against the curated lake's, field by field, slice by slice."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from chillflow import console, curation
from chillflow.errors import (
    ChillFlowError,
    DataDiffer,
    LoadedAlready,
    MonthNotCurated,
    NothingStreamed,
    OtherRules,
    ReplayUnfinished,
    StreamMoved,
)
from chillflow.jobs import options, session, slices, standing
from chillflow.jobs.outcomes import Outcomes, label
from chillflow.jobs.tasks import Tasks
from chillflow.manifests import Manifest
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.reconciliation import Account, Findings
from chillflow.settings import Settings
from chillflow.stores.eventlog import KafkaReader
from chillflow.stores.lake import Lake
from chillflow.stores.stream_rows import StreamRows
from chillflow.stores.warehouse import Warehouse


def account_of(warehouse: Warehouse, service: str, month: Month, found: Findings) -> Account:
    """Law 1 of a replayed month, as the ledger and the tables tell."""
    entry = warehouse.count_stream(service, month)
    counted = {row["table"]: row["rows"] for row in warehouse.count(service, month)}
    tables = {name: tally.stream for name, tally in found.tables.items()}
    return Account(
        rows_in=entry["rows_in"] if entry else None,
        trips=entry["trips"] if entry else tables["trips"],
        quarantined=entry["quarantined"] if entry else tables["quarantine"],
        adjustments=entry["adjustments"] if entry else tables["adjustments"],
        incomplete=counted.get("incomplete_trips", 0),
        missing=found.lost,
    )


def judgeable(lake: Lake, warehouse: Warehouse, rows: StreamRows, service: str, month: Month) -> Manifest:
    """The month's manifest; raises where there is nothing to compare."""
    manifest = lake.manifest(service, month)
    if manifest is None:
        raise MonthNotCurated(service, str(month))
    if manifest.rules_version != curation.VERSION:
        raise OtherRules(service, str(month), manifest.rules_version, curation.VERSION)
    if warehouse.month(service, month) is not None:
        raise LoadedAlready(service, str(month))
    if rows.is_unfinished(service, month):
        raise ReplayUnfinished(service, str(month))
    if not rows.is_streamed(service, month):
        raise NothingStreamed(service, str(month))
    return manifest


def _reader(settings: Settings, topic: str) -> KafkaReader:
    return KafkaReader(session.kafka_config(settings), topic)


Judged = tuple[str, Month, Manifest, Findings, Account]


@click.command()
@options.service
@options.months
@options.as_json
def reconcile(service: str, months: tuple[Month, ...], as_json: bool) -> None:
    """Compare the stream's rows of MONTHS of SERVICE with the curated lake's, field by field.

    Curate the months first, and let the stream settle: it is refused while records are not assembled, trips are open or
    a replay is running. Exit code 0: no differences; 3: the data differ; 1: there was nothing to compare.
    """
    settings = Settings.read()
    dsn, lake = session.postgres_dsn(settings), Lake(settings.lake)
    judged: list[Judged] = []
    with (
        Reporter() as reporter,
        session.Cluster(settings) as cluster,
        Warehouse(dsn) as warehouse,
        StreamRows(dsn) as rows,
        Outcomes(reporter, len(months)) as outcomes,
    ):
        before = standing.require_still(rows, partial(_reader, settings), reporter.say)
        tasks: Tasks[Month, Findings] = Tasks(slices.judge)
        manifests: dict[Month, Manifest] = {}
        for month in months:
            try:
                manifests[month] = judgeable(lake, warehouse, rows, service, month)
            except ChillFlowError as error:
                outcomes.failed(service, month, error)
                continue
            cluster.connect()
            reporter.begin(label(service, month), "compare", slices.submit(tasks, dsn, lake, manifests[month]))
        found: defaultdict[Month, Findings] = defaultdict(Findings)
        for month, outcome in tasks.finished(wait=True):
            if month not in manifests:
                continue
            if isinstance(outcome, ChillFlowError):
                outcomes.failed(service, month, outcome)
                del manifests[month]
                continue
            reporter.advance(label(service, month))
            found[month] = found[month].plus(outcome)
        if manifests and standing.stands(rows) != before:
            raise StreamMoved(before[0])
        for month, manifest in manifests.items():
            reporter.end(label(service, month))
            account = account_of(warehouse, service, month, found[month])
            judged.append((service, month, manifest, found[month], account))
        _show(judged, as_json)
    _conclude(judged)


def _conclude(judged: Sequence[Judged]) -> None:
    """Raises DataDiffer unless all is as it should be."""
    bad = [one for one in judged if one[3].total.differences or not one[4].adds_up]
    if bad:
        total = [one[3].total for one in bad]
        raise DataDiffer(
            tuple(label(service, month) for service, month, *_ in bad),
            sum(tally.differences for tally in total),
            sum(tally.explained for tally in total),
        )


def _show(judged: Sequence[Judged], as_json: bool) -> None:
    if as_json:
        console.show_json(_plain(*one) for one in judged)
        return
    screen = console.screen()
    for one in judged:
        _show_month(screen, *one)


def _plain(service: str, month: Month, manifest: Manifest, found: Findings, account: Account) -> dict[str, Any]:
    tables = [{"table": name, **asdict(tally)} for name, tally in found.tables.items()]
    differences = [
        {
            "kind": one.kind,
            "table": one.table,
            "key": one.key,
            "explained": one.why,
            "columns": {name: {"lake": lake, "stream": stream} for name, (lake, stream) in one.columns.items()},
        }
        for one in found.sample
    ]
    return {
        "service": service,
        "month": str(month),
        **asdict(account),
        "adds_up": account.adds_up,
        "lake_rows_in": manifest.rows_in,
        "differences": found.total.differences,
        "explained": found.total.explained,
        "tables": tables,
        "columns": dict(found.columns),
        "sample": differences,
    }


def _show_month(
    screen: Console, service: str, month: Month, manifest: Manifest, found: Findings, account: Account
) -> None:
    total = found.total
    counted = Table(title=label(service, month), title_justify="left")
    for name in ("table", *asdict(total)):
        counted.add_column(name, justify="left" if name == "table" else "right")
    for name, tally in (*found.tables.items(), ("all", total)):
        counted.add_row(name, *(f"{value:,}" for value in tally.values))
    screen.print(counted)
    screen.print(_told(account, manifest))
    if found.columns:
        columns = ", ".join(f"{name} {count:,}" for name, count in found.columns.most_common())
        screen.print(f"columns that differ: {columns}")
    if not total.differences:
        screen.print(f"{label(service, month)}: no differences in {total.same:,} rows")
        return
    shown = Table(title=f"{len(found.sample)} of {total.differences:,} differences", title_justify="left")
    for name in ("kind", "table", "key", "lake -> stream", "explained by"):
        shown.add_column(name, overflow="fold")
    for one in found.sample:
        columns = "\n".join(
            f"{name}: {_or_null(lake)} -> {_or_null(stream)}" for name, (lake, stream) in one.columns.items()
        )
        shown.add_row(one.kind, one.table, one.key, columns, one.why or "")
    screen.print(shown)


def _or_null(value: str | None) -> str:
    return "null" if value is None else value


def _told(account: Account, manifest: Manifest) -> str:
    parts = {name: value for name, value in asdict(account).items() if name != "rows_in"}
    told = " + ".join(f"{value:,} {name}" for name, value in parts.items())
    if account.rows_in is None:
        return f"no replay recorded how many rows it sent; accounted for are {account.accounted:,} = {told}"
    if account.adds_up:
        text = f"{account.rows_in:,} rows in = {told}"
    else:
        text = f"{account.rows_in:,} rows in do not add up: {told} = {account.accounted:,}"
    if account.rows_in != manifest.rows_in:
        text += f"; the lake's file has {manifest.rows_in:,} rows: the replay did not read the same file whole"
    return text


def main() -> None:
    console.run(reconcile, "chillflow reconcile")


if __name__ == "__main__":
    main()
