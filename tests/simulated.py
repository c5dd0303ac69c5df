"""A simulated run of assembly from a seed, and what must be true after it (I1 to I4)."""

import random
from typing import Any

from chillflow.assembly import Settled
from chillflow.events import Event, slot_of
from chillflow.placing import place
from chillflow.testing.rows import rows_of
from chillflow.testing.simulation import Simulation
from tests.stream_samples import rides

POISON = (b"", b"{", b"\xff\xfe", b'{"type":"trip_started"}', b'{"type":"trip_paused","schema_version":1}', b"[1,2]")
DISORDER = (10, 4_000, 90_000, 200_000)
"""Seconds of event time by which events are displaced, up to days: beyond the time-out."""


def run(seed: int) -> Simulation:
    """Runs a seed; raises AssertionError with the seed and what happened last."""
    dice = random.Random(seed)
    found = rides(seed, number=6 + seed % 8)
    dropped = {ride.trip_id: dice.randrange(3) for ride in found if seed % 3 == 0 and dice.random() < 0.2}
    events = [
        event
        for ride in found
        for number, slot in enumerate(ride.events)
        if dropped.get(ride.trip_id) != number
        for event in slot
    ]
    events += dice.sample(events, len(events) // 3)
    events.sort(key=lambda event: event.event_at.timestamp() + dice.random() * dice.choice(DISORDER))
    poison = dice.choices(POISON, k=seed % 4)
    simulation = Simulation(seed, events, poison)
    try:
        simulation.run()
        check(simulation, events, poison)
    except Exception as error:
        last = "\n".join(simulation.told[-40:])
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{last}") from error
    return simulation


def check(simulation: Simulation, events: list[Event], poison: list[bytes]) -> None:
    """I1: the rows are the truth. I2: one a trip. I3: the double asserts it. I4: every event is somewhere."""
    true = expected(events)
    stored = simulation.warehouse.rows()
    for trip_id in sorted(true.keys() | stored.keys()):
        assert stored.get(trip_id) == true.get(trip_id), trip_id
    assert len(simulation.warehouse.dead) == len(poison)
    assert sorted(letter.payload or b"" for letter in simulation.warehouse.dead.values()) == sorted(poison)
    for trip_id, row in stored.items():
        for event in (event for event in events if event.trip_id == trip_id):
            slot = row.slots[SLOTS[type(event).__name__]]
            assert slot is not None, event
            assert slot[0] >= event.revision, event


SLOTS = {"TripStarted": 0, "TripEnded": 1, "PaymentProcessed": 2}


def expected(events: list[Event]) -> dict[str, Any]:
    """What the batch path makes of the trips that events tell; those that lack a slot are incomplete."""
    slots: dict[str, list[Any]] = {}
    for event in events:
        found = slots.setdefault(event.trip_id, [None, None, None])
        number, slot = SLOTS[type(event).__name__], slot_of[type(event)](event)
        if found[number] is None or slot[0] > found[number][0]:
            found[number] = slot
    settled = [Settled(trip_id, "yellow", (found[0], found[1], found[2])) for trip_id, found in slots.items()]
    return rows_of(place(settled, ()))
