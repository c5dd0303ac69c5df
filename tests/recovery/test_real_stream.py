"""Two real months as events, in disorder, while assemblers are killed and Redis is emptied: nothing differs."""

import random
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from tests.fix_embedded import Cli
from tests.streams import Stream, new_topic

REAL = Path(__file__).parents[3] / "shared" / "data" / "tlc"
MONTHS = "2019-02,2019-03"
ROWS = 20_000
KILLS = 10
AT_A_TIME = (1, 2, 2)
"""How many assemblers are killed at a time under a driver. There are two, one after the other: ten kills."""
EMPTIED = 2
"""The round of each in which Redis is emptied."""
MESS = ("--duplicate", "0.05", "--shuffle", "3600", "--late", "0.05", "--revise", "0.01", "--seed", "7")
SPEED = "300000"
"""Two months in some 17 seconds: slow enough for all kills to come while events do."""

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real months of ../shared/data/tlc are absent")


@pytest.fixture
def stream(new_cli: Callable[[], Cli]) -> Stream:
    cli = new_cli()
    cli.run("curate", "yellow", MONTHS, "--source", str(REAL))
    return Stream(cli, REAL, new_topic(), MONTHS)


def test_real_months_survive_ten_kills_and_two_flushes(stream: Stream) -> None:
    dice = random.Random(7)
    store = redis.Redis.from_url(stream.cli.json("status")["redis"])
    replay = stream.replaying(*MESS, "--speed", SPEED)
    killed = 0
    for _ in range(2):
        with stream.assembling() as driver:
            for round_, number in enumerate(AT_A_TIME, 1):
                stream.until(lambda done=killed: stream.settled() > ROWS * 3 * done / KILLS, "some are settled")
                if round_ == EMPTIED:
                    store.flushall()
                stream.until(lambda least=number: len(stream.assemblers()) >= least, f"{number} to kill")
                for victim in dice.sample(stream.assemblers(), number):
                    victim.kill()
                    killed += 1
            assert driver.poll() is None
        stream.until(lambda: not stream.assemblers(), "they are gone with their driver")
    assert killed == KILLS
    stream.await_sent(replay)
    stream.finish()
    assert "no differences" in stream.reconcile()
    with psycopg.connect(stream.cli.dsn) as connection:
        [(rows_in, accounted)] = connection.execute(
            "select sum(rows_in), sum(trips + quarantined + adjustments) from chillflow.months where path = 'stream'"
        ).fetchall()
        [(letters,)] = connection.execute("select count(*) from chillflow.dead_letters").fetchall()
        [(incomplete,)] = connection.execute("select count(*) from chillflow.incomplete_trips").fetchall()
    assert (rows_in, accounted, letters, incomplete) == (ROWS, ROWS, 0, 0)
