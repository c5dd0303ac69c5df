"""What a warehouse holds, as a value that two runs can be compared by."""

import psycopg

TABLES = {
    "trips": "select * from chillflow.trips order by pickup_at, trip_id",
    "quarantine": "select * from chillflow.quarantine order by service, month, reason, trip_id, source_row",
    "adjustments": "select * from chillflow.adjustments order by trip_id",
    "kpi_zone_hourly": "select * from chillflow.kpi_zone_hourly order by service, zone_id, hour",
    "kpi_pairs_monthly": "select * from chillflow.kpi_pairs_monthly order by 1, 2, 3, 4",
    "kpi_dirty": "select service, zone_id, hour from chillflow.kpi_dirty order by 1, 2, 3",
    "months": "select service, month, path, status, rows_in, trips, quarantined, adjustments, counts, source_size, "
    "source_checksum, rules_version from chillflow.months order by service, month, path",
    "tables": "select relname from pg_class where relnamespace = 'chillflow'::regnamespace and relkind in ('r', 'p') "
    "order by relname",
}


def dump(dsn: str) -> dict[str, tuple[int, str]]:
    """Rows and a checksum of each table, and of the list of tables."""
    found = {}
    with psycopg.connect(dsn) as connection:
        for name, rows in TABLES.items():
            text = f"select count(*), coalesce(md5(string_agg(md5(r::text), '' order by n)), '') "  # noqa: F541
            text += f"from (select row_number() over () as n, t as r from ({rows}) as t) as numbered"
            found[name] = connection.execute(text).fetchone()
    return found
