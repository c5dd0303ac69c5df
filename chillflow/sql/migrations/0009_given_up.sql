-- What was left in a topic that its group went away from before all of it was assembled.
-- depends: 0008_measures

create table chillflow.given_up (
    topic text not null,
    topic_id text not null,
    partition int not null,
    next_offset bigint not null,
    rewind_offset bigint not null,
    log_start bigint,
    log_end bigint,
    records bigint generated always as (case when log_end is not null then greatest(log_end - next_offset, 0) end) stored,
    open_trips bigint not null,
    at timestamptz not null default clock_timestamp(),
    constraint given_up_key primary key (topic_id, partition, at)
);

comment on table chillflow.given_up is 'partitions that were left, on demand, with records that were not assembled or trips that were open';
comment on column chillflow.given_up.topic is 'topic that was left';
comment on column chillflow.given_up.topic_id is 'the broker''s id of the topic';
comment on column chillflow.given_up.partition is 'number of the partition';
comment on column chillflow.given_up.next_offset is 'what lies below was settled, but for open trips';
comment on column chillflow.given_up.rewind_offset is 'smallest offset that an open trip still needed';
comment on column chillflow.given_up.log_start is 'first offset that the log still held; null where the topic was gone';
comment on column chillflow.given_up.log_end is 'offset after the last record; null where the topic was gone';
comment on column chillflow.given_up.records is 'records that were not assembled, those that retention took included; null where the topic was gone';
comment on column chillflow.given_up.open_trips is 'trips whose events were read, but not all of them: they are in no table';
comment on column chillflow.given_up.at is 'when the topic was left';
