-- Partitions of trips, one a month. Words in braces are identifiers, %(words)s are values.

-- name: lock_partition
-- Held while a month's partition is chosen, made and filled.
select pg_advisory_xact_lock(hashtextextended(format('chillflow partition %%s', %(month)s), 0))

-- name: partition_exists
select to_regclass(%(table)s) is not null as there

-- name: checks_of_trips
-- What a table must say of its rows before it can become a partition.
select conname as name, pg_get_constraintdef(oid) as definition
from pg_constraint
where conrelid = 'chillflow.trips'::regclass and contype = 'c'
order by conname

-- name: constrain_partition
alter table {table}
    {checks}
    add constraint {range} check (pickup_at >= %(start)s and pickup_at < %(end)s),
    add constraint {key} primary key (pickup_at, trip_id)

-- name: rename_partition
alter table {table} rename to {name}

-- name: describe_partition
comment on table {table} is {comment}

-- name: attach_partition
alter table chillflow.trips attach partition {table} for values from (%(start)s) to (%(end)s)
