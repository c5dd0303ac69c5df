-- What reconciling reads: the stream's rows, as CSV. Words in braces are lists of columns, %(words)s are values.

-- name: copy_stream_rows
-- Rows that stand for trips. A pickup that is null or outside of the month, which cannot be, belongs to the first or last
-- slice of quarantine.
copy (
    select trip_id, 'trips' as "table", {columns}, flags, raw, null as reason
    from chillflow.trips
    where service = %(service)s
        and source = 'stream'
        and pickup_at >= %(start)s
        and pickup_at < %(end)s
    union all
    select trip_id, 'quarantine', {columns}, null, null, reason
    from chillflow.quarantine
    where service = %(service)s
        and month = %(month)s
        and source = 'stream'
        and not chillflow.of_file(reason)
        and coalesce(pickup_at, '-infinity') >= %(first)s
        and coalesce(pickup_at, '-infinity') < %(last)s
    union all
    select trip_id, 'adjustments', {columns}, null, null, null
    from chillflow.adjustments
    where service = %(service)s
        and source = 'stream'
        and pickup_at >= %(start)s
        and pickup_at < %(end)s
) to stdout (format csv)

-- name: copy_stream_file_rows
-- Rows under file rules, by their place in the file.
copy (
    select source_row, 'quarantine' as "table", trip_id, {columns}, '=' || unrepresentable, reason
    from chillflow.quarantine
    where service = %(service)s
        and month = %(month)s
        and source = 'stream'
        and chillflow.of_file(reason)
        and source_row >= %(start)s
        and source_row < %(end)s
) to stdout (format csv)

-- name: incomplete_between
select trip_id::text
from chillflow.incomplete_trips
where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s

-- name: dead_keys_between
-- Keys are ids, which begin with the pickup.
select distinct encode(key, 'escape') as key
from chillflow.dead_letters
where key >= %(first)s::bytea and key < %(last)s::bytea and length(key) = 36

-- name: is_streamed
-- Whether the stream has anything at all of a month.
select exists (
    select from chillflow.trips
    where service = %(service)s and source = 'stream' and pickup_at >= %(start)s and pickup_at < %(end)s
) or exists (
    select from chillflow.adjustments
    where service = %(service)s and source = 'stream' and pickup_at >= %(start)s and pickup_at < %(end)s
) or exists (
    select from chillflow.quarantine
    where service = %(service)s and source = 'stream' and month = %(month)s
) or exists (
    select from chillflow.incomplete_trips
    where service = %(service)s and pickup_at >= %(start)s and pickup_at < %(end)s
) as there

-- name: is_unfinished
-- Whether a replay of the month was begun, and none has ended.
select coalesce(bool_and(ended_at is null), false) as unfinished
from chillflow.replays
where service = %(service)s and %(month)s = any(months)
