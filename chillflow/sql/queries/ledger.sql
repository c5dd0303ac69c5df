-- The ledger of months. %(words)s are values.

-- name: write_month
-- A month's file is loaded: what is known of an earlier one is replaced, and its KPIs are no longer right.
insert into chillflow.months (
    service, month, path, status, rows_in, trips, quarantined, adjustments, counts,
    source, source_size, source_etag, source_checksum, code_version, rules_version, started_at, loaded_at, seconds
)
values (
    %(service)s, %(month)s, 'batch', 'loaded', %(rows_in)s, %(trips)s, %(quarantined)s, %(adjustments)s, %(counts)s,
    %(source)s, %(source_size)s, %(source_etag)s, %(source_checksum)s, %(code_version)s, %(rules_version)s,
    %(started_at)s, clock_timestamp(), %(seconds)s + extract(epoch from clock_timestamp() - now())
)
on conflict (service, month, path) do update set
    status = excluded.status,
    rows_in = excluded.rows_in,
    trips = excluded.trips,
    quarantined = excluded.quarantined,
    adjustments = excluded.adjustments,
    counts = excluded.counts,
    source = excluded.source,
    source_size = excluded.source_size,
    source_etag = excluded.source_etag,
    source_checksum = excluded.source_checksum,
    code_version = excluded.code_version,
    rules_version = excluded.rules_version,
    started_at = excluded.started_at,
    loaded_at = excluded.loaded_at,
    aggregated_at = null,
    seconds = excluded.seconds

-- name: mark_aggregated
update chillflow.months
set status = 'done', aggregated_at = clock_timestamp()
where service = %(service)s and month = %(month)s and path = 'batch'

-- name: read_months
select * from chillflow.months order by service, month, path

-- name: read_month
select * from chillflow.months where service = %(service)s and month = %(month)s and path = %(path)s
