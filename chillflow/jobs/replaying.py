"""Replaying: staged months to the topic, from wherever an earlier run stopped.

1. months are read and judged by the file's own rules; the rest becomes events, sorted on disk (staging);
2. rows that the file's rules reject go to `quarantine`, the record of planted faults to its file;
3. events are sent from the first one that the broker has not acknowledged, and the place is noted every second;
4. the ledger gets the months.
A killed replay does 1 and 2 again, to the same result, and goes on in 3.
"""

import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from chillflow import __version__, curation
from chillflow.clock import Clock
from chillflow.emission import faults as planting
from chillflow.emission.faults import Faults
from chillflow.emission.order import merge
from chillflow.emission.runs import few
from chillflow.errors import ChillFlowError, OtherPartitions, ReplayStopped, ServiceDown, TopicReplaced
from chillflow.jobs.outcomes import Outcomes
from chillflow.jobs.plan import MonthPlan
from chillflow.jobs.sending import Interrupted, Pace, Progress, interruptible, patiently, send
from chillflow.jobs.staging import Staged, stage, workshop, write_ledger
from chillflow.jobs.watching import Watch
from chillflow.positions import Topic
from chillflow.progress import Reporter
from chillflow.stores.eventlog import Config, describe, ensure_topic
from chillflow.stores.ledger import MonthEntry
from chillflow.stores.log_writer import KafkaWriter
from chillflow.stores.replays import Noted, Replay, Replays

Result = TypeVar("Result")
PARTITIONS = 12


@dataclass(frozen=True)
class Wish:
    """What the command line asks for, months and their files aside."""

    service: str
    faults: Faults
    speed: float | None
    ledger: Path | None
    topic: str
    partitions: int | None
    force: bool


@dataclass
class Summary:
    """What a replay did."""

    service: str
    months: list[str]
    topic: str
    total: int = 0
    sent: int = 0
    events: Counter[str] = field(default_factory=Counter)
    planted: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    seconds_sending: float = 0.0

    def as_row(self) -> dict[str, Any]:
        rate = round(self.sent / self.seconds) if self.seconds else 0
        return vars(self) | {"events_per_second": rate}

    def lines(self) -> list[str]:
        rate = self.sent / self.seconds if self.seconds else 0
        found = [
            f"{self.sent:,} of {self.total:,} events sent to {self.topic} in {self.seconds:.1f} s "
            f"({rate:,.0f}/s, of it {self.seconds_sending:.1f} s sending): {_counted(self.events)}"
        ]
        if self.planted:
            found.append(f"faults planted: {_counted(self.planted)}")
        if self.quarantined:
            found.append(f"rows quarantined by the file's own rules, not sent: {_counted(self.quarantined)}")
        return found


