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

-- name: trip_in_incomplete_trips
select 'incomplete_trips' as "table", incomplete_trips.*
from chillflow.incomplete_trips
where trip_id = %(trip_id)s

-- name: read_dead_letters
-- Null values ask for all; the latest first.
select *
from chillflow.dead_letters
where (%(topic)s::text is null or topic = %(topic)s)
    and (%(partition)s::int is null or partition = %(partition)s)
    and (%(reason)s::text is null or reason like %(reason)s)
    and (%(redriven)s::boolean is null or (redriven_at is not null) = %(redriven)s)
order by at desc, topic_id, partition, "offset"
limit %(limit)s

-- name: mark_redriven
update chillflow.dead_letters as d
set redriven_at = clock_timestamp()
from unnest(%(topic_ids)s::text[], %(partitions)s::int[], %(offsets)s::bigint[]) as sent (topic_id, partition, "offset")
where d.topic_id = sent.topic_id and d.partition = sent.partition and d."offset" = sent."offset"

-- name: read_incomplete
-- Null values ask for all; the latest pickup first.
select *
from chillflow.incomplete_trips
where (%(service)s::text is null or service = %(service)s)
    and (%(start)s::timestamp is null or pickup_at >= %(start)s)
    and (%(end)s::timestamp is null or pickup_at < %(end)s)
    and (%(missing)s::text is null or %(missing)s = any(missing))
order by pickup_at desc, trip_id
limit %(limit)s

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
union all
select 'incomplete_trips', null, count(*)
from chillflow.incomplete_trips
where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
having count(*) > 0
order by 1, 2
