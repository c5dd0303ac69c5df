-- The streaming path: who assembles what, how far, and what is no whole trip yet or cannot be read.
-- depends: 0002_unkept

create table chillflow.assembly_groups (
    name text not null,
    epoch bigint not null,
    topic text not null,
    topic_id text not null,
    partitions int not null,
    size int not null,
    minimum int,
    maximum int,
    lag_target bigint not null,
    updated_at timestamptz not null default clock_timestamp(),
    constraint assembly_groups_key primary key (name)
);

create unique index assembly_groups_one on chillflow.assembly_groups ((true));

comment on table chillflow.assembly_groups is 'the group that assembles trips, one row at most: its topic, and the pool of assemblers that the user wants';
comment on column chillflow.assembly_groups.name is 'name of the group';
comment on column chillflow.assembly_groups.epoch is 'raised by each coordinator that takes the group: older ones can claim nothing';
comment on column chillflow.assembly_groups.topic is 'topic that the events come from';
comment on column chillflow.assembly_groups.topic_id is 'the broker''s id of the topic: another one where it was deleted and made again';
comment on column chillflow.assembly_groups.partitions is 'partitions of the topic when the group took it';
comment on column chillflow.assembly_groups.size is 'assemblers wanted, where minimum and maximum are null';
comment on column chillflow.assembly_groups.minimum is 'fewest assemblers';
comment on column chillflow.assembly_groups.maximum is 'most assemblers';
comment on column chillflow.assembly_groups.lag_target is 'lag in records that one assembler is to bear';
comment on column chillflow.assembly_groups.updated_at is 'when the row was last written';

create table chillflow.assembly_partitions (
    topic text not null,
    partition int not null,
    "group" text not null,
    epoch bigint not null default 0,
    owner text,
    backend_pid int,
    backend_start timestamptz,
    token uuid,
    topic_id text not null,
    next_offset bigint not null default 0,
    rewind_offset bigint not null default 0,
    watermark timestamp,
    max_pickup timestamp,
    open_trips bigint not null default 0,
    oldest_at timestamp,
    updated_at timestamptz not null default clock_timestamp(),
    constraint assembly_partitions_key primary key (topic, partition),
    constraint assembly_partitions_offsets check (0 <= rewind_offset and rewind_offset <= next_offset)
) with (fillfactor = 50);

comment on table chillflow.assembly_partitions is 'how far each partition of the topic is assembled, and who owns it';
comment on column chillflow.assembly_partitions.topic is 'topic of the partition';
comment on column chillflow.assembly_partitions.partition is 'number of the partition';
comment on column chillflow.assembly_partitions."group" is 'group that assembles it';
comment on column chillflow.assembly_partitions.epoch is 'raised by each claim: only the newest one may write';
comment on column chillflow.assembly_partitions.owner is 'assembler that claimed it; null where it was released';
comment on column chillflow.assembly_partitions.backend_pid is 'process id of the owner''s connection';
comment on column chillflow.assembly_partitions.backend_start is 'when the owner''s connection began';
comment on column chillflow.assembly_partitions.token is 'random name of the claim, borne by its snapshots';
comment on column chillflow.assembly_partitions.topic_id is 'the broker''s id of the topic that the offsets belong to';
comment on column chillflow.assembly_partitions.next_offset is 'what lies below is settled; the next offset to be read';
comment on column chillflow.assembly_partitions.rewind_offset is 'smallest offset that an open trip still needs; next_offset where none is open';
comment on column chillflow.assembly_partitions.watermark is 'greatest event time seen, New York wall time';
comment on column chillflow.assembly_partitions.max_pickup is 'greatest pickup seen, New York wall time';
comment on column chillflow.assembly_partitions.open_trips is 'trips that lack an event, as of next_offset';
comment on column chillflow.assembly_partitions.oldest_at is 'event time at which the oldest open trip was first seen, New York wall time';
comment on column chillflow.assembly_partitions.updated_at is 'when the row was last written';

create table chillflow.dead_letters (
    topic text not null,
    topic_id text not null,
    partition int not null,
    "offset" bigint not null,
    key bytea,
    payload bytea,
    reason text not null,
    at timestamptz not null default clock_timestamp(),
    redriven_at timestamptz,
    constraint dead_letters_key primary key (topic_id, partition, "offset")
);

comment on table chillflow.dead_letters is 'records that could not be read as events';
comment on column chillflow.dead_letters.topic is 'topic of the record';
comment on column chillflow.dead_letters.topic_id is 'the broker''s id of the topic';
comment on column chillflow.dead_letters.partition is 'partition of the record';
comment on column chillflow.dead_letters."offset" is 'offset of the record';
comment on column chillflow.dead_letters.key is 'key of the record, null where it has none';
comment on column chillflow.dead_letters.payload is 'the record as it came';
comment on column chillflow.dead_letters.reason is 'the field, and what is wrong with it';
comment on column chillflow.dead_letters.at is 'when it was put aside';
comment on column chillflow.dead_letters.redriven_at is 'when a repaired one was sent; null until then';

