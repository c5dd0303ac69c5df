-- KPIs as people ask for them. Words in braces are columns and measures, %(words)s are values: services, months (first days),
-- start and end of all of them, zones (ids, or null for all).

-- name: read_kpi_revisions
select service, slice, revision::text as revision
from chillflow.kpi_revisions
where service = any(%(services)s)
    and date_trunc('month', slice)::date = any(%(months)s::date[])
order by service, slice

-- name: read_kpi_months
-- Months with zone-hours. A slice may have been computed, and nothing found.
select distinct date_trunc('month', slice)::date as month
from chillflow.kpi_revisions as known
where service = any(%(services)s)
    and exists (
        select from chillflow.kpi_zone_hourly as found
        where found.service = known.service
            and found.hour >= known.slice
            and found.hour < least(known.slice + interval '16 days', date_trunc('month', known.slice) + interval '1 month')
    )
order by 1

-- name: read_kpis
select {key}, {measures}
from chillflow.kpi_zone_hourly
left join chillflow.zones using (zone_id)
where service = any(%(services)s)
    and hour >= %(start)s
    and hour < %(end)s
    and date_trunc('month', hour)::date = any(%(months)s::date[])
    and (%(zones)s::int[] is null or zone_id = any(%(zones)s::int[]))
group by {places}
order by {places}
