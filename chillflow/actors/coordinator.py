"""The coordinator: hears the assemblers of its group, and tells each what is its own. docs/assembly.md explains it.

`turn` is a generator that yields the number of each step that it has done. Production runs it to its end; the
simulation stops it between any two steps. All that it knows may be lost: the next coordinator takes the group and
claims every partition anew.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from chillflow import ownership
from chillflow.actors.fetching import Inline, Thread
from chillflow.actors.lags import Ends
from chillflow.actors.members import Member, Pool
from chillflow.clock import Clock
from chillflow.errors import (
    ChillFlowError,
    OutcomeUnknown,
    PartitionsChanged,
    ServiceDown,
    Superseded,
    TopicReplaced,
)
from chillflow.heartbeats import Status
from chillflow.ownership import Assign, Kill, Move, Release, Scaling, Start, Stop
from chillflow.positions import Group
from chillflow.stores.protocols import LogReader, TripStore

AWAY = (ServiceDown, OutcomeUnknown)
FATAL = (Superseded, TopicReplaced, PartitionsChanged)
"""What no assembler of this group can go on from. (Whether the topic is missing for good is found out by `Ends`.)"""

YOUNG = 10.0
"""An assembler that dies within this many seconds has died young."""


@dataclass(frozen=True)
class Rhythm:
    """Seconds between looks at the group and at the ends of the log."""

    group: float = 1.0
    ends: float = 5.0
    patience: ownership.Patience = field(default_factory=ownership.Patience)


class Coordinator:
    """Runs until `ended`: after `stop`, once all is settled where that was asked for, or with an `error`.

    `quiet` says whether nobody sends any more: where it is given, what lies in the log then is settled, open trips
    become incomplete trips, and the coordinator ends.
    """

    def __init__(
        self,
        group: Group,
        store: TripStore,
        pool: Pool,
        reader: LogReader,
        clock: Clock,
        rhythm: Rhythm | None = None,
        quiet: Callable[[], bool] | None = None,
        thread: Thread | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.group, self.store, self.pool, self.clock = group, store, pool, clock
        self.rhythm = rhythm or Rhythm()
        self.ended = False
        self.error: ChillFlowError | None = None
        self.members: dict[str, Member] = {}
        self.ends = Ends(reader, group.topic, clock, thread or Inline(), self.rhythm.ends)
        self.size = group.desired.size
        self._quiet, self._say = quiet, say
        self._former: list[Status] = []
        self._offsets: dict[int, int] = {}
        self._started = 0
        self.stopping = self._spilling = False
        self._scaling = Scaling(group.desired.minimum or 1)
        self._now = 0.0
        self._turned_at = clock.monotonic()
        self._group_next = self._turned_at
        self._young, self._start_next = 0, 0.0
        self._quiet_since: float | None = None
        self._quiet_asked_at = float("-inf")
        self._troubles: dict[str, str | None] = {}
        self._trouble: str | None = None
        self._failures: dict[int, str] = {}

    @property
    def lag(self) -> Mapping[int, int]:
        """Records that wait, by partition, as far as known."""
        return {
            partition: max(0, end - self._offsets[partition])
            for partition, end in self.ends.at.items()
            if partition in self._offsets
        }

    def statuses(self) -> list[Status]:
        """The last words of every assembler, those that are gone included."""
        return [*self._former, *(member.status for member in self.members.values() if member.heard is not None)]

    def stop(self) -> None:
        """Lets the assemblers commit what they are at, save it, let go of all and end; then this ends."""
        self.stopping = True

    def turn(self) -> Iterator[str]:
        """One round. A service that is away is waited for; meanwhile the pool is looked after."""
        self._attend()
        try:
            # C1: whose the group is, and what is desired
            self._look_at_group()
            yield "C1"
            # C2: heartbeats
            self._hear()
            yield "C2"
            # C3: what waits in the log, and whether all is done
            self._look_at_log()
            yield "C3"
        except ChillFlowError as error:
            self._fail(error)
        self._tell_troubles()
        # C4 and C5: moves, decided in pure code, are carried out one by one
        for move in self._moves():
            self._carry_out(move)
            yield "C5"
        self._end_if_done()

    def _attend(self) -> None:
        """Time goes on only while this one looks: after a pause of its own, nobody is blamed for it."""
        now = self.clock.monotonic()
        self._now += min(now - self._turned_at, 1.0)
        self._turned_at = now

    def _look_at_group(self) -> None:
        now = self.clock.monotonic()
        if now < self._group_next:
            return
        self._group_next = now + self.rhythm.group
        try:
            found = self.store.group(self.group.name)
            if not self._offsets:
                self._offsets = self._positions()
        except AWAY as error:
            self._troubles["group"] = str(error)
            return
        self._troubles["group"] = None
        if found is None or found.epoch != self.group.epoch:
            raise Superseded(self.group.name, found.epoch if found else 0)
        self.group = found

    def _positions(self) -> dict[int, int]:
        rows = self.store.partitions(self.group.name)
        return {int(str(row["partition"])): int(str(row["next_offset"])) for row in rows}

    def _hear(self) -> None:
        lag, fatal = self.lag, None
        for name, status in self.pool.status().items():
            member = self.members.get(name)
            if member is None:
                continue
            if status is None:
                self._lose(member)
            else:
                member.hear(status, self._now, lag)
                fatal = self._learn(member) or fatal
        troubles = (member.status.trouble for member in self.members.values())
        self._troubles["pool"] = next((trouble for trouble in troubles if trouble), None)
        if fatal is not None:
            raise fatal

    def _learn(self, member: Member) -> ChillFlowError | None:
        """What a heartbeat says of partitions: how far they are, which have failed; returns an error that ends all."""
        fatal = None
        for partition, told in member.told.items():
            if told.state == "live":
                self._offsets[partition] = max(told.next_offset, self._offsets.get(partition, 0))
                self._failures.pop(partition, None)
            if told.error is not None:
                if isinstance(told.error, FATAL) or self._quiet is not None:
                    fatal = told.error
                elif self._failures.get(partition) != str(told.error):
                    self._failures[partition] = str(told.error)
                    self._say(f"partition {partition} stands still, the others go on: {told.error}")
        if member.status.ended:
            self._leave(member)
            if member.status.leaving:
                # It keeps its slot until its machine ends it: else another one would begin there.
                self._say(f"{member.name} has left: its machine is being emptied")
            else:
                self.pool.kill(member.name)
        elif self._now - member.began > YOUNG:
            self._young = 0
        return fatal

    def _lose(self, member: Member) -> None:
        self._leave(member)
        if self._now - member.began < YOUNG:
            self._young += 1
            self._start_next = self._now + ownership.pause_before_start(self._young)
        held = sorted(member.seen().held)
        of = f" with partitions {', '.join(map(str, held))}" if held else ""
        self._say(f"{member.name} died{of}")

    def _leave(self, member: Member) -> None:
        del self.members[member.name]
        if member.heard is not None:
            self._former.append(member.status)

    def _look_at_log(self) -> None:
        told = [one for member in self.members.values() for one in member.told.values()]
        at_end = sum(one.caught_up for one in told) == self.group.topic.partitions
        self.ends.look(soon=self._quiet is not None and at_end)
        self._troubles["log"] = str(self.ends.trouble) if self.ends.trouble else None
        desired, lag = self.group.desired, sum(self.lag.values())
        self.size = desired.size
        if desired.minimum is not None and desired.maximum is not None:
            bounds, patience = (desired.minimum, desired.maximum), self.rhythm.patience
            self._scaling = ownership.scaled(self._scaling, *bounds, lag, desired.lag_target, self._now, patience)
            self.size = self._scaling.size
        if self._quiet is not None and not self.stopping and not self._spilling:
            self._spilling = not lag and self._is_done(self._quiet)

    def _is_done(self, quiet: Callable[[], bool]) -> bool:
        """Nobody sends, and what lay in the log when that was known is settled."""
        asked_at = self.ends.asked_at
        if asked_at is None or asked_at <= self._quiet_asked_at:
            return False
        since, self._quiet_asked_at = self._quiet_since, self.clock.monotonic()
        try:
            self._quiet_since = self._quiet_asked_at if quiet() else None
        except AWAY as error:
            self._troubles["quiet"] = str(error)
            return False
        self._troubles["quiet"] = None
        told = [one for member in self.members.values() for one in member.told.values()]
        live = {one.partition for one in told if one.state == "live"}
        return None not in (since, self._quiet_since) and live == set(self.ends.at) == set(self._offsets)

    def _moves(self) -> list[Move]:
        if isinstance(self.error, Superseded):
            return [Kill(name, "") for name in self.members]
        seen = [member.seen() for member in self.members.values()]
        if self.stopping or self._spilling:
            given_up = ownership.stuck(seen, self._now, self.rhythm.patience)
            found: list[Move] = [Kill(name, why) for name, why in given_up.items()]
            left = [each for each in seen if each.name not in given_up and not each.stopping]
            return found + [Kill(each.name, "") if each.heard is None else Stop(each.name) for each in left]
        found = ownership.moves(seen, self.group.topic.partitions, self.size, self._now, self.lag, self.rhythm.patience)
        return [move for move in found if not isinstance(move, Start) or self._now >= self._start_next]

    def _carry_out(self, move: Move) -> None:
        match move:
            case Start():
                self._started += 1
                name = f"assembler-{self.group.epoch}-{self._started}"
                self.members[name] = Member(name, self._now, progressed=self._now)
                self.pool.start(name)
            case Stop(name):
                self.members[name].stop(self._now)
                self.pool.stop(name, spill=self._spilling)
            case Kill(name, why):
                self._leave(self.members[name])
                self.pool.kill(name)
                if why:
                    self._say(f"{name} is replaced: {why}")
            case Assign(name, partition):
                self.members[name].ask("assign", partition, self._now)
                self.pool.assign(name, self.group, partition)
            case Release(name, partition):
                self.members[name].ask("release", partition, self._now)
                self.pool.release(name, partition)

    def _end_if_done(self) -> None:
        if self.members or self.ended:
            return
        if self.stopping or isinstance(self.error, Superseded):
            self.ended = True
        elif self._spilling:
            try:
                rows = self.store.partitions(self.group.name)
            except AWAY:
                return
            # Who died before it had spilled has left open trips: then again, with others.
            self._spilling = False
            ends = self.ends.at
            self.ended = all(
                row["next_offset"] == row["rewind_offset"] == ends[int(str(row["partition"]))] for row in rows
            )

    def _fail(self, error: ChillFlowError) -> None:
        """Nothing more can be done: the assemblers let go of what they have, unless somebody else takes it already."""
        self.error = self.error or error
        self.stopping = True

    def _tell_troubles(self) -> None:
        """Says once that a service is away, and once that all are back."""
        trouble = next((trouble for trouble in self._troubles.values() if trouble), None)
        service = trouble.partition(" ")[0] if trouble else None
        if service == self._trouble:
            return
        self._trouble = service
        self._say(f"{trouble}; waiting for it" if trouble else "all services answer; going on")
