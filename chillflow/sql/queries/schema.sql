-- The schema's version, and reference data. %(words)s are values.

-- name: lock_migrations
select pg_advisory_lock(hashtextextended('chillflow migrations', 0))

-- name: migrations_schema_exists
select to_regnamespace('chillflow_migrations') is not null

-- name: create_migrations_schema
create schema chillflow_migrations

-- name: migrations_exist
select to_regclass('chillflow_migrations.applied') is not null as there

-- name: read_migrations
select migration_id from chillflow_migrations.applied

-- name: lock_zones
-- Two jobs that begin at once bring the zones up to date one after the other.
lock table chillflow.zones in share row exclusive mode

-- name: create_zones
create temporary table new_zones (like chillflow.zones) on commit drop

-- name: copy_zones
copy new_zones (zone_id, borough, zone, service_zone) from stdin

-- name: delete_zones
-- Zones that are no longer what they were; a zone that is changed is added again.
delete from chillflow.zones as old
where not exists (select from pg_temp.new_zones as new where (new.*) is not distinct from (old.*))
returning zone_id

-- name: insert_zones
insert into chillflow.zones
select new.*
from pg_temp.new_zones as new
where not exists (select from chillflow.zones as old where old.zone_id = new.zone_id)
returning zone_id
