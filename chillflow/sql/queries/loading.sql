-- Loading a month. One statement a name; the comment below a name says what it does. Words in braces are identifiers,
-- %(words)s are values: service, month (a date), start and end (of the month).

-- name: use_memory_to_sort
set local work_mem = '128MB'

-- name: use_memory_to_index
set local maintenance_work_mem = '256MB'

-- name: take_the_time
set local statement_timeout = 0

-- name: create_merging_trips
-- Where the partition exists: a temporary table, which no WAL is written for.
create temporary table loading_trips (like chillflow.trips including defaults) on commit drop

-- name: create_loading_adjustments
create temporary table loading_adjustments (like chillflow.adjustments including defaults) on commit drop

-- name: create_loading_quarantine
create temporary table loading_quarantine (like chillflow.quarantine including defaults) on commit drop

-- name: set_loading_month
alter table pg_temp.loading_quarantine alter column month set default %(month)s

-- name: create_gone
-- Rows, in quarantine's form, of which the file knows nothing.
create temporary table gone (like chillflow.quarantine including defaults) on commit drop

-- name: view_loading_trips
-- One name for the loaded trips, whichever table holds them.
create temporary view loading_trips as select * from {table}

-- name: view_loading_ids
-- The trips that the file knows of, whatever became of them.
create temporary view loading_ids as
select trip_id from pg_temp.loading_trips
union all
select trip_id from pg_temp.loading_adjustments
union all
select trip_id from pg_temp.loading_quarantine where not chillflow.of_file(reason)

-- name: drop_loading_ids
drop view pg_temp.loading_ids

-- name: drop_loading_view
drop view pg_temp.loading_trips

-- name: drop_loading_trips
-- Where somebody else made the partition meanwhile.
drop table {table}

-- name: analyze_loading_trips
analyze {table}

-- name: lock_month
-- Whoever changes rows of a month by a load holds this until it commits; the stream takes it shared.
select pg_advisory_xact_lock(hashtextextended(format('chillflow month %%s %%s', %(service)s, %(month)s), 0))

-- name: settle_trips
-- Takes out the month's trips that differ from the file's; those that the file does not know go to `gone`, raw.
with former as (
    delete from chillflow.trips as old
    where old.service = %(service)s
        and old.pickup_at >= %(start)s
        and old.pickup_at < %(end)s
        and not exists (
            select from pg_temp.loading_trips as new
            where new.pickup_at = old.pickup_at
                and new.trip_id = old.trip_id
                and (new.*) is not distinct from (old.*)
        )
    returning old.*
),
moved as (
    insert into pg_temp.gone
    select unkept.*
    from former
    cross join lateral jsonb_populate_record(
        null::chillflow.quarantine,
        to_jsonb(former)
        || coalesce(former.raw, jsonb_build_object())
        || jsonb_build_object('month', %(month)s, 'reason', 'not_in_file')
    ) as unkept
    where not exists (select from pg_temp.loading_ids as known where known.trip_id = former.trip_id)
)
select
    count(*) as removed,
    count(*) filter (
        where exists (
            select from pg_temp.loading_trips as new
            where new.pickup_at = former.pickup_at and new.trip_id = former.trip_id
        )
    ) as replaced
from former

-- name: insert_trips
-- Adds the file's trips that are not there as they are.
insert into chillflow.trips
select new.*
from pg_temp.loading_trips as new
where not exists (
    select from chillflow.trips as old
    where old.pickup_at = new.pickup_at
        and old.trip_id = new.trip_id
        and old.pickup_at >= %(start)s
        and old.pickup_at < %(end)s
)

-- name: settle_adjustments
-- The same for adjustments.
with former as (
    delete from chillflow.adjustments as old
    where old.service = %(service)s
        and old.pickup_at >= %(start)s
        and old.pickup_at < %(end)s
        and not exists (
            select from pg_temp.loading_adjustments as new
            where new.trip_id = old.trip_id and (new.*) is not distinct from (old.*)
        )
    returning old.*
)
insert into pg_temp.gone
select unkept.*
from former
cross join lateral jsonb_populate_record(
    null::chillflow.quarantine,
    to_jsonb(former) || jsonb_build_object('month', %(month)s, 'reason', 'not_in_file', 'source_row', null)
) as unkept
where not exists (select from pg_temp.loading_ids as known where known.trip_id = former.trip_id)

-- name: insert_adjustments
insert into chillflow.adjustments
select new.*
from pg_temp.loading_adjustments as new
where not exists (select from chillflow.adjustments as old where old.trip_id = new.trip_id)

-- name: settle_quarantine
-- The same for quarantine. Rows of file rules stand for no trip: they are replaced, and never become not_in_file.
with former as (
    delete from chillflow.quarantine as old
    where old.service = %(service)s
        and old.month = %(month)s
        and old.reason <> 'not_in_file'
        and not exists (
            select from pg_temp.loading_quarantine as new
            where new.source_row = old.source_row and (new.*) is not distinct from (old.*)
        )
    returning old.*
)
insert into pg_temp.gone
select unkept.*
from former
cross join lateral jsonb_populate_record(
    null::chillflow.quarantine,
    to_jsonb(former) || jsonb_build_object('reason', 'not_in_file', 'source_row', null)
) as unkept
where not chillflow.of_file(former.reason)
    and not exists (select from pg_temp.loading_ids as known where known.trip_id = former.trip_id)

-- name: return_from_quarantine
-- Rows that an earlier file lacked and this one knows are missing no more.
delete from chillflow.quarantine as old
where old.service = %(service)s
    and old.month = %(month)s
    and old.reason = 'not_in_file'
    and exists (select from pg_temp.loading_ids as known where known.trip_id = old.trip_id)

-- name: insert_quarantine
insert into chillflow.quarantine
select new.*
from pg_temp.loading_quarantine as new
where not exists (
    select from chillflow.quarantine as old
    where old.service = %(service)s and old.month = %(month)s and old.source_row = new.source_row
)

-- name: insert_gone
insert into chillflow.quarantine
select gone.* from pg_temp.gone

-- name: close_incomplete
-- Trips that the stream did not complete, and the file knows.
delete from chillflow.incomplete_trips as old
where old.service = %(service)s
    and old.pickup_at >= %(start)s
    and old.pickup_at < %(end)s
    and exists (select from pg_temp.loading_ids as known where known.trip_id = old.trip_id)

-- name: note_month
-- All zones of the month's hours, and of the 25 after it in which its trips may end.
insert into chillflow.kpi_dirty (service, hour)
select %(service)s, hour
from generate_series(%(start)s, %(end)s + interval '24 hours', interval '1 hour') as hour

-- name: count_not_in_file
select count(*) as rows
from chillflow.quarantine
where service = %(service)s and month = %(month)s and reason = 'not_in_file'
