"""Zone-hours in PostgreSQL, beside one session of psql: `python -m benchmarks.aggregate --rows 12000000`.

Ours is a month's two slices side by side, each in a process, as the job's tasks compute them, into the indexed table.
The peer is one CREATE TABLE AS of the same measures, at which PostgreSQL may work in parallel. Then 100 zone-hours are
noted, within five hours of a day, and refreshed.
"""

import argparse
import datetime as dt
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psycopg

from benchmarks.load import BATCH, MONTH, Server, trips
from chillflow.jobs.refreshing import refresh
from chillflow.kpis import MEASURES
from chillflow.slices import Slice, halves
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.ledger import MonthEntry
from chillflow.stores.warehouse import Warehouse

NOTES = """
insert into chillflow.kpi_dirty (service, zone_id, hour)
select 'yellow', 1 + n, timestamp '2019-01-20' + n %% 5 * interval '1 hour' from generate_series(0, 99) as n
"""


def fill(dsn: str, rows: int) -> None:
    table = trips(rows)
    entry = MonthEntry("yellow", MONTH, rows, rows, 0, 0, {}, dt.datetime.now(dt.UTC), "bench", 1)
    with Warehouse(dsn) as warehouse:
        warehouse.migrate()
        warehouse.load_month(entry, (table.slice(at, BATCH) for at in range(0, rows, BATCH)), [], [])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze chillflow.trips")
        connection.execute("checkpoint")


def side(end: str) -> str:
    measures = ", ".join(f"{one.sql} as {one.name}" for one in MEASURES if one.at == end)
    key = f"{end}_zone_id as zone_id, date_trunc('hour', {end}_at) as hour"
    return f"(select {key}, {measures} from chillflow.trips where service = 'yellow' group by 1, 2) as {end}s"


def peer(dsn: str) -> float:
    measures = ", ".join(f"coalesce({one.name}, 0) as {one.name}" for one in MEASURES if one.at != "reversal")
    began = time.perf_counter()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set work_mem = '128MB'")
        connection.execute("set jit = off")
        connection.execute(  # type: ignore[call-overload]
            f"create table peer as select 'yellow'::text as service, zone_id, hour, {measures} "
            f"from {side('pickup')} full join {side('dropoff')} using (zone_id, hour)"
        )
        seconds = time.perf_counter() - began
        connection.execute("drop table peer")
    return seconds


def one(dsn: str, hours: Slice) -> int:
    with Aggregates(dsn) as aggregates:
        return aggregates.all_of(hours)


def ours(dsn: str, pool: ProcessPoolExecutor) -> float:
    began = time.perf_counter()
    parts = [pool.submit(one, dsn, hours) for hours in halves("yellow", MONTH)]
    assert sum(part.result() for part in parts) > 0
    return time.perf_counter() - began


def noted(dsn: str) -> float:
    with Aggregates(dsn) as aggregates, psycopg.connect(dsn, autocommit=True) as connection:
        refresh(aggregates)
        connection.execute(NOTES.replace("%%", "%"))
        began = time.perf_counter()
        refresh(aggregates, pairs=False)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    server = Server()
    try:
        fill(server.dsn, given.rows)
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            list(pool.map(abs, range(2)))
            best = [float("inf"), float("inf")]
            for _ in range(given.rounds):
                with psycopg.connect(server.dsn, autocommit=True) as connection:
                    connection.execute("truncate chillflow.kpi_zone_hourly")
                best = [min(best[0], ours(server.dsn, pool)), min(best[1], peer(server.dsn))]
                print(f"two slices {best[0]:.2f} s, one CREATE TABLE AS {best[1]:.2f} s", flush=True)
        seconds = noted(server.dsn)
    finally:
        server.close()
    print(f"aggregate: {best[0]:.2f} s, psql {best[1]:.2f} s, ratio {best[0] / best[1]:.2f}; 100 notes {seconds:.2f} s")


if __name__ == "__main__":
    main()
