"""Who should own which partition: pure decisions of the coordinator.

`moves` says what to do next with the pool as it is known now. Carried out again and again, its moves lead to as many
assemblers as are wanted, each partition with one of them, each with as many as the others to within one. Who is dead is
left out of what it is given; who is stuck is given up first, and is no owner from then on (its claims are fenced).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Phase = Literal["asked", "recovering", "live", "failed", "releasing"]
"""Of a partition at its assembler; asked: to claim it, releasing: asked to let go of it."""


@dataclass(frozen=True)
class Patience:
    """Seconds. `silent`, `stuck`, `start`: until one that says nothing, gets nowhere, or does not come up is replaced.

    `gather`: how long the first assemblers wait for the others. `retry`: a partition that failed is tried again.
    `grow`, `shrink`: how long a lag must ask for more or fewer assemblers.
    """

    silent: float = 10.0
    stuck: float = 60.0
    start: float = 120.0
    gather: float = 5.0
    retry: float = 30.0
    grow: float = 5.0
    shrink: float = 60.0


@dataclass(frozen=True)
class Holding:
    """A partition at an assembler: its phase, and since when."""

    phase: Phase
    since: float = 0.0


@dataclass(frozen=True)
class Assembler:
    """What is known of an assembler that is not known to be dead; times as the clock's seconds.

    `heard`: its last heartbeat, None before the first. `progressed`: when it last got on, or had nothing to do.
    `troubled`: it waits for a service. `leaving`: its machine is being emptied. `stopping`: it was told to let go of
    all and end.
    """

    name: str
    began: float
    heard: float | None = None
    progressed: float = 0.0
    troubled: bool = False
    leaving: bool = False
    stopping: bool = False
    held: Mapping[int, Holding] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    pass


@dataclass(frozen=True)
class Stop:
    """For one that owns nothing any more, or whose machine is being emptied: then it lets go of all first."""

    name: str


@dataclass(frozen=True)
class Kill:
    name: str
    why: str


@dataclass(frozen=True)
class Assign:
    name: str
    partition: int


@dataclass(frozen=True)
class Release:
    name: str
    partition: int


Move = Start | Stop | Kill | Assign | Release


def moves(
    assemblers: Sequence[Assembler],
    partitions: int,
    size: int,
    now: float,
    lag: Mapping[int, int] | None = None,
    patience: Patience | None = None,
) -> list[Move]:
    """The next moves, in the order in which they are to be carried out; `size` assemblers are wanted."""
    patience = patience or Patience()
    given_up = stuck(assemblers, now, patience)
    left = [each for each in assemblers if each.name not in given_up]
    able = [each for each in left if not (each.stopping or each.leaving)]
    wanted = min(size, partitions)
    surplus = sorted(able, key=_least_missed)[: max(0, len(able) - wanted)]
    ready = [each for each in able if each.heard is not None and each not in surplus]

    found: list[Move] = [Kill(name, why) for name, why in given_up.items()]
    found += [Stop(each.name) for each in left if each.leaving and not each.stopping]
    found += [Start()] * (wanted - len(able))
    found += [Stop(each.name) for each in surplus if not each.held]
    free = sorted(set(range(partitions)).difference(*(each.held for each in left)))
    if free and ready:
        gathering = len(free) == partitions and any(
            each.heard is None and now - each.began < patience.gather for each in able
        )
        if not gathering:
            found += _handed_out(free, ready)
    elif ready and not _in_transit(left):
        found += _one_move(ready, surplus, lag or {})
    found += _tried_again(ready, now - patience.retry)
    return found


def stuck(assemblers: Sequence[Assembler], now: float, patience: Patience) -> dict[str, str]:
    """Those to be given up, and why. One that waits for a service for as long as all others do is not stuck."""
    heard = [each for each in assemblers if each.heard is not None]
    all_troubled = all(each.troubled for each in heard)
    found = {}
    for each in assemblers:
        if each.heard is None:
            if now - each.began > patience.start:
                found[each.name] = f"it has not come up for {now - each.began:.0f} s (is an assembler_slot free?)"
        elif now - each.heard > patience.silent:
            found[each.name] = f"it has been silent for {now - each.heard:.0f} s"
        elif now - each.progressed > patience.stuck and not all_troubled:
            found[each.name] = f"it has not got on for {now - each.progressed:.0f} s"
    return found


def settled(assemblers: Sequence[Assembler], partitions: int, size: int) -> bool:
    """Whether nothing is left to be moved: every partition has one owner, and owners are balanced."""
    counts = [len(each.held) for each in assemblers]
    held = sorted(partition for each in assemblers for partition in each.held)
    alike = len(counts) == min(size, partitions) and max(counts) - min(counts) <= 1
    return alike and held == list(range(partitions)) and not _in_transit(assemblers)


def pause_before_start(young_deaths: int) -> float:
    """Seconds before another assembler is started, after this many in a row died soon after they had been."""
    return 0.0 if young_deaths < 2 else min(30.0, 0.5 * 2.0 ** (young_deaths - 2))


@dataclass(frozen=True)
class Scaling:
    """The size that lag has led to. `since`: from when on it has asked for more (`direction` 1) or fewer (-1)."""

    size: int
    direction: int = 0
    since: float = 0.0


def scaled(
    before: Scaling, minimum: int, maximum: int, lag: int, target: int, now: float, patience: Patience | None = None
) -> Scaling:
    """The size for a lag in records, of which an assembler is to bear `target`: up at once to what is needed, down one
    by one, and only where the lag is well below what one assembler fewer would bear."""
    patience = patience or Patience()
    size = min(max(before.size, minimum), maximum)
    needed = min(max(-(-lag // target), minimum), maximum)
    direction = (needed > size) - (size > minimum and 2 * lag < target * (size - 1))
    if not direction or direction != before.direction or size != before.size:
        return Scaling(size, direction, now)
    if now - before.since < (patience.grow if direction > 0 else patience.shrink):
        return replace(before, size=size)
    return Scaling(needed if direction > 0 else size - 1, 0, now)


def _least_missed(each: Assembler) -> tuple[bool, int, float, str]:
    """Who goes first where there are too many: who is not up yet, has the least, came last."""
    return each.heard is not None, len(each.held), -each.began, each.name


def _handed_out(free: Sequence[int], ready: Sequence[Assembler]) -> list[Move]:
    loads = {each.name: len(each.held) for each in ready}
    found: list[Move] = []
    for partition in free:
        name = min(loads, key=lambda name: (loads[name], name))
        loads[name] += 1
        found.append(Assign(name, partition))
    return found


def _in_transit(assemblers: Sequence[Assembler]) -> bool:
    return any(
        holding.phase in ("asked", "recovering", "releasing") for each in assemblers for holding in each.held.values()
    )


def _one_move(ready: Sequence[Assembler], surplus: Sequence[Assembler], lag: Mapping[int, int]) -> list[Move]:
    """One partition leaves who is to go, or who has two more than another: the one with the least lag."""
    loads = [len(each.held) for each in ready]
    leaving = [each for each in surplus if each.held]
    if not leaving and max(loads) - min(loads) > 1:
        leaving = [max(ready, key=lambda each: (len(each.held), each.name))]
    return [
        Release(each.name, min(each.held, key=lambda partition: (lag.get(partition, 0), partition)))
        for each in leaving[:1]
    ]


def _tried_again(ready: Sequence[Assembler], before: float) -> list[Move]:
    return [
        Assign(each.name, partition)
        for each in ready
        for partition, holding in each.held.items()
        if holding.phase == "failed" and holding.since <= before
    ]
