-- Rows that are no kept trips: adjustments (reversals) and quarantine, with raw values.
-- depends: 0001_trips

create table chillflow.adjustments (
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
    source_row bigint,
    source text not null default 'batch',
    started_revision int not null default 0,
    ended_revision int not null default 0,
    paid_revision int not null default 0,
    constraint adjustments_key primary key (trip_id),
    constraint adjustments_service check (service in ('yellow', 'green')),
    constraint adjustments_source check (source in ('batch', 'stream'))
);

create index adjustments_pickup on chillflow.adjustments (service, pickup_at);

comment on table chillflow.adjustments is 'reversals: rows with a negative total that take an earlier trip back, raw values';
comment on column chillflow.adjustments.trip_id is 'id of the reversal; that of its original is the same with the last bit cleared';
comment on column chillflow.adjustments.service is 'yellow or green';
comment on column chillflow.adjustments.vendor_id is 'see trips';
comment on column chillflow.adjustments.pickup_at is 'meter on, New York wall time';
comment on column chillflow.adjustments.dropoff_at is 'meter off, New York wall time';
comment on column chillflow.adjustments.pickup_zone_id is 'zone where the trip began, see zones';
comment on column chillflow.adjustments.dropoff_zone_id is 'zone where the trip ended, see zones';
comment on column chillflow.adjustments.passenger_count is 'passengers, as published';
comment on column chillflow.adjustments.trip_distance is 'miles by the meter, as published';
comment on column chillflow.adjustments.rate_code is 'see trips';
comment on column chillflow.adjustments.store_and_fwd is 'see trips';
comment on column chillflow.adjustments.payment_type is 'see trips';
comment on column chillflow.adjustments.trip_type is 'see trips';
comment on column chillflow.adjustments.fare_amount is 'US dollars';
comment on column chillflow.adjustments.extra is 'US dollars';
comment on column chillflow.adjustments.mta_tax is 'US dollars';
comment on column chillflow.adjustments.tip_amount is 'US dollars';
comment on column chillflow.adjustments.tolls_amount is 'US dollars';
comment on column chillflow.adjustments.improvement_surcharge is 'US dollars';
comment on column chillflow.adjustments.total_amount is 'US dollars, negative';
comment on column chillflow.adjustments.congestion_surcharge is 'US dollars';
comment on column chillflow.adjustments.airport_fee is 'US dollars';
comment on column chillflow.adjustments.cbd_congestion_fee is 'US dollars';
comment on column chillflow.adjustments.request_source is 'see trips';
comment on column chillflow.adjustments.source_row is 'ordinal of the row in its file, from 0; null for stream rows';
comment on column chillflow.adjustments.source is 'the path that wrote the row: batch or stream';
comment on column chillflow.adjustments.started_revision is 'greatest revision of the trip_started event; 0 for batch rows';
comment on column chillflow.adjustments.ended_revision is 'greatest revision of the trip_ended event; 0 for batch rows';
comment on column chillflow.adjustments.paid_revision is 'greatest revision of the payment_processed event; 0 for batch rows';

create function chillflow.of_file(reason text) returns boolean
language sql immutable parallel safe
return reason in ('ts_missing', 'pickup_outside_file_month', 'duplicate', 'value_invalid');

comment on function chillflow.of_file(text) is 'whether a reason is a rule of the file: such a row stands for no trip';

create table chillflow.quarantine (
    trip_id uuid,
    service text not null,
    month date not null,
    source_row bigint,
    vendor_id int,
    pickup_at timestamp,
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
    reason text not null,
    unrepresentable text,
    source text not null default 'batch',
    started_revision int not null default 0,
    ended_revision int not null default 0,
    paid_revision int not null default 0,
    constraint quarantine_service check (service in ('yellow', 'green')),
    constraint quarantine_source check (source in ('batch', 'stream')),
    constraint quarantine_month check (extract(day from month) = 1),
    constraint quarantine_named check (
        case when chillflow.of_file(reason) then source_row is not null else trip_id is not null end
    )
);

create unique index quarantine_file_row on chillflow.quarantine (service, month, source_row) where chillflow.of_file(reason);
create unique index quarantine_trip on chillflow.quarantine (trip_id) where not chillflow.of_file(reason);
create index quarantine_file_trip on chillflow.quarantine (trip_id) where chillflow.of_file(reason);
create index quarantine_reason on chillflow.quarantine (service, month, reason);

comment on table chillflow.quarantine is 'rows that curation rejected, with the reason and the raw values';
comment on column chillflow.quarantine.trip_id is 'id of the trip; null where the pickup is missing';
comment on column chillflow.quarantine.service is 'yellow or green';
comment on column chillflow.quarantine.month is 'first day of the month: of the file, for stream rows of the pickup';
comment on column chillflow.quarantine.source_row is 'ordinal of the row in its file, from 0; null for stream rows and not_in_file';
comment on column chillflow.quarantine.vendor_id is 'see trips';
comment on column chillflow.quarantine.pickup_at is 'meter on, New York wall time';
comment on column chillflow.quarantine.dropoff_at is 'meter off, New York wall time';
comment on column chillflow.quarantine.pickup_zone_id is 'zone where the trip began, see zones';
comment on column chillflow.quarantine.dropoff_zone_id is 'zone where the trip ended, see zones';
comment on column chillflow.quarantine.passenger_count is 'passengers, as published';
comment on column chillflow.quarantine.trip_distance is 'miles by the meter, as published';
comment on column chillflow.quarantine.rate_code is 'see trips';
comment on column chillflow.quarantine.store_and_fwd is 'see trips';
comment on column chillflow.quarantine.payment_type is 'see trips';
comment on column chillflow.quarantine.trip_type is 'see trips';
comment on column chillflow.quarantine.fare_amount is 'US dollars';
comment on column chillflow.quarantine.extra is 'US dollars';
comment on column chillflow.quarantine.mta_tax is 'US dollars';
comment on column chillflow.quarantine.tip_amount is 'US dollars';
comment on column chillflow.quarantine.tolls_amount is 'US dollars';
comment on column chillflow.quarantine.improvement_surcharge is 'US dollars';
comment on column chillflow.quarantine.total_amount is 'US dollars';
comment on column chillflow.quarantine.congestion_surcharge is 'US dollars';
comment on column chillflow.quarantine.airport_fee is 'US dollars';
comment on column chillflow.quarantine.cbd_congestion_fee is 'US dollars';
comment on column chillflow.quarantine.request_source is 'see trips';
comment on column chillflow.quarantine.reason is 'the first curation rule that rejects the row, or not_in_file: a newer file of the month lacks it';
comment on column chillflow.quarantine.unrepresentable is 'what a column could not hold, as column=value, ..';
comment on column chillflow.quarantine.source is 'the path that wrote the row: batch or stream';
comment on column chillflow.quarantine.started_revision is 'greatest revision of the trip_started event; 0 for batch rows';
comment on column chillflow.quarantine.ended_revision is 'greatest revision of the trip_ended event; 0 for batch rows';
comment on column chillflow.quarantine.paid_revision is 'greatest revision of the payment_processed event; 0 for batch rows';
