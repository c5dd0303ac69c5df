-- Curated trips, partitioned by month of pickup. Partitions are made on demand; see docs/warehouse.md.

create schema if not exists chillflow;

comment on schema chillflow is 'NYC taxi trips, curated by ChillFlow, and what was made of them';

create table chillflow.trips (
    trip_id uuid not null,
    service text not null,
    vendor_id int,
    pickup_at timestamp not null,
    dropoff_at timestamp not null,
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
    flags int not null,
    raw jsonb,
    source text not null default 'batch',
    started_revision int not null default 0,
    ended_revision int not null default 0,
    paid_revision int not null default 0,
    constraint trips_key primary key (pickup_at, trip_id),
    constraint trips_service check (service in ('yellow', 'green')),
    constraint trips_source check (source in ('batch', 'stream'))
) partition by range (pickup_at);

comment on table chillflow.trips is 'trips that curation kept, one row each, partitioned by month of pickup';
comment on column chillflow.trips.trip_id is 'UUID version 8 of the natural key: the pickup in milliseconds, then a hash';
comment on column chillflow.trips.service is 'yellow or green';
comment on column chillflow.trips.vendor_id is '1 CMT, 2 Curb, 6 Myle, 7 Helix';
comment on column chillflow.trips.pickup_at is 'meter on, New York wall time';
comment on column chillflow.trips.dropoff_at is 'meter off, New York wall time';
comment on column chillflow.trips.pickup_zone_id is 'zone where the trip began, see zones';
comment on column chillflow.trips.dropoff_zone_id is 'zone where the trip ended, see zones';
comment on column chillflow.trips.passenger_count is 'passengers, entered by the driver; null where unknown';
comment on column chillflow.trips.trip_distance is 'miles by the meter; null where not believable';
comment on column chillflow.trips.rate_code is '1 standard, 2 JFK, 3 Newark, 4 Nassau or Westchester, 5 negotiated, 6 group, 99 unknown';
comment on column chillflow.trips.store_and_fwd is 'Y where the record was held in the vehicle before it was sent, else N';
comment on column chillflow.trips.payment_type is '0 Flex fare, 1 card, 2 cash, 3 no charge, 4 dispute, 5 unknown, 6 voided';
comment on column chillflow.trips.trip_type is 'green only: 1 street hail, 2 dispatch';
comment on column chillflow.trips.fare_amount is 'fare by time and distance, US dollars';
comment on column chillflow.trips.extra is 'extras and surcharges, US dollars';
comment on column chillflow.trips.mta_tax is 'MTA tax, US dollars';
comment on column chillflow.trips.tip_amount is 'tip paid by card, US dollars';
comment on column chillflow.trips.tolls_amount is 'tolls, US dollars';
comment on column chillflow.trips.improvement_surcharge is 'improvement surcharge, US dollars';
comment on column chillflow.trips.total_amount is 'all that was charged, cash tips excluded, US dollars';
comment on column chillflow.trips.congestion_surcharge is 'congestion surcharge, US dollars';
comment on column chillflow.trips.airport_fee is 'fee for pickups at LaGuardia and JFK, US dollars';
comment on column chillflow.trips.cbd_congestion_fee is 'congestion pricing fee since 2025-01-05, US dollars';
comment on column chillflow.trips.request_source is 'how the trip was asked for, published since 2026-06';
comment on column chillflow.trips.flags is 'bit set of curation rules 12 to 20; chillflow.flag_names(flags) names them';
comment on column chillflow.trips.raw is 'values that a fix replaced, by column; null where nothing was fixed';
comment on column chillflow.trips.source is 'the path that wrote the row: batch or stream';
comment on column chillflow.trips.started_revision is 'greatest revision of the trip_started event; 0 for batch rows';
comment on column chillflow.trips.ended_revision is 'greatest revision of the trip_ended event; 0 for batch rows';
comment on column chillflow.trips.paid_revision is 'greatest revision of the payment_processed event; 0 for batch rows';

create function chillflow.flag_names(flags int) returns text[]
language sql immutable parallel safe
return array(
    select name
    from (
        values
            (1, 'bad_distance'),
            (2, 'dst_fallback'),
            (4, 'long_duration'),
            (8, 'zero_distance'),
            (16, 'unknown_zone'),
            (32, 'passenger_unknown'),
            (64, 'flex_fare'),
            (128, 'total_mismatch'),
            (256, 'unknown_code')
    ) as flag (bit, name)
    where flags & bit <> 0
    order by bit
);

comment on function chillflow.flag_names(int) is 'the names of the curation rules in trips.flags';
