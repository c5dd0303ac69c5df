"""The commit loop of an assembler. docs/assembly.md explains each numbered step, and what happens if it fails there.

`turn` is a generator that yields the number of each step that it has done. Production runs it to its end; the
simulation stops it between any two steps, for good (a crash) or for a while (a zombie).
"""

import datetime as dt
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from chillflow.actors.commit import Work, commit
from chillflow.actors.fetching import Fetching, Inline, Thread
from chillflow.actors.held import Batch, Held
from chillflow.actors.recovery import drop_written, recover, rewound
from chillflow.assembly import ALL, DEFAULTS, Gathered, Limits
from chillflow.clock import Clock
from chillflow.errors import (
    ChillFlowError,
    Fenced,
    LogTooShort,
    OffsetGone,
    OutcomeUnknown,
    ServiceDown,
    TopicMissing,
    WarehouseFull,
)
from chillflow.heartbeats import PartitionStatus, Status
from chillflow.positions import Group
from chillflow.stores.protocols import Checkpoints, LogReader, TripStore

AWAY = (ServiceDown, WarehouseFull, OutcomeUnknown, TopicMissing)
"""What passes: the same is tried again. (A lost answer to a COMMIT that matters is dealt with in `commit`; whether a
topic is missing for good, the coordinator finds out.)"""

TELL_EVERY = 1.0
"""Seconds between two reports of offsets to the broker, whose lag tools need no more."""

SHORT, LONG = 0.05, 2.0
"""The first and the longest pause while a service is away, in seconds."""


@dataclass(frozen=True)
class Options:
    """`batch` events a poll; the rest in seconds. `snapshot_every` is a partition's."""

    batch: int = 40_000
    patience: float = 0.1
    snapshot_every: float = 20.0
    idle_every: float = 10.0
    limits: Limits = DEFAULTS


