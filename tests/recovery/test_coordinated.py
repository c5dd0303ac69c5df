"""Coordinators simulated from seeds: killed, frozen, two at a time, scaled, with assemblers that fare no better.

CHILLFLOW_TEST_SEED is the first seed, CHILLFLOW_TEST_SEEDS how many are run; here a tenth of what the simulation of
assembly itself runs.
"""

import os
import random

import pytest

from chillflow.testing.coordinated import Coordinated
from tests.simulated import POISON, check
from tests.stream_samples import rides

FIRST = int(os.environ.get("CHILLFLOW_TEST_SEED", "0"))
SEEDS = max(1, int(os.environ.get("CHILLFLOW_TEST_SEEDS", "1000")) // 10)


def run(seed: int) -> Coordinated:
    dice = random.Random(seed)
    events = [event for ride in rides(seed, number=10 + seed % 8) for event in ride.all()]
    events += dice.sample(events, len(events) // 3)
    events.sort(key=lambda event: event.event_at.timestamp() + dice.random() * dice.choice((10, 4_000, 90_000)))
    poison = dice.choices(POISON, k=seed % 3)
    simulation = Coordinated(seed, events, poison)
    try:
        simulation.run()
        check(simulation, events, poison)
    except Exception as error:
        last = "\n".join(simulation.told[-40:])
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{last}") from error
    return simulation


@pytest.mark.timeout(max(600, SEEDS))
def test_whatever_becomes_of_drivers_the_rows_are_those_of_the_batch_path():
    for seed in range(FIRST, FIRST + SEEDS):
        run(seed)


def test_a_seed_replays_exactly():
    assert run(7).told == run(7).told
