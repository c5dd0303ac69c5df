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


STEPS = ("R1", "R2", "R3", "R4", "R5", "2", "3a", "3b", "3c", "3d", "3e", "3f", "3", "4", "released", "rest")
FAULTS = {
    *(f"crash after {step}" for step in STEPS),
    *(f"freeze after {step}" for step in STEPS),
    *(f"COMMIT without an answer: {answer}" for answer in ("before", "after", "later")),
    "zombie", "two owners", "another coordinator", "move", "retention", "PostgreSQL away", "Kafka away", "Redis away",
    "snapshots missing", "snapshots corrupt", "snapshots stale",
}  # fmt: skip
"""What the seeds of a run commit, all in all: each step is followed by a crash and a freeze somewhere."""
ENOUGH = 1000


def outcome(seed: int) -> tuple[str | None, set[str]]:
    """What failed, if anything, and the faults that were committed."""
    try:
        return None, run(seed).faults
    except AssertionError as error:
        return str(error), set()


@pytest.mark.timeout(max(600, SEEDS))
def test_after_any_faults_the_rows_are_those_of_the_batch_path():
    seeds = range(FIRST, FIRST + SEEDS)
    if SEEDS == 1:
        run(FIRST)
        return
    os.environ["POLARS_MAX_THREADS"] = "1"
    committed: set[str] = set()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for failed, faults in pool.imap_unordered(outcome, seeds, chunksize=10):
            assert failed is None, failed
            committed |= faults
    if SEEDS >= ENOUGH:
        assert committed >= FAULTS, f"never committed: {FAULTS - committed}"


def test_a_seed_replays_exactly():
    assert run(3).told == run(3).told
