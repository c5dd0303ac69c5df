"""The curate job: one Ray Data execution over (file, row group) blocks for all months, settled and committed by month.

For each month, in this order:
1. each block is read, curated and written to the month's attempt folder, on its own;
2. what pairs in different blocks change is found from the blocks' keys: first duplicates, then reversed originals; the
   blocks concerned are curated and written again;
3. the file must still be the one that was planned;
4. the manifest is written: only now the month is visible.
A crash before step 4 leaves the lake as it was; the next run begins the month anew.
"""

import pickle
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import click
import ray

from chillflow import __version__, console, curation, kpis, pairs
from chillflow.curation import FLAGS, Pairs
from chillflow.errors import ChillFlowError, LakeError
from chillflow.jobs import options
from chillflow.jobs.outcomes import Outcomes
from chillflow.jobs.parts import Part, Work, curate_parts, curate_row, ids_behind
from chillflow.jobs.plan import Failure, MonthPlan, plan_month, require_unreplaced, source_of, unchanged
from chillflow.jobs.session import Cluster, source_folder
from chillflow.jobs.tasks import each
from chillflow.manifests import Manifest, attempt_name
from chillflow.months import Month, spans
from chillflow.progress import Reporter
from chillflow.settings import Settings
from chillflow.stores.lake import Attempt, Lake

KEPT = timedelta(days=1)
"""How long leftovers stay: longer than any run or reader takes."""


@dataclass(frozen=True)
class Curated:
    """A month that is in the lake; `fresh` if it was put there just now."""

    manifest: Manifest
    fresh: bool


@dataclass
class _Run:
    plan: MonthPlan
    attempt: Attempt
    name: str
    parts: dict[int, Part] = field(default_factory=dict)
    error: ChillFlowError | None = None
    done: int = 0


def curate_months(plans: Sequence[MonthPlan], lake: Lake, reporter: Reporter) -> Iterator[Curated | Failure]:
    """Curates months in one execution on the connected cluster; yields each as it is committed or has failed."""
    runs = [_begin(plan, lake) for plan in plans]
    for run in runs:
        reporter.begin(run.plan.label, "curate", len(run.plan.blocks))
    for number, parts, outcome in _execute(runs):
        run = runs[number]
        run.done += parts
        reporter.advance(run.plan.label, parts)
        if isinstance(outcome, ChillFlowError):
            run.error = run.error or outcome
        else:
            run.parts |= outcome
        if run.done == len(run.plan.blocks):
            reporter.end(run.plan.label)
            yield _finish(run, lake)
            run.parts.clear()


def _begin(plan: MonthPlan, lake: Lake) -> _Run:
    name = attempt_name(datetime.now(UTC), secrets.token_hex(4))
    return _Run(plan, lake.stage(plan.service, plan.month, name), name)


def _execute(runs: Sequence[_Run]) -> Iterator[tuple[int, int, dict[int, Part] | ChillFlowError]]:
    """Runs the works of all months; yields the number of the run, how many parts were tried, what became of them."""
    items = [
        {"run": number, "parts": len(work.blocks), "work": pickle.dumps(work)}
        for number, run in enumerate(runs)
        for work in _works(run, range(len(run.plan.blocks)))
    ]
    if not items:
        return
    blocks = ray.data.from_items(items, override_num_blocks=len(items))
    name = f"curate {runs[0].plan.service} {spans(run.plan.month for run in runs)}"
    blocks.set_name(name)
    for row in blocks.map(_named(name), num_cpus=1).iter_rows():
        yield row["run"], row["parts"], pickle.loads(row["outcome"])


