"""Memory and snapshots of open trips: `python -m benchmarks.open_trips --trips 1000000`.

One state with so many open trips, every second of them with two slots: the process's memory, what a snapshot of all of
them costs (taking it, which the commit loop waits for, and sealing it for Redis), and reading it back.
"""

import argparse
import datetime as dt
import gc
import time

from chillflow.actors import loop
from chillflow.assembly import OpenTrip, State
from chillflow.assembly.state import pack
from chillflow.positions import Claim, Position, Topic
from chillflow.stores.snapshots import open_for, seal

BEGIN = dt.datetime(2019, 3, 1)


def resident() -> float:
    """MB of memory that this process holds."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def fill(state: State, trips: int, deadline: dt.timedelta = dt.timedelta(hours=24)) -> None:
    first = (BEGIN - dt.datetime(1970, 1, 1)) // dt.timedelta(milliseconds=1)
    for number in range(trips):
        text = f"{first + number * 50:012x}8abc9def{number:012x}"
        pickup = BEGIN + dt.timedelta(milliseconds=number * 50)
        ended = (1, pickup + dt.timedelta(minutes=12), 200, 3.25) if number % 2 else None
        started = (1, 1, pickup, 100, 1, 1, "N", None, None)
        trip = OpenTrip("yellow", number, pickup + deadline, started, ended, None)
        state.open[f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"] = pack(trip)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trips", type=int, default=1_000_000)
    trips = parser.parse_args().trips
    assert loop  # its imports are part of an assembler's memory
    state, before = State.claimed(Position(0, 0, 0)), resident()
    fill(state, trips)
    gc.collect()
    after = resident()
    print(
        f"{trips:,} open trips: {after:.0f} MB, of it {before:.0f} MB before;",
        f"{(after - before) * 2**20 / trips:.0f} B each",
    )
    began = time.perf_counter()
    taken = state.snapshot()
    snapshot = time.perf_counter() - began
    claim = Claim(Topic("t", "id", 1), "g", 0, 1, "token", "token", Position(0, trips, 0))
    began = time.perf_counter()
    sealed = seal(claim, trips, taken)
    sealing = time.perf_counter() - began
    print(
        f"snapshot: {snapshot:.2f} s to take, {sealing:.2f} s to seal, {len(sealed) / 1e6:.0f} MB;",
        f"{resident():.0f} MB then",
    )
    began = time.perf_counter()
    opened = open_for(claim, sealed)
    assert opened is not None
    other = State.claimed(Position(0, 0, 0))
    other.restore(opened[1])
    assert other.open == state.open
    print(f"read back in {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
