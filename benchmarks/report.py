"""A report of a year: `python -m benchmarks.report`.

The warehouse holds invented zone-hours and pairs of zones of twelve months, about as many as the city's: 1.5 million
zone-hours, 600,000 pairs. Measured is `chillflow report` as a process, from its start to its end. If --redis names a
server, the second run finds there what the first has read.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from benchmarks.load import Server
from chillflow import zones
from chillflow.kpis import HUNDREDTHS, MEASURES
from chillflow.stores.warehouse import Warehouse

BUSY = {"yellow": 0.55, "green": 0.12}
"""The share of a month's zone-hours in which anything happens."""

PAIRS = """
insert into chillflow.kpi_pairs_monthly
select 'yellow', month, a, b, 1 + (random() * 300)::int, 4000, 200000, 200, 5 + random() * 60
from generate_series(date '2019-01-01', '2019-12-01', '1 month') as month, generate_series(1, 263) as a,
    generate_series(1, 263) as b
where hashtext(a::text || '-' || b::text || month::text) % 4 <> 0
"""
LEDGER = """
insert into chillflow.months (service, month, path, status, rows_in, trips, quarantined, adjustments, counts,
    started_at, loaded_at, aggregated_at, code_version, rules_version)
select service, month, 'batch', 'done', 1010, 1000, 10, 0, '{"zero_total": 10}', now(), now(), now(), 'bench', 1
from unnest(array['yellow', 'green']) as service, generate_series(date '2019-01-01', '2019-12-01', '1 month') as month
"""
REVISIONS = """
insert into chillflow.kpi_revisions
select service, slice, id, id, now()
from (select distinct service, date_trunc('month', hour)::date + (extract(day from hour) >= 16)::int * 15 as slice,
        gen_random_uuid() as id from (select service, month + half * interval '15 days' as hour
            from chillflow.months, generate_series(0, 1) as half) as halves) as known
"""


def zone_hours(service: str) -> str:
    """An INSERT of a year of a service, each measure some number of the hour's pickups."""
    names = [measure.name for measure in MEASURES]
    values = [
        "n" if name == "pickups" else f"n * {3 if measure.unit in HUNDREDTHS else 1}"
        for name, measure in zip(names, MEASURES, strict=True)
    ]
    return f"""
        insert into chillflow.kpi_zone_hourly (service, zone_id, hour, {", ".join(names)})
        select '{service}', zone, hour, {", ".join(values)}
        from (
            select zone, hour, 1 + (random() * 60)::int as n
            from generate_series(timestamp '2019-01-01', '2019-12-31 23:00', '1 hour') as hour,
                generate_series(1, 263) as zone
            where random() < {BUSY[service]}
        ) as hours"""


def fill(dsn: str) -> None:
    with Warehouse(dsn) as warehouse:
        warehouse.migrate()
        warehouse.load_zones((zone.id, zone.borough, zone.name, zone.service_zone) for zone in zones.ZONES)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in (*map(zone_hours, BUSY), PAIRS, LEDGER, REVISIONS, "vacuum analyze", "checkpoint"):
            connection.execute(statement)  # type: ignore[call-overload]
        for table in ("kpi_zone_hourly", "kpi_pairs_monthly"):
            [(rows,)] = connection.execute(f"select count(*) from chillflow.{table}")  # type: ignore[call-overload]
            print(f"{table}: {rows:,} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", help="redis://HOST:PORT/0")
    parser.add_argument("--keep", type=Path, help="write the page there")
    given = parser.parse_args()
    server = Server()
    try:
        fill(server.dsn)
        with tempfile.TemporaryDirectory() as folder:
            page = given.keep or Path(folder) / "report.html"
            env = os.environ | {"CHILLFLOW_POSTGRES_DSN": server.dsn, "CHILLFLOW_HOME": folder}
            env |= {"CHILLFLOW_REDIS_URL": given.redis} if given.redis else {}
            for what in ("first, the chart library is bundled too", "again"):
                began = time.perf_counter()
                subprocess.run([sys.executable, "-m", "chillflow.cli", "report", "--to", page], env=env, check=True)
                print(f"report of 12 months, {what}: {time.perf_counter() - began:.1f} s", flush=True)
            print(f"{page.stat().st_size / 1e6:.2f} MB")
    finally:
        server.close()


if __name__ == "__main__":
    main()