@dataclass
class Replaying:
    """A replay under way: its services, and how far it is."""

    wish: Wish
    home: Path
    dsn: str
    kafka: Config
    reporter: Reporter
    outcomes: Outcomes
    clock: Clock
    progress: Progress = field(default_factory=lambda: Progress(0, 0))

    def run(self, plans: Sequence[MonthPlan]) -> Summary | None:
        """Sends the months; returns None where they have been sent already. Raises ReplayStopped when interrupted."""
        try:
            with interruptible():
                topic = self._patiently(lambda: _topic(self.kafka, self.wish))
                with closing(Replays(self.dsn)) as replays:
                    replays.check(topic)
                    if self._is_done(replays.read(self._known(plans, topic).id)) and not self._lacks_ledger():
                        return None
                    with workshop(self.home) as folder:
                        return self._stage_and_send(plans, topic, replays, folder)
        except Interrupted:
            label = f"{self.wish.service} {months_of(plans)}"
            raise ReplayStopped(label, self.progress.acknowledged, self.progress.total) from None

    def _stage_and_send(
        self, plans: Sequence[MonthPlan], topic: Topic, replays: Replays, folder: Path
    ) -> Summary | None:
        began, started_at = self.clock.monotonic(), datetime.now(UTC)
        staged = list(self._staged(plans, folder))
        if not staged:
            return None
        summary = _summary(staged, self.wish)
        replay = self._known([month.plan for month in staged], topic)
        replays.hold(replay.id)
        if self.wish.ledger is not None:
            write_ledger(self.wish.ledger, staged)
        if self._is_done(replays.read(replay.id)):
            return None
        for month in staged:
            self._patiently(lambda month=month: _quarantine(replays, month))  # type: ignore[misc]
        began_sending = self.clock.monotonic()
        self._send(staged, replay, summary.total, replays, folder)
        summary.seconds_sending = round(self.clock.monotonic() - began_sending, 3)
        summary.seconds = round(self.clock.monotonic() - began, 3)
        summary.sent = self.progress.total - self.progress.begun_at
        entries = [_entry(month, started_at, summary.seconds) for month in staged]
        self._patiently(lambda: replays.end(replay.id, entries))
        return summary

    def _send(self, staged: Sequence[Staged], replay: Replay, total: int, replays: Replays, folder: Path) -> None:
        noted = replays.begin(replay, total, anew=self.wish.force)
        self.progress = Progress(noted.total, noted.acknowledged)
        label = f"{replay.service} {months_of([month.plan for month in staged])}"
        if noted.acknowledged:
            self.reporter.say(f"{label}: goes on at event {noted.acknowledged:,} of {noted.total:,}")
        runs = few([run for month in staged for run in month.runs], folder)
        watch = Watch(label, replay, self.progress, replays, self.kafka, self.reporter)
        try:
            with watch:
                send(
                    lambda start: merge(runs, start),
                    self.progress,
                    lambda: KafkaWriter(self.kafka, replay.topic.name),
                    Pace(self.clock, self.wish.speed),
                    lambda error: self._await_broker(error, replay.topic),
                )
        except Interrupted:
            if watch.over:
                _note_stop(replays, replay, self.progress)
            raise

    def _staged(self, plans: Sequence[MonthPlan], folder: Path) -> Iterator[Staged]:
        """The months that can be staged, in order; those that cannot have failed."""
        for plan in plans:
            began = time.monotonic()
            try:
                staged = stage(plan, self.wish.faults, folder / str(plan.month))
            except ChillFlowError as error:
                self.outcomes.failed(plan.service, plan.month, error)
                continue
            seconds, events = time.monotonic() - began, staged.types.total()
            text = f"{staged.rows:,} rows, {events:,} events staged in {seconds:.1f} s"
            self.outcomes.say(plan.service, plan.month, text)
            for warning in plan.warnings:
                self.outcomes.say(plan.service, plan.month, f"warning: {warning}")
            yield staged

    def _known(self, plans: Sequence[MonthPlan], topic: Topic) -> Replay:
        """The replay by what decides its events and their order."""
        months = tuple(plan.month for plan in plans)
        sources = tuple(plan.source.sha256 or f"{plan.source.size} {plan.source.etag}" for plan in plans)
        chosen = asdict(self.wish.faults)
        decisive = [
            planting.VERSION, curation.VERSION, self.wish.service, [str(month) for month in months], sources, chosen,
            topic.name, topic.topic_id,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).digest()
        return Replay(uuid.UUID(bytes=digest[:16]), self.wish.service, months, topic, chosen, sources, __version__)

    def _is_done(self, noted: Noted | None) -> bool:
        return noted is not None and noted.ended_at is not None and not self.wish.force

    def _lacks_ledger(self) -> bool:
        return self.wish.ledger is not None and not self.wish.ledger.exists()

    def _patiently(self, action: Callable[[], Result]) -> Result:
        return patiently(action, self.clock, self.reporter.say)

    def _await_broker(self, error: ServiceDown, topic: Topic) -> None:
        self.reporter.say(f"{error}; waiting for it")
        found = patiently(lambda: describe(self.kafka, topic.name), self.clock, lambda text: None)
        self.reporter.say(f"{error.service} at {error.address} is back")
        if found.topic_id != topic.topic_id:
            raise TopicReplaced(topic.name, topic.topic_id, found.topic_id)


def _topic(config: Config, wish: Wish) -> Topic:
    topic = ensure_topic(config, wish.topic, wish.partitions or PARTITIONS)
    if wish.partitions is not None and topic.partitions != wish.partitions:
        raise OtherPartitions(topic.name, wish.partitions, topic.partitions)
    return topic


def _summary(staged: Sequence[Staged], wish: Wish) -> Summary:
    summary = Summary(wish.service, [str(month.plan.month) for month in staged], wish.topic)
    for month in staged:
        summary.events.update(month.types)
        summary.planted.update(month.planted)
        summary.quarantined.update(month.reasons)
    summary.total = summary.events.total()
    return summary


def _quarantine(replays: Replays, month: Staged) -> int:
    return replays.quarantine(month.plan.service, month.plan.month, month.quarantine)


def _entry(month: Staged, started_at: datetime, seconds: float) -> MonthEntry:
    source = month.plan.source
    return MonthEntry(
        service=month.plan.service,
        month=month.plan.month,
        rows_in=month.rows,
        trips=0,
        quarantined=0,
        adjustments=0,
        counts={},
        started_at=started_at,
        seconds=round(seconds, 3),
        code_version=__version__,
        rules_version=curation.VERSION,
        source=source.url or source.path,
        source_size=source.size,
        source_etag=source.etag,
        source_checksum=source.sha256,
    )


def _note_stop(replays: Replays, replay: Replay, progress: Progress) -> None:
    try:
        replays.note(replay.id, progress.acknowledged)
        replays.stop(replay.id)
    except ServiceDown:
        pass


def months_of(plans: Sequence[MonthPlan]) -> str:
    return ",".join(str(plan.month) for plan in plans)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())
