"""Events to bytes and back, on one core: `python -m benchmarks.events`.

Says microseconds an event, the best of a few rounds, for explode and for decode: of valid events; with one poison
record in each poll; with a field that this version does not know in every event. The peer is the bare JSON decoder.
"""

import argparse
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from chillflow.events import Event, Polled
from chillflow.explosion import explode
from chillflow.reading import decode
from chillflow.trips import trip_id

NOW = dt.datetime(2026, 1, 1)
ROUNDS = 5


def months_trips(number: int) -> pl.DataFrame:
    """Trips, all of whose columns hold what they mostly do."""
    count = pl.int_range(number, eager=True)
    pickup = pl.lit(dt.datetime(2019, 3, 1)) + pl.duration(seconds=count // 2)
    frame = pl.select(
        service=pl.lit("yellow", pl.Enum(["yellow", "green"])),
        pickup_at=pickup,
        dropoff_at=pickup + pl.duration(seconds=count % 3000),
        trip_distance=(count % 2000) / 100,
        store_and_fwd=pl.lit("N"),
        request_source=pl.lit(None, pl.String),
        trip_type=pl.lit(None, pl.Int32),
        airport_fee=pl.lit(None, pl.Int32),
        cbd_congestion_fee=pl.lit(None, pl.Int32),
    )
    integers = {
        "vendor_id": count % 2 + 1, "pickup_zone_id": count % 263 + 1, "dropoff_zone_id": count % 251 + 1,
        "passenger_count": count % 6, "rate_code": count * 0 + 1, "payment_type": count % 2 + 1,
        "fare_amount": count % 4000 + 300, "extra": count % 2 * 50, "mta_tax": count * 0 + 50,
        "tip_amount": count % 977, "tolls_amount": count * 0, "improvement_surcharge": count * 0 + 30,
        "congestion_surcharge": count * 0 + 250, "total_amount": count % 5000 + 680,
    }  # fmt: skip
    frame = frame.with_columns(values.cast(pl.Int32).alias(name) for name, values in integers.items())
    return frame.with_columns(trip_id(frame))


def best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest round."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=int, default=40_000)
    parser.add_argument("--poll", type=int, default=4000, help="records a poll")
    given = parser.parse_args()
    trips = months_trips(given.trips)
    told = explode(trips).sort("event_at", maintain_order=True)
    keys, values = told["key"].to_list(), told["value"].to_list()
    number = len(values)

    def read(values: list[bytes]) -> Callable[[], int]:
        polls = []
        for begin in range(0, number, given.poll):
            end = min(begin + given.poll, number)
            offsets = list(range(begin, end))
            polls.append(Polled(0, begin, end, offsets, keys[begin:end], values[begin:end]))
        return lambda: sum(len(decode(poll, NOW).dead) for poll in polls)

    poisoned = [b"{" if place % given.poll == 7 else value for place, value in enumerate(values)]
    newer = [value[:-1] + b',"surge":1.25}' for value in values]
    assert (read(values)(), read(newer)(), read(poisoned)()) == (0, 0, sum(value == b"{" for value in poisoned))
    bare = msgspec.json.Decoder(Event).decode
    ways: dict[str, Callable[[], Any]] = {
        "bare decoder": lambda: [bare(value) for value in values],
        "decode": read(values),
        f"decode, 1 poison of {given.poll:,}": read(poisoned),
        "decode, an unknown field in each": read(newer),
        "explode": lambda: explode(trips),
    }
    seconds = {name: best(work) for name, work in ways.items()}
    for name, took in seconds.items():
        print(f"{name}: {took / number * 1e6:.2f} us/event, {took / seconds['bare decoder']:.1f} x the bare decoder")


if __name__ == "__main__":
    main()
