"""Connections break at COMMITs, before PostgreSQL has them or after they were done: nothing is written twice."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from tests.fix_brokers import Embedded
from tests.fix_proxy import Proxy
from tests.recovery.crashing import Crashing, true_tables

PATIENCE = 120.0
LOST = 12


@pytest.fixture
def proxy(postgres_dsn: str) -> Iterator[Proxy]:
    with closing(Proxy(postgres_dsn)) as proxy:
        yield proxy


def test_commits_whose_answers_are_lost_are_done_once(
    embedded_brokers: Embedded, postgres_dsn: str, proxy: Proxy
) -> None:
    stage = Crashing.of(embedded_brokers, postgres_dsn)
    dice, lost = random.Random(5), Counter[str]()
    with replace(stage, dsn=proxy.dsn).running() as running:
        deadline = time.monotonic() + PATIENCE
        while running.poll() is None:
            assert time.monotonic() < deadline, f"it gets nowhere: {lost}"
            if proxy.lose is None and lost.total() < LOST:
                proxy.lose = dice.choice(("before", "after"))
                lost[proxy.lose] += 1
            time.sleep(0.005)
    assert running.returncode == 0
    assert min(lost["before"], lost["after"]) >= 2
    assert stage.tables() == true_tables()