create table chillflow.incomplete_trips (
    trip_id uuid not null,
    service text not null,
    vendor_id int,
    pickup_at timestamp not null,
    dropoff_at timestamp,
    pickup_zone_id int,
    dropoff_zone_id int,
    passenger_count int,
    trip_distance float8,
    rate_code int,
    store_and_fwd text,
    payment_type int,
    trip_type int,
    fare_amount numeric(9, 2),
    extra numeric(9, 2),
    mta_tax numeric(9, 2),
    tip_amount numeric(9, 2),
    tolls_amount numeric(9, 2),
    improvement_surcharge numeric(9, 2),
    total_amount numeric(9, 2),
    congestion_surcharge numeric(9, 2),
    airport_fee numeric(9, 2),
    cbd_congestion_fee numeric(9, 2),
    request_source text,
    started_revision int not null default 0,
    ended_revision int not null default 0,
    paid_revision int not null default 0,
    missing text[] not null generated always as (
        array_remove(
            array[
                case when started_revision = 0 then 'trip_started' end,
                case when ended_revision = 0 then 'trip_ended' end,
                case when paid_revision = 0 then 'payment_processed' end
            ],
            null
        )
    ) stored,
    spilled_at timestamptz not null default clock_timestamp(),
    constraint incomplete_trips_key primary key (trip_id),
    constraint incomplete_trips_service check (service in ('yellow', 'green'))
);

create index incomplete_trips_pickup on chillflow.incomplete_trips (service, pickup_at);

comment on table chillflow.incomplete_trips is 'trips that timed out, or were too many to be kept open, with the events that came; a later event finds them here';
comment on column chillflow.incomplete_trips.trip_id is 'id of the trip';
comment on column chillflow.incomplete_trips.service is 'yellow or green';
comment on column chillflow.incomplete_trips.vendor_id is 'see trips';
comment on column chillflow.incomplete_trips.pickup_at is 'meter on, New York wall time; what the id tells where trip_started is missing';
comment on column chillflow.incomplete_trips.dropoff_at is 'meter off, New York wall time';
comment on column chillflow.incomplete_trips.pickup_zone_id is 'zone where the trip began, see zones';
comment on column chillflow.incomplete_trips.dropoff_zone_id is 'zone where the trip ended, see zones';
comment on column chillflow.incomplete_trips.passenger_count is 'passengers, as sent';
comment on column chillflow.incomplete_trips.trip_distance is 'miles by the meter, as sent';
comment on column chillflow.incomplete_trips.rate_code is 'see trips';
comment on column chillflow.incomplete_trips.store_and_fwd is 'see trips';
comment on column chillflow.incomplete_trips.payment_type is 'see trips';
comment on column chillflow.incomplete_trips.trip_type is 'see trips';
comment on column chillflow.incomplete_trips.fare_amount is 'US dollars';
comment on column chillflow.incomplete_trips.extra is 'US dollars';
comment on column chillflow.incomplete_trips.mta_tax is 'US dollars';
comment on column chillflow.incomplete_trips.tip_amount is 'US dollars';
comment on column chillflow.incomplete_trips.tolls_amount is 'US dollars';
comment on column chillflow.incomplete_trips.improvement_surcharge is 'US dollars';
comment on column chillflow.incomplete_trips.total_amount is 'US dollars';
comment on column chillflow.incomplete_trips.congestion_surcharge is 'US dollars';
comment on column chillflow.incomplete_trips.airport_fee is 'US dollars';
comment on column chillflow.incomplete_trips.cbd_congestion_fee is 'US dollars';
comment on column chillflow.incomplete_trips.request_source is 'see trips';
comment on column chillflow.incomplete_trips.started_revision is 'greatest revision of the trip_started event; 0 where it is missing';
comment on column chillflow.incomplete_trips.ended_revision is 'greatest revision of the trip_ended event; 0 where it is missing';
comment on column chillflow.incomplete_trips.paid_revision is 'greatest revision of the payment_processed event; 0 where it is missing';
comment on column chillflow.incomplete_trips.missing is 'the events that did not come';
comment on column chillflow.incomplete_trips.spilled_at is 'when assembly let go of it, or an event was added';

create table chillflow.kpi_dirty (
    id bigint generated always as identity,
    service text not null,
    zone_id int,
    hour timestamp not null
);

comment on table chillflow.kpi_dirty is 'notes of KPI hours that were touched since they were computed; append-only, an hour may be there many times';
comment on column chillflow.kpi_dirty.id is 'number of the note';
comment on column chillflow.kpi_dirty.service is 'yellow or green';
comment on column chillflow.kpi_dirty.zone_id is 'the zone; null for all zones of the hour, as a load notes';
comment on column chillflow.kpi_dirty.hour is 'beginning of the hour, New York wall time';
