"""Assembly simulated from seeds: crashes, zombies, lost answers, services away, partitions moved.

CHILLFLOW_TEST_SEEDS is how many seeds are run, CHILLFLOW_TEST_SEED the first: `CHILLFLOW_TEST_SEED=117
CHILLFLOW_TEST_SEEDS=1 pytest tests/recovery/test_simulation.py` replays one exactly.
"""

import multiprocessing
import os

import pytest

from tests.simulated import run

FIRST = int(os.environ.get("CHILLFLOW_TEST_SEED", "0"))
SEEDS = int(os.environ.get("CHILLFLOW_TEST_SEEDS", "1000"))
PROCESSES = 2


def outcome(seed: int) -> str | None:
    try:
        run(seed)
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.timeout(max(600, SEEDS))
def test_after_any_faults_the_rows_are_those_of_the_batch_path():
    seeds = range(FIRST, FIRST + SEEDS)
    if SEEDS == 1:
        run(FIRST)
        return
    os.environ["POLARS_MAX_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for found in pool.imap_unordered(outcome, seeds, chunksize=10):
            assert found is None, found


def test_a_seed_replays_exactly():
    assert run(3).told == run(3).told
