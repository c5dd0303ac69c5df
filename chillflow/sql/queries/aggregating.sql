-- KPIs of a slice: half a month of a service. Words in braces are the measures of kpis.py, %(words)s are values: service,
-- slice (its first day), start and end of the hours; month where it is about a whole one.

-- name: lock_slice
-- Aggregations of a slice go one after the other. Taken before the transaction, whose snapshot must be later.
select pg_advisory_lock(hashtextextended(format('chillflow kpis %%s %%s', %(service)s, %(slice)s), 0))

-- name: let_go_of_slice
select pg_advisory_unlock_all()

-- name: read_hour_by_hour
-- A month's hours are found by the key of `trips`, each by itself, so that what is summed up at a time fits into the
-- processor's caches. The planner, which knows nothing of an hour's share, would sort or hash a whole slice.
select set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: touch_all
-- The hours to compute; without zones: in all of them.
create temporary table touched on commit drop as
select hour, null::int[] as zones
from generate_series(%(start)s::timestamp, %(end)s::timestamp - interval '1 hour', interval '1 hour') as hour

-- name: touch_noted
-- The hours that notes tell of, in the zones that they name.
create temporary table touched on commit drop as
select hour, case when bool_or(zone_id is null) then null else array_agg(distinct zone_id) end as zones
from chillflow.kpi_dirty
where service = %(service)s and hour >= %(start)s and hour < %(end)s
group by hour

-- name: delete_notes
-- The notes that this transaction's snapshot shows, and no later ones.
delete from chillflow.kpi_dirty where service = %(service)s and hour >= %(start)s and hour < %(end)s

-- name: sum_pickups
create temporary table fresh_pickups on commit drop as
select sums.*, touched.hour
from pg_temp.touched
cross join lateral (
    select pickup_zone_id as zone_id, {measures}
    from chillflow.trips
    where service = %(service)s
        and pickup_at >= touched.hour
        and pickup_at < touched.hour + interval '1 hour'
        and pickup_at >= %(start)s
        and pickup_at < %(end)s
        and (touched.zones is null or pickup_zone_id = any(touched.zones))
    group by pickup_zone_id
) as sums

-- name: sum_dropoffs
-- Trips last 24 h at most: they are looked for by the hours in which they may have begun, `reach` and later. date_bin makes
-- the hour of a dropoff in a third of the time of date_trunc.
create temporary table fresh_dropoffs on commit drop as
select sums.zone_id, sums.hour, {totals}
from (
    select distinct touched.hour - before * interval '1 hour' as at
    from pg_temp.touched
    cross join generate_series(0, 24) as before
) as begun
cross join lateral (
    select dropoff_zone_id as zone_id, date_bin('1 hour', dropoff_at, begun.at) as hour, {measures}
    from chillflow.trips
    where service = %(service)s
        and pickup_at >= begun.at
        and pickup_at < begun.at + interval '1 hour'
        and pickup_at >= %(reach)s
        and pickup_at < %(until)s
        and dropoff_at >= %(start)s
        and dropoff_at < %(end)s
    group by 1, 2
) as sums
join pg_temp.touched on touched.hour = sums.hour
where touched.zones is null or sums.zone_id = any(touched.zones)
group by sums.zone_id, sums.hour

-- name: sum_reversals
create temporary table fresh_reversals on commit drop as
select sums.*
from (
    select pickup_zone_id as zone_id, date_trunc('hour', pickup_at) as hour, {measures}
    from chillflow.adjustments
    where service = %(service)s and pickup_zone_id is not null and pickup_at >= %(start)s and pickup_at < %(end)s
    group by 1, 2
) as sums
join pg_temp.touched on touched.hour = sums.hour
where touched.zones is null or sums.zone_id = any(touched.zones)

-- name: join_sums
-- What the zone-hours must be.
create temporary table fresh_kpis on commit drop as
select %(service)s::text as service, zone_id, hour, {totals}
from pg_temp.fresh_pickups
full join pg_temp.fresh_dropoffs using (zone_id, hour)
full join pg_temp.fresh_reversals using (zone_id, hour)

-- name: create_fresh_kpis
-- The same, to be filled with what the lake knows.
create temporary table fresh_kpis (like chillflow.kpi_zone_hourly including defaults) on commit drop

-- name: add_dropoffs
merge into pg_temp.fresh_kpis as fresh
using pg_temp.fresh_dropoffs as further on fresh.zone_id = further.zone_id and fresh.hour = further.hour
when matched then update set dropoffs = fresh.dropoffs + further.dropoffs
when not matched then insert (service, zone_id, hour, dropoffs)
values (%(service)s, further.zone_id, further.hour, further.dropoffs)

