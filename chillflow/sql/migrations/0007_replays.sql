-- How far each replay has been sent.
-- depends: 0006_assembly

create table chillflow.replays (
    id uuid not null,
    service text not null,
    months date[] not null,
    topic text not null,
    topic_id text not null,
    partitions int not null,
    options jsonb not null,
    sources jsonb not null,
    total bigint not null,
    acknowledged bigint not null default 0,
    code_version text not null,
    started_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    stopped_at timestamptz,
    ended_at timestamptz,
    constraint replays_key primary key (id),
    constraint replays_service check (service in ('yellow', 'green')),
    constraint replays_acknowledged check (0 <= acknowledged and acknowledged <= total)
);

comment on table chillflow.replays is 'replays of months to a topic, and how far each has come: a killed one goes on from there';
comment on column chillflow.replays.id is 'hash of what decides the events and their order: service, months, sources, options, seed, topic';
comment on column chillflow.replays.service is 'yellow or green';
comment on column chillflow.replays.months is 'first days of the months';
comment on column chillflow.replays.topic is 'topic that the events are sent to';
comment on column chillflow.replays.topic_id is 'the broker''s id of the topic: another one where it was deleted and made again';
comment on column chillflow.replays.partitions is 'partitions of the topic when the replay began';
comment on column chillflow.replays.options is 'shares of events with planted faults, and the seed';
comment on column chillflow.replays.sources is 'checksum of each month''s file, or its ETag';
comment on column chillflow.replays.total is 'events to send, duplicates and corrections among them';
comment on column chillflow.replays.acknowledged is 'number of the first event that the broker may not have';
comment on column chillflow.replays.code_version is 'version of ChillFlow that began the replay';
comment on column chillflow.replays.started_at is 'when the replay began';
comment on column chillflow.replays.updated_at is 'when the row was last written: every second while the replay runs';
comment on column chillflow.replays.stopped_at is 'when the replay was interrupted on purpose; null while it runs, and after a kill';
comment on column chillflow.replays.ended_at is 'when all events were acknowledged; null until then';

comment on column chillflow.months.status is 'loaded: rows are in; done: KPIs are too; replayed: all events were sent';
