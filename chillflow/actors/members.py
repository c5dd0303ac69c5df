"""The assemblers of a pool as the coordinator knows them: what each was told, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from chillflow.heartbeats import PartitionStatus, Status
from chillflow.ownership import Assembler, Holding, Phase
from chillflow.positions import Group


class Pool(Protocol):
    """Assemblers somewhere. Nothing is waited for: what becomes of it shows in `status`.

    Orders to one assembler are carried out in the order in which they were given; those to one that is dead are lost.
    """

    def start(self, name: str) -> None: ...

    def status(self) -> Mapping[str, Status | None]:
        """What was heard since the last call: a heartbeat, or None of one that is dead, which is told once.

        Who is not there has said nothing: it is starting, frozen or busy.
        """
        ...

    def assign(self, name: str, group: Group, partition: int) -> None:
        """See Loop.assign."""
        ...

    def release(self, name: str, partition: int) -> None: ...

    def stop(self, name: str, *, spill: bool = False) -> None:
        """See Loop.drain."""
        ...

    def kill(self, name: str) -> None:
        """Ends one at once, and forgets it: `status` says no more of it."""
        ...


@dataclass
class Member:
    """An assembler that is not known to be dead.

    `orders` is how many it was given; `asked` holds for each partition what it was asked to do with it, in which order,
    and when, until it says that it has carried this out.
    """

    name: str
    began: float
    heard: float | None = None
    progressed: float = 0.0
    status: Status = field(default_factory=lambda: Status(""))
    orders: int = 0
    stopping: bool = False
    asked: dict[int, tuple[Literal["assign", "release"], int, float]] = field(default_factory=dict)
    told: dict[int, PartitionStatus] = field(default_factory=dict)
    _since: dict[int, tuple[Phase, float]] = field(default_factory=dict)

    def ask(self, what: Literal["assign", "release"], partition: int, now: float) -> None:
        self._order(now)
        self.asked[partition] = what, self.orders, now

    def stop(self, now: float) -> None:
        self._order(now)
        self.stopping = True

    def hear(self, status: Status, now: float, lag: Mapping[int, int]) -> None:
        """Takes in a heartbeat. Time without progress counts only while there is something to do."""
        before, self.status = self.status, status
        self.heard = now
        self.told = {found.partition: found for found in status.partitions}
        self.asked = {partition: asked for partition, asked in self.asked.items() if asked[1] > status.obeyed}
        since: dict[int, tuple[Phase, float]] = {}
        for partition, found in self.told.items():
            state, at = self._since.get(partition, (found.state, now))
            since[partition] = (found.state, at if state == found.state else now)
        self._since = since
        busy = self.orders > status.obeyed or any(
            found.state == "recovering" or (found.state == "live" and lag.get(partition, 0) > 0)
            for partition, found in self.told.items()
        )
        if not busy or _place(before) != _place(status):
            self.progressed = now

    def seen(self) -> Assembler:
        """As `ownership` takes it."""
        held = {partition: Holding(found.state, self._since[partition][1]) for partition, found in self.told.items()}
        for partition, (what, _, at) in self.asked.items():
            phase: Phase = "asked" if what == "assign" else "releasing"
            held[partition] = Holding(phase, at)
        status = self.status
        return Assembler(
            self.name,
            self.began,
            self.heard,
            self.progressed,
            status.trouble is not None,
            status.leaving,
            self.stopping,
            held,
        )

    def _order(self, now: float) -> None:
        if self.orders == self.status.obeyed:
            self.progressed = now
        self.orders += 1


def _place(status: Status) -> object:
    """What changes when an assembler gets on."""
    return status.obeyed, status.committed, [(one.partition, one.state, one.read_to) for one in status.partitions]
