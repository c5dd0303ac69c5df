"""What an assembler tells of itself and of its partitions."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chillflow.errors import ChillFlowError


@dataclass(frozen=True)
class PartitionStatus:
    """A partition as its assembler sees it. `caught_up`: the broker said that nothing lies above `next_offset`.

    `read_to`: how far it has been read, below `next_offset` during the rewind. `open` trips, the `oldest` of them first
    seen at that event time.
    """

    partition: int
    state: Literal["recovering", "live", "failed"]
    epoch: int = 0
    next_offset: int = 0
    read_to: int = 0
    open: int = 0
    oldest: dt.datetime | None = None
    caught_up: bool = False
    error: ChillFlowError | None = None


@dataclass(frozen=True)
class Status:
    """A heartbeat. `beats` grows with every turn, `committed` with every event: liveness is not progress.

    `obeyed` is how many orders it has carried out: what it tells of partitions is as of these. `counts` say what became
    of events (see assembly.Counts); `trouble` is the service that is waited for; `leaving`: its machine is being
    emptied.
    """

    name: str
    beats: int = 0
    committed: int = 0
    obeyed: int = 0
    partitions: tuple[PartitionStatus, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    dead_letters: int = 0
    unknown_fields: int = 0
    trouble: str | None = None
    ended: bool = False
    leaving: bool = False
