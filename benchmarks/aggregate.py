"""Zone-hours in PostgreSQL, beside psql and DuckDB: `python -m benchmarks.aggregate --rows 12000000`.

Ours is a month's two slices, one after the other and side by side, each in a process as the job's tasks compute them.
The peers are one session's INSERT of the same measures into a table with the same keys, and a CREATE TABLE AS, at which
PostgreSQL works in parallel, with the keys made after it. Then the month is taken from the lake's measures, beside
DuckDB's fold of the same trips in Parquet; last, 100 zone-hours are noted, within five hours of a day, and refreshed.
"""

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.load import BATCH, MONTH, Server, trips
from chillflow import kpis
from chillflow.jobs.refreshing import refresh
from chillflow.kpis import MEASURES
from chillflow.slices import Slice, halves
from chillflow.stores.aggregates import Aggregates
from chillflow.stores.ledger import MonthEntry
from chillflow.stores.warehouse import Warehouse
from chillflow.trips import ADJUSTMENTS, to_frame

FOLD = Path(__file__).parents[1] / "tests" / "acceptance" / "kpi_fold.sql"
NOTES = """
insert into chillflow.kpi_dirty (service, zone_id, hour)
select 'yellow', 1 + n, timestamp '2019-01-20' + n %% 5 * interval '1 hour' from generate_series(0, 99) as n
"""


def fill(dsn: str, table: pa.Table) -> None:
    rows = len(table)
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


def select() -> str:
    measures = ", ".join(f"coalesce({one.name}, 0) as {one.name}" for one in MEASURES if one.at != "reversal")
    sides = f"{side('pickup')} full join {side('dropoff')} using (zone_id, hour)"
    return f"select 'yellow'::text as service, zone_id, hour, {measures} from {sides}"


def insert() -> list[str]:
    names = ", ".join(one.name for one in MEASURES if one.at != "reversal")
    return [
        "create table peer (like chillflow.kpi_zone_hourly including all)",
        f"insert into peer (service, zone_id, hour, {names}) {select()}",
    ]


def create() -> list[str]:
    return [
        f"create table peer as {select()}",
        "alter table peer add primary key (service, zone_id, hour)",
        "create index on peer (service, hour)",
    ]


def peer(dsn: str, statements: list[str]) -> float:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set work_mem = '128MB'")
        connection.execute("set jit = off")
        began = time.perf_counter()
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]
        seconds = time.perf_counter() - began
        connection.execute("drop table peer")
    return seconds


def one(dsn: str, hours: Slice) -> int:
    with Aggregates(dsn) as aggregates:
        return aggregates.all_of(hours)


def in_turn(dsn: str) -> float:
    began = time.perf_counter()
    assert sum(one(dsn, hours) for hours in halves("yellow", MONTH)) > 0
    return time.perf_counter() - began


def side_by_side(dsn: str, pool: ProcessPoolExecutor) -> float:
    began = time.perf_counter()
    parts = [pool.submit(one, dsn, hours) for hours in halves("yellow", MONTH)]
    assert sum(part.result() for part in parts) > 0
    return time.perf_counter() - began


def measures(table: pa.Table) -> pa.Table:
    """What curation leaves in the lake."""
    none = to_frame(ADJUSTMENTS.empty_table())
    parts = (kpis.partial(to_frame(table.slice(at, BATCH * 4)), none) for at in range(0, len(table), BATCH * 4))
    return kpis.to_table(kpis.merge(parts))


def from_lake(dsn: str, file: Path) -> float:
    began = time.perf_counter()
    with Aggregates(dsn) as aggregates:
        for hours in halves("yellow", MONTH):
            assert aggregates.given(hours, [pq.read_table(file)], lambda row: True)
    return time.perf_counter() - began


def folded(file: Path) -> float:
    with duckdb.connect() as db:
        db.execute(f"create view trips as from '{file}'")
        db.register("adjustments", ADJUSTMENTS.empty_table().drop_columns("trip_id"))
        began = time.perf_counter()
        db.execute(f"create table peer as {FOLD.read_text()}")
        return time.perf_counter() - began


def noted(dsn: str) -> float:
    with Aggregates(dsn) as aggregates, psycopg.connect(dsn, autocommit=True) as connection:
        refresh(aggregates)
        connection.execute(NOTES.replace("%%", "%"))
        began = time.perf_counter()
        refresh(aggregates, pairs=False)
        return time.perf_counter() - began


def best(rounds: int, dsn: str, runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Seconds of each, the best of the rounds; ours begin with no zone-hours."""
    found = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("truncate chillflow.kpi_zone_hourly")
                connection.execute("checkpoint")
            found[name] = min(found[name], run())
            print(f"{name:40} {found[name]:6.2f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    server = Server()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(2, get_context("spawn")) as pool,
        ):
            list(pool.map(abs, range(2)))
            lake, stored = Path(folder) / "trips.parquet", Path(folder) / "kpis.parquet"
            table = trips(given.rows)
            fill(server.dsn, table)
            pq.write_table(table.drop_columns("trip_id"), lake, compression="zstd")
            pq.write_table(measures(table), stored, compression="zstd")
            del table
            found = best(
                given.rounds,
                server.dsn,
                {
                    "slices in turn": lambda: in_turn(server.dsn),
                    "psql, INSERT": lambda: peer(server.dsn, insert()),
                    "slices side by side": lambda: side_by_side(server.dsn, pool),
                    "psql, CREATE TABLE AS in parallel": lambda: peer(server.dsn, create()),
                    "from the lake": lambda: from_lake(server.dsn, stored),
                    "DuckDB over Parquet": lambda: folded(lake),
                },
            )
        seconds = noted(server.dsn)
    finally:
        server.close()
    times = list(found.items())
    for (name, mine), (other, its) in zip(times[::2], times[1::2], strict=True):
        print(f"{name} {mine:.2f} s, {other} {its:.2f} s: {mine / its:.2f}")
    print(f"100 noted zone-hours refreshed in {seconds:.2f} s")


if __name__ == "__main__":
    main()