class Loop:
    """An assembler without its actor. `turn` belongs to one thread; `assign`, `release`, `drain`, `status` to any."""

    def __init__(
        self,
        name: str,
        reader: LogReader,
        store: TripStore,
        checkpoints: Checkpoints,
        clock: Clock,
        options: Options | None = None,
        thread: Thread | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name, self.reader, self.store, self.checkpoints, self.clock = name, reader, store, checkpoints, clock
        self.options = options or Options()
        self.ended = False
        self.held: dict[int, Held] = {}
        self._say = say
        self._fetching = Fetching(reader, clock, thread or Inline(), self.options.batch, self.options.patience)
        self._orders: queue.SimpleQueue[Callable[[], Iterator[str]]] = queue.SimpleQueue()
        self._waiting: dict[int, Group] = {}
        self._failed: dict[int, ChillFlowError] = {}
        self._pending: deque[list[Batch]] = deque()
        self._commits: dict[int, int] = {}
        self._told_at = -TELL_EVERY
        self._obeyed = 0
        self._status = Status(name)
        self._trouble: ChillFlowError | None = None
        self._pause = SHORT

    def assign(self, group: Group, partition: int) -> None:
        """Claims a partition under this epoch of the group, recovers it, and goes on with it."""
        self._orders.put(lambda: self._assign(group, partition))

    def release(self, partition: int) -> None:
        """Lets go of a partition after its last commit, with a snapshot."""
        self._orders.put(lambda: self._release(partition))

    def drain(self, *, spill: bool = False) -> None:
        """Lets go of all partitions and ends; with `spill`, open trips become incomplete trips first."""
        self._orders.put(lambda: self._drain(spill))

    def status(self) -> Status:
        """As of the end of the last turn."""
        return self._status

    def turn(self) -> Iterator[str]:
        """One round of the loop. A service that is away is waited for, a pause each round."""
        try:
            yield from self._obey()
            if self.held and not self.ended:
                if not self._pending:
                    # 1 and 2: poll and decode; mostly done already, beside the last transaction
                    self._begin_fetching()
                    self._take()
                    yield "2"
                if self._orders.empty() and self._is_busy():
                    self._begin_fetching()
                # 3: one transaction; the state follows once it is confirmed
                yield from self._work()
                # 4: snapshots of what is confirmed
                self._snapshot()
                yield "4"
            elif not self.ended:
                self.clock.pause(self.options.patience)
        except AWAY as trouble:
            self._wait_for(trouble)
        except Fenced as fenced:
            self._let_go(fenced.partition)
        else:
            self._go_well()
        self._status = self._told()

    def _obey(self) -> Iterator[str]:
        """Carries out orders, makes claims, and takes up partitions whose state is rebuilt."""
        while not self._orders.empty():
            self._take()
            order = self._orders.get()
            try:
                yield from order()
            except AWAY:
                self._orders.put(order)
                raise
            self._obeyed += 1
        for partition, group in list(self._waiting.items()):
            self._take()
            try:
                held = yield from recover(
                    self.name, group, partition, self.store, self.reader, self.checkpoints, self.clock.monotonic()
                )
            except AWAY:
                raise
            except ChillFlowError as error:
                self._fail(partition, error)
            else:
                del self._waiting[partition]
                self.held[partition] = held
                self._commits[partition] = held.next_offset  # its former owner may not have come to tell of all
        for held in self.held.values():
            if not held.live and not held.rewinding:
                yield from self._take_up(held)

    def _take_up(self, held: Held) -> Iterator[str]:
        yield from drop_written(held, self.store)
        self._save(held)

    def _is_busy(self) -> bool:
        """Whether it pays to fetch ahead: of a small batch, what comes during its transaction is worth waiting for."""
        return any(4 * sum(batch.gathered.events for batch in one) >= self.options.batch for one in self._pending)

    def _begin_fetching(self) -> None:
        """5: the broker is told now and then of what is committed, for lag tools; then the next batch is fetched."""
        if self._fetching.on_its_way:
            return
        commits: dict[int, int] = {}
        if self._commits and self.clock.monotonic() - self._told_at >= TELL_EVERY:
            commits, self._commits = self._commits, {}
            self._told_at = self.clock.monotonic()
        self._fetching.begin(commits)

    def _take(self) -> None:
        """What was fetched ahead now waits to be committed; the reader is this thread's again."""
        try:
            fetched = list(self._fetching.take())
        except (OffsetGone, LogTooShort) as error:
            self._fail(error.partition, error)
        except TopicMissing:
            # What comes back under its name may be another topic: recovery looks.
            for partition, held in list(self.held.items()):
                self._let_go(partition)
                self._waiting[partition] = held.group
            raise
        except ServiceDown:
            for held in self.held.values():
                held.idle_since = None
            raise
        else:
            if fetched:
                self._pending.append(fetched)

    def _work(self) -> Iterator[str]:
        """Commits the oldest batch that waits; where it cannot, the batch stays as it was."""
        if not self._pending:
            return
        work: list[Work] = []
        for number, batch in enumerate(self._pending[0]):
            held = self.held.get(batch.partition)
            if held is None:
                continue
            assert batch.begin == held.read_to, f"{held.claim.topic.name} {held.partition}: read past {held.read_to}"
            if held.rewinding:
                self._pending[0][number] = batch = rewound(held, batch, self.options.limits)
                yield "R4"
                if held.rewinding:
                    continue
                yield from self._take_up(held)
            gathered = batch.gathered if batch.end > batch.begin else self._idle(held, batch)
            if gathered is not None:
                work.append(Work(held.claim, held.state, gathered, batch.dead))
        fenced = (yield from self._commit(work, self.options.limits)) if work else ()
        self._pending.popleft()
        for partition in fenced:
            self._let_go(partition)

    def _commit(self, work: Sequence[Work], limits: Limits) -> Generator[str, None, Sequence[int]]:
        """Commits, and only then changes the state; returns the partitions that were fenced, to be let go of."""
        committed = yield from commit(self.store, work, limits, self.clock)
        for part in work:
            held, made = self.held.get(part.partition), committed.steps.get(part.partition)
            if held is None or made is None:
                continue
            held.state.apply(made.changes)
            read = made.position.next_offset - held.next_offset
            held.idle_since = None if read else self.clock.monotonic()
            held.next_offset = held.read_to = made.position.next_offset
            self._commits[part.partition] = held.next_offset
            before = self._status
            self._status = replace(
                before,
                committed=before.committed + read,
                dead_letters=before.dead_letters + len(part.dead),
                counts={name: before.counts.get(name, 0) + count for name, count in vars(made.counts).items()},
            )
        return committed.fenced

    def _idle(self, held: Held, batch: Batch) -> Gathered | None:
        """At the end of the log the watermark moves with the clock, for as long as the broker says that it is the end.

        Worth a commit when a trip has timed out, and from time to time.
        """
        now = self.clock.monotonic()
        if not batch.decoded.polled.at_end:
            return None
        if held.idle_since is None:
            held.idle_since = now
        oldest = held.state.oldest()
        if oldest is None or held.state.watermark is None:
            return None
        watermark = held.state.watermark + dt.timedelta(seconds=now - held.idle_since)
        if oldest.deadline > watermark and now - held.idle_since < self.options.idle_every:
            return None
        return Gathered(held.partition, held.next_offset, held.next_offset, high=watermark)

    def _snapshot(self) -> None:
        """Saves the state of one partition a turn at the most."""
        for held in self.held.values():
            if held.live and self.clock.monotonic() - held.saved_at >= self.options.snapshot_every:
                self._save(held)
                return

    def _save(self, held: Held) -> None:
        """Saves the state as of next_offset, which PostgreSQL has confirmed."""
        held.saved_at = self.clock.monotonic()
        if held.saved_offset != held.next_offset:
            held.saved_offset = held.next_offset
            self.checkpoints.save(held.claim, held.next_offset, held.state.snapshot())

    def _assign(self, group: Group, partition: int) -> Iterator[str]:
        self._failed.pop(partition, None)
        self._let_go(partition)
        self._waiting[partition] = group
        return iter(())

    def _release(self, partition: int) -> Iterator[str]:
        self._failed.pop(partition, None)
        if (held := self.held.get(partition)) is not None:
            if held.live:
                self._save(held)
            self.store.release(held.claim)  # first: where this fails, all of it is done again
            self.reader.commit({partition: held.next_offset})
        self._let_go(partition)
        yield "released"

    def _drain(self, spill: bool) -> Iterator[str]:
        if spill:
            rest = [held for held in self.held.values() if held.live and held.state.open]
            work = [
                Work(held.claim, held.state, Gathered(held.partition, held.next_offset, held.next_offset))
                for held in rest
            ]
            for partition in (yield from self._commit(work, ALL)) if work else ():
                self._let_go(partition)
        for partition in [*self._waiting, *self._failed, *self.held]:
            yield from self._release(partition)
        self.ended = True

    def _fail(self, partition: int, error: ChillFlowError) -> None:
        self._let_go(partition)
        self._failed[partition] = error
        self._say(str(error))

    def _let_go(self, partition: int) -> None:
        """Forgets a partition: its state, and what was read of it, which a later claim will read again."""
        with suppress(*AWAY):  # what the reader meets with now, it meets with again
            self._take()
        self._waiting.pop(partition, None)
        self._commits.pop(partition, None)
        for waiting in self._pending:
            waiting[:] = [batch for batch in waiting if batch.partition != partition]
        if self.held.pop(partition, None) is not None:
            self.reader.unassign(partition)

    def _wait_for(self, trouble: ChillFlowError) -> None:
        if self._trouble is None:
            self._say(f"{trouble}; waiting for it")
        self._trouble = trouble
        self.clock.pause(self._pause)
        self._pause = min(self._pause * 2, LONG)

    def _go_well(self) -> None:
        if self._trouble is not None:
            self._say("it answers again; going on")
        self._trouble, self._pause = None, SHORT

    def _told(self) -> Status:
        found = [PartitionStatus(partition, "recovering") for partition in self._waiting]
        found += [PartitionStatus(partition, "failed", error=error) for partition, error in self._failed.items()]
        for held in self.held.values():
            oldest = held.state.oldest()
            found.append(PartitionStatus(
                held.partition, "live" if held.live else "recovering", held.claim.epoch, held.next_offset,
                held.read_to, len(held.state.open), oldest.deadline - self.options.limits.timeout if oldest else None,
                caught_up=held.idle_since is not None,
            ))  # fmt: skip
        return replace(
            self._status,
            beats=self._status.beats + 1,
            obeyed=self._obeyed,
            partitions=tuple(sorted(found, key=lambda status: status.partition)),
            trouble=str(self._trouble) if self._trouble else None,
            ended=self.ended,
        )