-- name: delete_stale_kpis
delete from chillflow.kpi_zone_hourly as old
using pg_temp.touched
where old.service = %(service)s
    and old.hour = touched.hour
    and old.hour >= %(start)s
    and old.hour < %(end)s
    and (touched.zones is null or old.zone_id = any(touched.zones))
    and not exists (
        select from pg_temp.fresh_kpis as new
        where new.zone_id = old.zone_id
            and new.hour = old.hour
            and ({new_columns}) is not distinct from ({old_columns})
    )

-- name: insert_fresh_kpis
insert into chillflow.kpi_zone_hourly ({columns})
select {columns}
from pg_temp.fresh_kpis as new
where not exists (
    select from chillflow.kpi_zone_hourly as old
    where old.service = %(service)s
        and old.zone_id = new.zone_id
        and old.hour = new.hour
        and old.hour >= %(start)s
        and old.hour < %(end)s
)

-- name: revise
-- Readers know by the revision whether what they remember is still right.
insert into chillflow.kpi_revisions (service, slice, revision, refreshed_at)
values (%(service)s, %(slice)s, gen_random_uuid(), clock_timestamp())
on conflict (service, slice) do update set revision = excluded.revision, refreshed_at = excluded.refreshed_at

-- name: read_noted
-- The slices that notes tell of.
select service, date_trunc('month', hour)::date + (extract(day from hour) >= 16)::int * 15 as slice, count(*) as notes
from chillflow.kpi_dirty
group by 1, 2
order by 2, 1

-- name: try_to_hold_month
-- Whether no load of the month is about to commit.
select pg_try_advisory_xact_lock_shared(hashtextextended(format('chillflow month %%s %%s', %(service)s, %(month)s), 0)) as held

-- name: mark_aggregated
-- Months whose last load is in the KPIs: no note of its hours is left, nor of those in which its last trips end.
update chillflow.months
set status = 'done', aggregated_at = clock_timestamp()
where service = %(service)s
    and month = %(month)s
    and path = 'batch'
    and status = 'loaded'
    and not exists (
        select from chillflow.kpi_dirty as note
        where note.service = %(service)s and note.hour >= %(start)s and note.hour < %(end)s + interval '25 hours'
    )

-- name: read_loaded
select service, month from chillflow.months where path = 'batch' and status = 'loaded' order by month, service

-- name: has_rows
-- Whether anything is known of a month.
select exists (
        select from chillflow.months where service = %(service)s and month = %(month)s
    )
    or exists (
        select from chillflow.trips
        where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
    )
    or exists (
        select from chillflow.kpi_zone_hourly
        where service = %(service)s and hour >= %(start)s and hour < %(end)s
    ) as there

-- name: lock_pairs
select pg_advisory_lock(hashtextextended(format('chillflow pairs %%s %%s', %(service)s, %(month)s), 0))

-- name: read_stale_pairs
-- Months whose zone-hours were refreshed since their pairs were.
select distinct service, date_trunc('month', slice)::date as month
from chillflow.kpi_revisions
where pairs_revision is distinct from revision
order by 2, 1

-- name: read_revisions
select slice, revision
from chillflow.kpi_revisions
where service = %(service)s and slice >= %(start)s and slice < %(end)s

-- name: create_fresh_pairs
create temporary table fresh_pairs on commit drop as
select
    %(service)s::text as service,
    %(month)s::date as month,
    pickup_zone_id,
    dropoff_zone_id,
    count(*) as trips,
    coalesce(sum(fare_amount), 0)::numeric(14, 2) as fare_sum,
    coalesce({duration_sum}, 0) as duration_sum,
    {duration_n} as duration_n,
    percentile_disc(0.5) within group (order by fare_amount) as median_fare
from chillflow.trips
where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
group by pickup_zone_id, dropoff_zone_id

-- name: delete_stale_pairs
delete from chillflow.kpi_pairs_monthly as old
where old.service = %(service)s
    and old.month = %(month)s
    and not exists (select from pg_temp.fresh_pairs as new where (new.*) is not distinct from (old.*))

-- name: insert_fresh_pairs
insert into chillflow.kpi_pairs_monthly
select new.*
from pg_temp.fresh_pairs as new
where not exists (
    select from chillflow.kpi_pairs_monthly as old
    where old.service = new.service
        and old.month = new.month
        and old.pickup_zone_id = new.pickup_zone_id
        and old.dropoff_zone_id = new.dropoff_zone_id
)

-- name: mark_pairs
-- The revisions that the pairs were computed after: what was refreshed since is not in them yet.
update chillflow.kpi_revisions as known
set pairs_revision = seen.revision
from unnest(%(slices)s::date[], %(revisions)s::uuid[]) as seen (slice, revision)
where known.service = %(service)s and known.slice = seen.slice
