"""What a job has to do: for each month its source file, its blocks, and whether the lake holds it already."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from chillflow import curation, tlc
from chillflow.errors import ChillFlowError, SourceUnreadable
from chillflow.manifests import Manifest, Source
from chillflow.months import Month
from chillflow.stores import sources
from chillflow.stores.folders import shown


@dataclass(frozen=True)
class MonthPlan:
    """A month to curate from one source file, block by block.

    `path` opens it and may hold credentials; its blocks name it as it may be shown.
    """

    service: str
    month: Month
    path: str
    source: Source
    blocks: tuple[tlc.Block, ...]
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.service} {self.month}"


@dataclass(frozen=True)
class Failure:
    """A month that cannot go on, and why."""

    month: Month
    error: ChillFlowError


def source_of(folder: str, service: str, month: Month) -> Source:
    """The facts of a month's file in a folder or object store, with a checksum where no store vouches for its content.

    Raises SourceError.
    """
    path = within(folder, tlc.file_name(service, month))
    facts = sources.stat(path)
    if facts.etag and not facts.url:
        return facts
    return msgspec.structs.replace(facts, sha256=sources.checksum(path))


def plan_month(folder: str, service: str, month: Month, source: Source) -> MonthPlan:
    """The blocks of a month's file, from its footer; raises SourceError."""
    path = within(folder, tlc.file_name(service, month))
    with sources.open_input(path) as file:
        facts = tlc.inspect(file, shown(path), service)
    return MonthPlan(service, month, path, source, facts.blocks, facts.warnings)


def require_unreplaced(plan: MonthPlan) -> None:
    """Raises SourceError where the file is no longer the one that was planned: its rows may be of two files."""
    names = ("size", "modified", "etag")
    now = sources.stat(plan.path)
    if any(getattr(now, name) != getattr(plan.source, name) for name in names):
        why, remedy = "it was replaced while it was read", "run again once nothing replaces it"
        raise SourceUnreadable(shown(plan.path), why, remedy)


def within(folder: str, name: str) -> str:
    """The path or URI of a file in a folder."""
    if "://" not in folder:
        return str(Path(folder).absolute() / name)
    path, mark, query = folder.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


def unchanged(manifest: Manifest | None, source: Source) -> bool:
    """Whether a month was curated from this very source by the rules of today."""
    if manifest is None or manifest.rules_version != curation.VERSION or manifest.source.size != source.size:
        return False
    if manifest.source.sha256 and source.sha256:
        return manifest.source.sha256 == source.sha256
    return source.etag is not None and manifest.source.etag == source.etag
