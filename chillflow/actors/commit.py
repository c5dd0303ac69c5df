"""Step 3 of the commit loop: one PostgreSQL transaction for a batch of several partitions."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from chillflow.assembly import Gathered, Limits, State, Step, months_of, step, wanted
from chillflow.clock import Clock
from chillflow.errors import OutcomeUnknown, ServiceDown
from chillflow.events import DeadLetter
from chillflow.placing import originals_of, place
from chillflow.positions import Claim
from chillflow.stores.protocols import TripStore

PAUSE = 0.2


@dataclass(frozen=True)
class Work:
    """A partition's part of a transaction: the state before it, the batch, what could not be read of it."""

    claim: Claim
    state: State
    gathered: Gathered
    dead: Sequence[DeadLetter] = ()

    @property
    def partition(self) -> int:
        return self.claim.partition


@dataclass(frozen=True)
class Committed:
    """What PostgreSQL has confirmed: each partition's step, to be applied now; and who has lost which partitions."""

    steps: Mapping[int, Step]
    fenced: Sequence[int]


def commit(store: TripStore, work: Sequence[Work], limits: Limits, clock: Clock) -> Generator[str, None, Committed]:
    """Commits a batch; raises ServiceDown, and then nothing has happened: the same batch can be tried again."""
    months = {month for part in work for month in months_of(part.state, part.gathered, limits)}
    store.ensure_partitions({month for _, month in months})
    begins = {part.partition: part.gathered.begin for part in work}
    steps: dict[int, Step] = {}
    try:
        with store.transaction() as transaction:
            # 3a: only the owner of the newest epoch goes on, and only from where PostgreSQL stands
            fenced = transaction.lock([part.claim for part in work], begins)
            work = [part for part in work if part.partition not in fenced]
            yield "3a"
            # 3b: no load of these months runs beside this transaction
            loaded = transaction.loaded(months)
            yield "3b"
            # 3c: what PostgreSQL has of the trips that memory does not know
            ids = {trip_id for part in work for trip_id in wanted(part.state, part.gathered, loaded, limits)}
            known = transaction.look_up(ids) if ids else {}
            yield "3c"
            # 3d: decided in pure code, against the state as it was
            steps = {part.partition: step(part.state, part.gathered, known, loaded, limits) for part in work}
            settled = [trip for made in steps.values() for trip in made.settled.values()]
            placed = place(settled, transaction.reversed_among(originals_of(settled)), loaded) if settled else None
            yield "3d"
            # 3e: everything in its final place
            if placed is not None:
                transaction.write(placed)
            for part in work:
                if part.dead:
                    transaction.bury(part.claim.topic, part.dead)
            yield "3e"
            # 3f: the offsets move with the rows, or not at all
            transaction.advance([part.claim for part in work], [made.position for made in steps.values()])
            yield "3f"
    except OutcomeUnknown:
        return (yield from _read_back(store, work, steps, fenced, clock))
    yield "3"
    return Committed(steps, fenced)


def _read_back(
    store: TripStore, work: Sequence[Work], steps: Mapping[int, Step], fenced: Sequence[int], clock: Clock
) -> Generator[str, None, Committed]:
    """The answer to COMMIT was lost: the partitions' rows tell. Raises ServiceDown where nothing was committed,
    or cannot be told from nothing: a batch without records.
    """
    claims = [part.claim for part in work]
    begins = {part.partition: part.gathered.begin for part in work}
    ends = {part.partition: part.gathered.end for part in work}
    while True:
        try:
            outcomes = store.outcomes(claims, begins, ends)
            break
        except ServiceDown:
            yield "3?"
            clock.pause(PAUSE)
    yield "3"
    if not any(outcomes[partition] == "done" and begins[partition] < end for partition, end in ends.items()):
        raise ServiceDown("PostgreSQL", "the warehouse", "the connection was lost before the commit")
    # One transaction: if a part of it is there, all is. (A part without records looks the same, done or not.)
    lost = [partition for partition, outcome in outcomes.items() if outcome == "fenced"]
    return Committed({partition: made for partition, made in steps.items() if partition not in lost}, [*fenced, *lost])
