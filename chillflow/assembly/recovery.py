"""Recovery: open trips rebuilt from the log, below what PostgreSQL has confirmed."""

from chillflow.assembly.batches import Gathered
from chillflow.assembly.state import DEFAULTS, Limits, State, first_seen, pack, unpack


def rewind(state: State, gathered: Gathered, limits: Limits = DEFAULTS) -> None:
    """Rebuilds open trips from a batch below next_offset: no output, no time-outs, no caps.

    What it takes for open although PostgreSQL has it must be dropped before the state is used.
    """
    for trip_id, arrival in gathered.trips.items():
        packed = state.open.get(trip_id)
        seen = first_seen(state, arrival, limits) if packed is None else unpack(packed).joined(arrival.slots)
        if None in seen.slots:
            state.open[trip_id] = pack(seen)
        else:
            state.open.pop(trip_id, None)
