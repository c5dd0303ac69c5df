"""A real process is gone after each numbered step, then another one: the rows are the batch path's."""

import pytest
import redis

from chillflow.stores.warehouse import Warehouse
from tests.fix_brokers import Embedded
from tests.recovery.crashing import Crashing, true_tables

CRASHES = (
    ("R1", 1), ("R2", 2), ("R3", 1), ("R5", 2),
    *((step, 2) for step in ("2", "3a", "3b", "3c", "3d", "3e", "3f", "3", "4")),
)  # fmt: skip
"""After which step, and which doing of it: the first partition's or the second's; the second batch."""


@pytest.fixture
def stage(embedded_brokers: Embedded, postgres_dsn: str) -> Crashing:
    return Crashing.of(embedded_brokers, postgres_dsn)


def test_after_a_crash_at_any_step_the_next_process_goes_on(stage: Crashing) -> None:
    for step, times in CRASHES:
        assert stage.assemble(step, times), f"nothing was left to do at step {step}"
    assert not stage.assemble()
    true = true_tables()
    assert stage.tables() == true
    with Warehouse(stage.dsn) as warehouse:
        whole = {trip_id: warehouse.trip(trip_id)[0] for trip_id in list(true)[:10]}
    assert all(row["source"] == "stream" for row in whole.values())


def test_two_that_die_in_their_recovery_leave_it_to_the_third(stage: Crashing) -> None:
    """Without snapshots: the log is read again from rewind_offset each time."""
    assert stage.assemble("3", times=6)
    for crash in ("R4", "R4", None):
        with redis.Redis.from_url(stage.redis) as store:
            store.delete(*store.keys(f"*{stage.topic}*"), "one at least")
        assert stage.assemble(crash) == (crash is not None)
    assert stage.tables() == true_tables()
