-- What a report reads: sums of zone-hours of the months that the ledger has, of all months where none are named.
-- {sums} are sums of measures under their names.

-- name: report_revisions
-- What an answer about these months depends on: their zone-hours and their pairs.
select service, slice, concat_ws(' ', revision, pairs_revision) as revision
from chillflow.kpi_revisions
where %(months)s::date[] is null or date_trunc('month', slice)::date = any(%(months)s::date[])
order by 1, 2

-- name: report_boroughs
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
)
select service, borough, hour::date as day, {sums}
from wanted
join chillflow.kpi_zone_hourly using (service)
join chillflow.zones using (zone_id)
where hour >= month and hour < month + interval '1 month'
group by 1, 2, 3

-- name: report_zones
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
)
select service, zone_id, month, {sums}
from wanted
join chillflow.kpi_zone_hourly using (service)
where hour >= month and hour < month + interval '1 month'
group by 1, 2, 3

-- name: report_week
with wanted as (
    select distinct service, month from chillflow.months
    where %(months)s::date[] is null or month = any(%(months)s::date[])
)
select
    service, zone_id, extract(isodow from hour)::int as weekday, extract(hour from hour)::int as hour, {sums}
from wanted
join chillflow.kpi_zone_hourly using (service)
where hour >= month and hour < month + interval '1 month'
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
