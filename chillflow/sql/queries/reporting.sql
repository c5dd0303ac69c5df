-- What a report reads: sums of zone-hours of the months that the ledger has, of all months where none are named.
-- {sums} are sums of measures under their names.

-- name: report_revisions
-- What an answer about these months depends on: their zone-hours and their pairs.
select service, slice, concat_ws(' ', revision, pairs_revision) as revision
from chillflow.kpi_revisions
where %(months)s::date[] is null or date_trunc('month', slice)::date = any(%(months)s::date[])
order by 1, 2

-- name: read_by_month
-- The planner, which knows nothing of a month's share, would sort all zone-hours on disk.
select set_config('jit', 'off', true), set_config('enable_sort', 'off', true), set_config('work_mem', '64MB', true)

-- name: report_boroughs
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
)
select service, sums.*
from wanted
cross join lateral (
    select borough, hour::date as day, {sums}
    from chillflow.kpi_zone_hourly as hourly
    join chillflow.zones using (zone_id)
    where hourly.service = wanted.service and hour >= month and hour < month + interval '1 month'
    group by 1, 2
) as sums

-- name: report_zones
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
)
select service, month, sums.*
from wanted
cross join lateral (
    select zone_id, {sums}
    from chillflow.kpi_zone_hourly as hourly
    where hourly.service = wanted.service and hour >= month and hour < month + interval '1 month'
    group by 1
) as sums

-- name: report_week
-- By the time since Monday's midnight, of months that follow each other at once; the week that date_bin counts from begins
-- on a Monday, and to take an hour apart would cost more than to sum it up.
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
),
stretches as (
    select service, min(month)::timestamp as start, max(month) + interval '1 month' as past
    from (
        select service, month,
            month - row_number() over (partition by service order by month) * interval '1 month' as stretch
        from wanted
    ) as numbered
    group by service, stretch
)
select service, zone_id, extract(day from since)::int + 1 as weekday, extract(hour from since)::int as hour, {sums}
from stretches
cross join lateral (
    select zone_id, hour - date_bin('7 days', hour, '2001-01-01') as since, {sums}
    from chillflow.kpi_zone_hourly as hourly
    where hourly.service = stretches.service and hour >= start and hour < past
    group by 1, 2
) as sums
group by 1, 2, 3, 4

-- name: report_hours
-- Hours of some days, which may lie in months beside those of the report.
select service, hour as at, sum(pickups)::bigint as pickups
from chillflow.kpi_zone_hourly
where hour::date = any(%(days)s::date[]) and hour >= %(first)s::date and hour < %(last)s::date + 1
group by 1, 2

-- name: report_pairs
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
)
select service, month, pickup_zone_id, dropoff_zone_id, trips, fare_sum, duration_sum, duration_n, median_fare
from wanted
join chillflow.kpi_pairs_monthly using (service, month)

-- name: copy_out
copy ({question}) to stdout (format csv)
