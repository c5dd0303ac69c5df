-- Partitions of trips, one a month. Words in braces are identifiers, %(words)s are values.

-- name: lock_partition
-- Held while a month's partition is chosen, made and filled.
select pg_advisory_xact_lock(hashtextextended(format('chillflow partition %%s', %(month)s), 0))

-- name: partition_exists
-- Asks the catalogue: to_regclass may answer from a cache that is older than a lock just granted.
select count(*) = 1 as there
from pg_class
where relnamespace = 'chillflow'::regnamespace and relname = %(name)s

-- name: create_partition_table
-- A table that may become the month's partition: alone and without key. Checking rows as they come is cheaper than
-- reading them again.
create table {table} (
    like chillflow.trips
        including defaults including constraints including comments including storage including compression,
    constraint {range} check (pickup_at >= %(start)s and pickup_at < %(end)s)
)

-- name: add_partition_key
alter table {table} add constraint {key} primary key (pickup_at, trip_id)

-- name: rename_partition
alter table {table} rename to {name}

-- name: describe_partition
comment on table {table} is {comment}

-- name: attach_partition
alter table chillflow.trips attach partition {table} for values from (%(start)s) to (%(end)s)
