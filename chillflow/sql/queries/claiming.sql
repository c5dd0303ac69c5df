-- Groups and claims of partitions. %(words)s are values.

-- name: lock_groups
-- One coordinator at a time takes a group or changes its topic.
select pg_advisory_xact_lock(hashtextextended('chillflow groups', 0))

-- name: read_groups
select * from chillflow.assembly_groups order by name

-- name: read_group
select * from chillflow.assembly_groups where name = %(group)s

-- name: take_group
insert into chillflow.assembly_groups as taken (
    name, epoch, topic, topic_id, partitions, size, minimum, maximum, lag_target
)
values (
    %(group)s, 1, %(topic)s, %(topic_id)s, %(partitions)s, %(size)s, %(minimum)s, %(maximum)s, %(lag_target)s
)
on conflict (name) do update set
    epoch = taken.epoch + 1,
    topic = excluded.topic,
    topic_id = excluded.topic_id,
    partitions = excluded.partitions,
    size = excluded.size,
    minimum = excluded.minimum,
    maximum = excluded.maximum,
    lag_target = excluded.lag_target,
    updated_at = clock_timestamp()
returning *

-- name: set_desired
update chillflow.assembly_groups
set size = %(size)s, minimum = %(minimum)s, maximum = %(maximum)s, lag_target = %(lag_target)s,
    updated_at = clock_timestamp()
where name = %(group)s
returning name

-- name: greatest_pickup
-- Of the rows that stand for trips: a new id with a later pickup is in none of the four tables.
select max(pickup_at) as pickup
from (
    (select max(pickup_at) as pickup_at from chillflow.trips)
    union all
    (select pickup_at from chillflow.quarantine where not chillflow.of_file(reason) order by trip_id desc limit 1)
    union all
    (select pickup_at from chillflow.adjustments order by trip_id desc limit 1)
    union all
    (select pickup_at from chillflow.incomplete_trips order by trip_id desc limit 1)
) as greatest

-- name: make_positions
insert into chillflow.assembly_partitions (topic, partition, "group", topic_id, max_pickup)
select %(topic)s, number, %(group)s, %(topic_id)s, %(pickup)s
from generate_series(0, %(partitions)s - 1) as number
on conflict (topic, partition) do nothing

-- name: fence_all
-- Before a topic is left: waits for commits that are under way, and nobody commits after them.
update chillflow.assembly_partitions
set epoch = epoch + 1, owner = null, backend_pid = null, backend_start = null, updated_at = clock_timestamp()

-- name: give_up
-- What a topic holds when it is left: of partitions without a row, which were added to it, all.
insert into chillflow.given_up (
    topic, topic_id, partition, next_offset, rewind_offset, log_start, log_end, open_trips
)
select %(topic)s, %(topic_id)s, log.partition, coalesce(next_offset, 0), coalesce(rewind_offset, 0), log_start, log_end,
    coalesce(open_trips, 0)
from unnest(%(partitions)s::int[], %(starts)s::bigint[], %(ends)s::bigint[]) as log (partition, log_start, log_end)
left join chillflow.assembly_partitions as p on p.topic = %(topic)s and p.partition = log.partition
where rewind_offset < next_offset or log_end is distinct from coalesce(next_offset, 0)
returning *

-- name: reset_positions
-- Another topic of the same name begins at its first offset; one that is come back to goes on.
update chillflow.assembly_partitions
set next_offset = case when topic_id = %(topic_id)s then next_offset else 0 end,
    rewind_offset = case when topic_id = %(topic_id)s then rewind_offset else 0 end,
    watermark = case when topic_id = %(topic_id)s then watermark end,
    open_trips = case when topic_id = %(topic_id)s then open_trips else 0 end,
    oldest_at = case when topic_id = %(topic_id)s then oldest_at end,
    topic_id = %(topic_id)s,
    max_pickup = greatest(max_pickup, %(pickup)s),
    updated_at = clock_timestamp()
where topic = %(topic)s

-- name: read_positions
select p.*
from chillflow.assembly_partitions as p
join chillflow.assembly_groups as g on g.topic = p.topic and g.name = %(group)s
where p.partition < g.partitions
order by p.partition

-- name: hold_group
-- R1: no other coordinator takes the group before the claim is made.
select epoch from chillflow.assembly_groups where name = %(group)s for share

-- name: end_former_owner
-- R1: a frozen owner's open transaction cannot hold its locks. Its process id may be somebody else's by now.
select pg_terminate_backend(pid, 5000)
from pg_stat_activity
join chillflow.assembly_partitions on pid = backend_pid
where topic = %(topic)s
    and partition = %(partition)s
    and pg_stat_activity.backend_start = assembly_partitions.backend_start
    and pid <> pg_backend_pid()

-- name: hold_position
-- R1: waits for a commit that is still under way.
select token::text from chillflow.assembly_partitions where topic = %(topic)s and partition = %(partition)s for update

-- name: claim
-- R1
update chillflow.assembly_partitions
set epoch = epoch + 1,
    owner = %(owner)s,
    backend_pid = pg_backend_pid(),
    backend_start = %(backend_start)s,
    token = %(token)s,
    updated_at = clock_timestamp()
where topic = %(topic)s and partition = %(partition)s
returning *

-- name: release
update chillflow.assembly_partitions
set owner = null, backend_pid = null, backend_start = null, updated_at = clock_timestamp()
where topic = %(topic)s and partition = %(partition)s and epoch = %(epoch)s

-- name: read_back
-- After a lost answer to COMMIT: waits for a commit that is still under way.
select partition, epoch, next_offset
from chillflow.assembly_partitions
where topic = %(topic)s and partition = any(%(partitions)s::int[])
order by partition
for update

-- name: end_session
-- A connection that was given up may live on at the server, and hold the locks that its owner asks for again.
select pg_terminate_backend(pid, 5000)
from pg_stat_activity
where pid = %(pid)s::int and backend_start = %(backend_start)s::timestamptz

-- name: name_backend
-- What the former connection had claimed: whoever claims it next has to find the one that may hold its locks.
update chillflow.assembly_partitions
set backend_pid = pg_backend_pid(), backend_start = %(own_start)s
where backend_pid = %(pid)s and backend_start = %(backend_start)s

-- name: backend_start
select backend_start from pg_stat_activity where pid = pg_backend_pid()
