-- PostgreSQL as assembly sees it. Words in braces are identifiers or lists of columns, %(words)s are values; lists of ids
-- and offsets are array literals. The numbers are the steps of docs/assembly.md.

-- name: set_up_assembler
-- Sessions hold locks that others wait for: none may last. Look-ups are by id, and must stay index scans at any size.
select set_config(name, value, false)
from unnest(%(names)s::text[], %(values)s::text[]) as setting (name, value)
where name in (select pg_settings.name from pg_settings)

-- name: begin
begin

-- name: commit
commit

-- name: rollback
rollback

-- name: lock_positions
-- 3a: the rows that are still this claim's, where this batch begins.
select p.partition
from chillflow.assembly_partitions as p
join unnest(%(partitions)s::int[], %(epochs)s::bigint[], %(begins)s::bigint[]) as mine (partition, epoch, begin)
    on p.partition = mine.partition and p.epoch = mine.epoch and p.next_offset = mine.begin
where p.topic = %(topic)s
order by p.partition
for update of p

-- name: lock_months_shared
-- 3b: no load of these months commits before this transaction ends; services and months are sorted.
select pg_advisory_xact_lock_shared(hashtextextended(format('chillflow month %%s %%s', service, month), 0))
from unnest(%(services)s::text[], %(months)s::date[]) as touched (service, month)

-- name: months_with_file
-- 3b: sent with the locks, but seen after they are held.
select service, month
from unnest(%(services)s::text[], %(months)s::date[]) as touched (service, month)
join chillflow.months using (service, month)
where path = 'batch'

-- name: look_up
-- 3c: the rows that stand for these trips, with raw values. The pickup, which an id begins with, tells the partition;
-- start and end, the range of all pickups, leave the other partitions out of the plan. `offset 0` keeps the search for one
-- trip together: else a range of `trips` may be read once for each.
with wanted as materialized (
    select trip_id, timestamp '1970-01-01' + milliseconds * interval '1 millisecond' as pickup
    from unnest(%(ids)s::uuid[], %(milliseconds)s::bigint[]) as given (trip_id, milliseconds)
)
select 'trips', {columns}, t.raw::text
from wanted
cross join lateral (
    select *
    from chillflow.trips
    where trips.pickup_at >= wanted.pickup
        and trips.pickup_at < wanted.pickup + interval '1 millisecond'
        and trips.trip_id = wanted.trip_id
        and trips.pickup_at >= %(start)s
        and trips.pickup_at < %(end)s
    offset 0
) as t
union all
select 'quarantine', {columns}, null
from wanted
cross join lateral (
    select * from chillflow.quarantine where trip_id = wanted.trip_id and not chillflow.of_file(reason) offset 0
) as t
union all
select 'adjustments', {columns}, null
from wanted
cross join lateral (select * from chillflow.adjustments where trip_id = wanted.trip_id offset 0) as t
union all
select 'incomplete_trips', {columns}, null
from wanted
cross join lateral (select * from chillflow.incomplete_trips where trip_id = wanted.trip_id offset 0) as t

-- name: reversals_between
-- 3c: reversals whose pickups lie near those of trips that are complete now: few, so a range is read for many ids.
select reversal.trip_id::text
from unnest(%(first)s::uuid[], %(last)s::uuid[]) as near (first, last)
cross join lateral (
    select trip_id from chillflow.adjustments where trip_id >= near.first and trip_id <= near.last offset 0
) as reversal

-- name: take_out_trips
-- 3e: from one month's partition.
with gone as materialized (
    select trip_id, timestamp '1970-01-01' + milliseconds * interval '1 millisecond' as pickup
    from unnest(%(ids)s::uuid[], %(milliseconds)s::bigint[]) as given (trip_id, milliseconds)
)
delete from {partition}
where ctid = any(
    array(
        select found.ctid
        from gone
        cross join lateral (
            select t.ctid
            from {partition} as t
            where t.pickup_at >= gone.pickup
                and t.pickup_at < gone.pickup + interval '1 millisecond'
                and t.trip_id = gone.trip_id
            offset 0
        ) as found
    )
)

-- name: take_out_quarantine
delete from chillflow.quarantine where trip_id = any(%(ids)s::uuid[]) and not chillflow.of_file(reason)

-- name: take_out_adjustments
delete from chillflow.adjustments where trip_id = any(%(ids)s::uuid[])

-- name: take_out_incomplete_trips
delete from chillflow.incomplete_trips where trip_id = any(%(ids)s::uuid[])

-- name: note_dirty
insert into chillflow.kpi_dirty (service, zone_id, hour)
select * from unnest(%(services)s::text[], %(zones)s::int[], %(hours)s::timestamp[])

-- name: bury
insert into chillflow.dead_letters (topic, topic_id, partition, "offset", key, payload, reason)
select %(topic)s, %(topic_id)s, letter.*
from unnest(
    %(partitions)s::int[], %(offsets)s::bigint[], %(keys)s::bytea[], %(payloads)s::bytea[], %(reasons)s::text[]
) as letter
on conflict (topic_id, partition, "offset") do nothing

-- name: advance
-- 3f
update chillflow.assembly_partitions as p
set next_offset = new.next_offset,
    rewind_offset = new.rewind_offset,
    watermark = new.watermark,
    max_pickup = new.max_pickup,
    open_trips = new.open_trips,
    oldest_at = new.oldest_at,
    backend_pid = pg_backend_pid(),
    backend_start = %(backend_start)s,
    updated_at = clock_timestamp()
from unnest(
    %(partitions)s::int[], %(epochs)s::bigint[], %(next)s::bigint[], %(rewind)s::bigint[],
    %(watermarks)s::timestamp[], %(pickups)s::timestamp[], %(open)s::bigint[], %(oldest)s::timestamp[]
) as new (partition, epoch, next_offset, rewind_offset, watermark, max_pickup, open_trips, oldest_at)
where p.topic = %(topic)s
    and p.partition = new.partition
    and p.epoch = new.epoch
    and p.next_offset <= new.next_offset
returning p.partition
