"""The state machine of assembly: pure, (state, batch, known) -> (changes, trips to write).

The state is never changed in place: `step` says what to change, and `State.apply` does it once PostgreSQL has confirmed
the commit. So every retry starts from the same state. docs/assembly.md explains the protocol.
"""

from chillflow.assembly.batches import Arrival, Gathered, gather
from chillflow.assembly.ids import month_of, pickup_at, prefix_of
from chillflow.assembly.recovery import rewind
from chillflow.assembly.rows import Known, ServiceMonth, Settled, Slots, Table
from chillflow.assembly.state import ALL, DEFAULTS, Changes, Limits, OpenTrip, State
from chillflow.assembly.steps import Counts, Step, months_of, step, wanted

__all__ = [
    "ALL", "DEFAULTS", "Arrival", "Changes", "Counts", "Gathered", "Known", "Limits", "OpenTrip", "ServiceMonth",
    "Settled", "Slots", "State", "Step", "Table", "gather", "month_of", "months_of", "pickup_at", "prefix_of",
    "rewind", "step", "wanted",
]  # fmt: skip
