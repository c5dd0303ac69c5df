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

-- name: count_stream
-- What became of the rows that a replay sent, counted from the tables: rows_in is the replay's to write.
with trips_by_flags as (
    select flags, count(*) as rows
    from chillflow.trips
    where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s and source = 'stream'
    group by flags
),
found as (
    select 'trips' as place, null as name, coalesce(sum(rows), 0) as rows from trips_by_flags
    union all
    select 'flags', flag, sum(rows) from trips_by_flags cross join unnest(chillflow.flag_names(flags)) as flag group by flag
    union all
    select 'quarantine', reason, count(*)
    from chillflow.quarantine
    where service = %(service)s and month = %(month)s and source = 'stream'
    group by reason
    union all
    select 'adjustments', 'reversal', count(*)
    from chillflow.adjustments
    where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s and source = 'stream'
    union all
    select 'incomplete', 'incomplete', count(*)
    from chillflow.incomplete_trips
    where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
),
counted as (
    select
        coalesce(sum(rows) filter (where place = 'trips'), 0) as trips,
        coalesce(sum(rows) filter (where place = 'quarantine'), 0) as quarantined,
        coalesce(sum(rows) filter (where place = 'adjustments'), 0) as adjustments,
        coalesce(jsonb_object_agg(name, rows) filter (where name is not null and rows > 0), '{}') as counts
    from found
)
update chillflow.months
set trips = counted.trips,
    quarantined = counted.quarantined,
    adjustments = counted.adjustments,
    counts = counted.counts,
    loaded_at = clock_timestamp()
from counted
where service = %(service)s and month = %(month)s and path = 'stream'

-- name: read_months
select * from chillflow.months order by service, month, path

-- name: read_month
select * from chillflow.months where service = %(service)s and month = %(month)s and path = %(path)s