def _named(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`curate_row` under another name, by which the dashboard knows its tasks."""

    def curate(row: dict[str, Any]) -> dict[str, Any]:
        return curate_row(row)

    curate.__name__ = curate.__qualname__ = name
    return curate


def _works(run: _Run, parts: Iterable[int], told: Mapping[int, Pairs] | None = None) -> list[Work]:
    """The parts as works: those of a row group together."""
    groups = groupby(sorted(parts), key=lambda part: run.plan.blocks[part].row_group)
    return [Work.of(run.plan, group, run.attempt, told or {}) for _, group in groups]


def _finish(run: _Run, lake: Lake) -> Curated | Failure:
    try:
        if run.error is not None:
            raise run.error
        _settle(run)
        require_unreplaced(run.plan)
        manifest = _manifest(run)
        lake.commit(manifest)
    except ChillFlowError as error:
        return Failure(run.plan.month, error)
    return Curated(manifest, fresh=True)


def _settle(run: _Run) -> None:
    keys = [run.parts[part].keys for part in range(len(run.parts))]
    shared = pairs.shared_keys(keys)
    told: dict[int, Pairs] = {}
    if len(shared):
        holders = [part for part, block in enumerate(keys) if len(pairs.held_keys(block, shared))]
        ids = each(ids_behind, f"settle {run.plan.label}", [(work, shared) for work in _works(run, holders)])
        seen = pairs.seen_before({part: mine for found in ids for part, mine in found.items()})
        told = {part: Pairs(seen=again) for part, again in seen.items()}
        _curate_again(run, told)
    keys = [run.parts[part].keys for part in range(len(run.parts))]
    reversed_parts = pairs.reversed_elsewhere(keys)
    for part, originals in reversed_parts.items():
        told[part] = replace(told.get(part, curation.NO_PAIRS), originals=originals)
    _curate_again(run, {part: told[part] for part in reversed_parts})


def _curate_again(run: _Run, told: Mapping[int, Pairs]) -> None:
    for parts in each(curate_parts, f"settle {run.plan.label}", [(work,) for work in _works(run, told, told)]):
        run.parts |= parts


def _manifest(run: _Run) -> Manifest:
    parts = [run.parts[number] for number in range(len(run.parts))]
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    files = [file for part in parts for file in part.files]
    measures = kpis.merge(part.measures for part in parts)
    files.append(run.attempt.write("kpis", 0, kpis.to_table(measures)))
    rows = Counter[str]()
    for file in files:
        rows[file.kind] += file.rows
    now = datetime.now(UTC)
    return Manifest(
        service=run.plan.service,
        month=str(run.plan.month),
        attempt=run.name,
        files=tuple(files),
        rows_in=sum(block.rows for block in run.plan.blocks),
        trips=rows["trips"],
        quarantined=rows["quarantine"],
        adjustments=rows["adjustments"],
        rules={name: count for name, count in counts.items() if name not in FLAGS},
        flags={name: count for name, count in counts.items() if name in FLAGS},
        source=run.plan.source,
        code_version=__version__,
        rules_version=curation.VERSION,
        written_at=now,
        seconds=round((now - min(part.began for part in parts)).total_seconds(), 3),
        warnings=run.plan.warnings,
    )


def curate_from(
    folder: str, service: str, months: Iterable[Month], lake: Lake, reporter: Reporter, cluster: Cluster, *, force: bool
) -> Iterator[Curated | Failure]:
    """Curates those of the months whose source changed since they were curated; yields all, each once it is ready."""
    plans: list[MonthPlan] = []
    for month in months:
        try:
            source = source_of(folder, service, month)
            manifest = None if force else lake.manifest(service, month)
            if manifest is not None and unchanged(manifest, source):
                yield Curated(manifest, fresh=False)
            else:
                plans.append(plan_month(folder, service, month, source))
        except ChillFlowError as error:
            yield Failure(month, error)
    if plans:
        cluster.connect()
        yield from curate_months(plans, lake, reporter)


def sweep(lake: Lake, reporter: Reporter) -> None:
    """Deletes what replaced months and killed runs left in the lake, once it is old enough for nobody to need it.

    Leftovers that stay harm nobody: what is at fault is told and fails nothing.
    """
    try:
        swept = lake.sweep(KEPT, datetime.now(UTC))
    except LakeError as error:
        reporter.say(f"lake: warning: leftovers of earlier runs stay: {error}")
        return
    if swept.removed:
        reporter.say(f"lake: {len(swept.removed)} leftovers of earlier runs deleted")
    for fault in swept.left_alone:
        reporter.say(f"lake: warning: left alone: {fault}")


def tell(outcome: Curated, outcomes: Outcomes) -> None:
    """Says what became of a month that is in the lake."""
    if outcome.fresh:
        outcomes.curated(outcome.manifest)
    else:
        outcomes.say(outcome.manifest.service, outcome.manifest.month, "curated already, its source is unchanged")


@click.command()
@options.service
@options.months
@options.source
@options.force
def curate(service: str, months: tuple[Month, ...], source: str | None, force: bool) -> None:
    """Curate MONTHS of SERVICE into the lake: trips, quarantine and adjustments as Parquet.

    A month whose source is unchanged is skipped. The other months go on when one fails.
    """
    settings = Settings.read()
    lake = Lake(settings.lake)
    with Reporter() as reporter, Cluster(settings) as cluster, Outcomes(reporter, len(months)) as outcomes:
        folder, left = source_folder(settings, source, service, months, outcomes)
        for outcome in curate_from(folder, service, left, lake, reporter, cluster, force=force):
            if isinstance(outcome, Failure):
                outcomes.failed(service, outcome.month, outcome.error)
            else:
                tell(outcome, outcomes)
        sweep(lake, reporter)


def main() -> None:
    console.run(curate, "chillflow curate")


if __name__ == "__main__":
    main()
