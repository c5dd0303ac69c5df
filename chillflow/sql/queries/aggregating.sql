-- KPIs of a month. Words in braces are the measures of kpis.py, %(words)s are values: service, start (of the month),
-- reach (25 h before it), end (25 h after the month).

-- name: lock_slice
-- Aggregations that share an hour go one after the other. Taken before the transaction, whose snapshot must be later.
select pg_advisory_lock(hashtextextended(format('chillflow kpis %%s %%s', %(service)s, %(month)s), 0))

-- name: hold_month
-- No load of the month commits between reading its trips and marking it as aggregated.
select pg_advisory_lock_shared(hashtextextended(format('chillflow month %%s %%s', %(service)s, %(month)s), 0))

-- name: let_go_of_slices
select pg_advisory_unlock_all()

-- name: delete_notes
-- The notes that this transaction's snapshot shows, and no later ones.
delete from chillflow.kpi_dirty where service = %(service)s and hour >= %(start)s and hour < %(end)s

-- name: create_fresh_kpis
-- The hours as they must be. Apart from the table it goes into, so that PostgreSQL may work in parallel.
create temporary table fresh_kpis on commit drop as
select %(service)s::text as service, zone_id, hour, {measures}
from (
    select pickup_zone_id as zone_id, date_trunc('hour', pickup_at) as hour, {pickup_measures}
    from chillflow.trips
    where service = %(service)s
        and pickup_zone_id is not null
        and pickup_at >= %(start)s
        and pickup_at < %(end)s
    group by 1, 2
) as pickups
full join (
    select dropoff_zone_id as zone_id, date_trunc('hour', dropoff_at) as hour, {dropoff_measures}
    from chillflow.trips
    where service = %(service)s
        and dropoff_zone_id is not null
        and pickup_at >= %(reach)s
        and pickup_at < %(end)s
        and dropoff_at >= %(start)s
        and dropoff_at < %(end)s
    group by 1, 2
) as dropoffs using (zone_id, hour)
full join (
    select pickup_zone_id as zone_id, date_trunc('hour', pickup_at) as hour, {reversal_measures}
    from chillflow.adjustments
    where service = %(service)s and pickup_zone_id is not null and pickup_at >= %(start)s and pickup_at < %(end)s
    group by 1, 2
) as reversals using (zone_id, hour)

-- name: delete_stale_kpis
delete from chillflow.kpi_zone_hourly as old
where old.service = %(service)s
    and old.hour >= %(start)s
    and old.hour < %(end)s
    and not exists (
        select from pg_temp.fresh_kpis as new
        where new.zone_id = old.zone_id
            and new.hour = old.hour
            and ({new_columns}) is not distinct from ({old_columns})
    )

-- name: insert_fresh_kpis
insert into chillflow.kpi_zone_hourly ({columns})
select {columns}
from pg_temp.fresh_kpis as new
where not exists (
    select from chillflow.kpi_zone_hourly as old
    where old.service = %(service)s and old.zone_id = new.zone_id and old.hour = new.hour
)

-- name: analyze_partition
analyze {table} (service, pickup_at, dropoff_at, pickup_zone_id, dropoff_zone_id)

-- name: partition_unknown_to_planner
-- Whether the planner knows nothing of the partition yet, as after a fresh load.
select reltuples < 0 as unknown from pg_class where oid = to_regclass(%(table)s)
