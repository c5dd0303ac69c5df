-- Replays: how far they are, and what they write beside the log. Words in braces are identifiers, %(words)s are values.

-- name: hold_replays
-- Held as long as a replay runs, by its session.
select pg_advisory_lock_shared(hashtextextended('chillflow replays', 0))

-- name: hold_replay
-- A replay runs once at a time.
select pg_try_advisory_lock(hashtextextended(format('chillflow replay %%s', %(id)s), 0)) as held

-- name: replay_runs
-- A replay that has lost its connection, or whose server was restarted, takes its lock again within seconds.
select
    exists (
        select
        from pg_locks
        where locktype = 'advisory'
            and granted
            and database = (select oid from pg_database where datname = current_database())
            and objsubid = 1
            and (classid::bigint << 32) | objid::bigint = hashtextextended('chillflow replays', 0)
    )
    or exists (
        select
        from chillflow.replays
        where ended_at is null
            and stopped_at is null
            and (
                updated_at > clock_timestamp() - interval '5 seconds'
                or (
                    updated_at between pg_postmaster_start_time() - interval '1 hour' and pg_postmaster_start_time()
                    and pg_postmaster_start_time() > clock_timestamp() - interval '10 seconds'
                )
            )
    ) as runs

-- name: begin_replay
insert into chillflow.replays as old (
    id, service, months, topic, topic_id, partitions, options, sources, total, code_version
)
values (
    %(id)s, %(service)s, %(months)s::date[], %(topic)s, %(topic_id)s, %(partitions)s, %(options)s, %(sources)s,
    %(total)s, %(code_version)s
)
on conflict (id) do update set
    acknowledged = case when %(anew)s or old.total <> excluded.total then 0 else old.acknowledged end,
    started_at = case when %(anew)s then clock_timestamp() else old.started_at end,
    total = excluded.total,
    code_version = excluded.code_version,
    updated_at = clock_timestamp(),
    stopped_at = null,
    ended_at = null
returning *

-- name: read_replay
select * from chillflow.replays where id = %(id)s

-- name: partitions_of_topic
-- How many partitions a topic had when somebody began to use it.
select partitions from chillflow.replays where topic = %(topic)s and topic_id = %(topic_id)s
union
select partitions from chillflow.assembly_groups where topic = %(topic)s and topic_id = %(topic_id)s

-- name: note_replay
update chillflow.replays
set acknowledged = greatest(acknowledged, %(acknowledged)s), updated_at = clock_timestamp()
where id = %(id)s

-- name: stop_replay
update chillflow.replays set stopped_at = clock_timestamp() where id = %(id)s and ended_at is null

-- name: end_replay
update chillflow.replays
set acknowledged = total, updated_at = clock_timestamp(), ended_at = clock_timestamp()
where id = %(id)s

-- name: write_stream_month
-- A month has been sent; what became of its rows is counted from the tables.
insert into chillflow.months (
    service, month, path, status, rows_in, trips, quarantined, adjustments,
    source, source_size, source_etag, source_checksum, code_version, rules_version, started_at, seconds
)
values (
    %(service)s, %(month)s, 'stream', 'replayed', %(rows_in)s, 0, 0, 0,
    %(source)s, %(source_size)s, %(source_etag)s, %(source_checksum)s, %(code_version)s, %(rules_version)s,
    %(started_at)s, %(seconds)s
)
on conflict (service, month, path) do update set
    status = excluded.status,
    rows_in = excluded.rows_in,
    source = excluded.source,
    source_size = excluded.source_size,
    source_etag = excluded.source_etag,
    source_checksum = excluded.source_checksum,
    code_version = excluded.code_version,
    rules_version = excluded.rules_version,
    started_at = excluded.started_at,
    seconds = excluded.seconds

-- name: lock_month_shared
select pg_advisory_xact_lock_shared(hashtextextended(format('chillflow month %%s %%s', %(service)s, %(month)s), 0))

-- name: create_rejected
create temporary table rejected (like chillflow.quarantine including defaults) on commit drop

-- name: insert_rejected
insert into chillflow.quarantine
select * from pg_temp.rejected
on conflict (service, month, source_row) where chillflow.of_file(reason) do nothing

-- name: committed_of_group
-- How far the group has come in a topic.
select coalesce(sum(next_offset), 0)::bigint as settled, count(*) as partitions
from chillflow.assembly_partitions
where topic = %(topic)s and topic_id = %(topic_id)s
