-- What the commands show. %(words)s are values.

-- name: trip_in_trips
-- start and end bound the pickup, which the id tells, so that one partition is looked into.
select 'trips' as "table", trips.*, chillflow.flag_names(flags) as flag_names
from chillflow.trips
where trip_id = %(trip_id)s and pickup_at >= %(start)s and pickup_at < %(end)s

-- name: trip_in_adjustments
select 'adjustments' as "table", adjustments.*
from chillflow.adjustments
where trip_id = %(trip_id)s

-- name: trip_in_quarantine
select 'quarantine' as "table", quarantine.*
from chillflow.quarantine
where trip_id = %(trip_id)s
order by chillflow.of_file(reason), service, month, source_row

-- name: count_rows
-- Rows of a month in each table, by reason in quarantine: what the ledger must agree with.
select 'trips' as "table", null as reason, count(*) as rows
from chillflow.trips
where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
union all
select 'adjustments', null, count(*)
from chillflow.adjustments
where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
union all
select 'quarantine', reason, count(*)
from chillflow.quarantine
where service = %(service)s and month = %(month)s
group by reason
order by 1, 2
