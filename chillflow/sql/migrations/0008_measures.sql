-- All measures by service, zone and hour; roll-ups; origins and destinations; a role for readers.
-- depends: 0007_replays

alter table chillflow.kpi_zone_hourly
    alter column pickups set default 0,
    alter column dropoffs set default 0,
    alter column fare_sum set default 0,
    alter column tip_sum set default 0,
    alter column tolls_sum set default 0,
    alter column total_sum set default 0,
    add column passengers_sum bigint not null default 0,
    add column passengers_n bigint not null default 0,
    add column distance_sum numeric(14, 2) not null default 0,
    add column distance_n bigint not null default 0,
    add column duration_sum bigint not null default 0,
    add column duration_n bigint not null default 0,
    add column speed_distance_sum numeric(14, 2) not null default 0,
    add column speed_duration_sum bigint not null default 0,
    add column card_trips bigint not null default 0,
    add column card_tip_sum numeric(14, 2) not null default 0,
    add column card_fare_sum numeric(14, 2) not null default 0,
    add column card_total_sum numeric(14, 2) not null default 0,
    add column cash_trips bigint not null default 0,
    add column flex_trips bigint not null default 0,
    add column airport_trips bigint not null default 0,
    add column cbd_trips bigint not null default 0,
    add column cbd_sum numeric(14, 2) not null default 0,
    add column reversed_trips bigint not null default 0,
    add column reversed_sum numeric(14, 2) not null default 0,
    add column flagged_trips bigint not null default 0;

comment on column chillflow.kpi_zone_hourly.pickups is 'trips that began here';
comment on column chillflow.kpi_zone_hourly.dropoffs is 'trips that ended here';
comment on column chillflow.kpi_zone_hourly.passengers_sum is 'passengers, where their number is known';
comment on column chillflow.kpi_zone_hourly.passengers_n is 'trips whose number of passengers is known';
comment on column chillflow.kpi_zone_hourly.distance_sum is 'distances by the meter, where they are believable, miles';
comment on column chillflow.kpi_zone_hourly.distance_n is 'trips with a believable distance';
comment on column chillflow.kpi_zone_hourly.duration_sum is 'durations, without those of more than four hours, seconds';
comment on column chillflow.kpi_zone_hourly.duration_n is 'trips of at most four hours';
comment on column chillflow.kpi_zone_hourly.speed_distance_sum is 'distances of trips that have both, for the speed, miles';
comment on column chillflow.kpi_zone_hourly.speed_duration_sum is 'durations of trips that have both, for the speed, seconds';
comment on column chillflow.kpi_zone_hourly.fare_sum is 'fares by the meter, US dollars';
comment on column chillflow.kpi_zone_hourly.tip_sum is 'tips, those paid in cash are not known, US dollars';
comment on column chillflow.kpi_zone_hourly.tolls_sum is 'tolls, US dollars';
comment on column chillflow.kpi_zone_hourly.total_sum is 'all that was charged, cash tips excluded, US dollars';
comment on column chillflow.kpi_zone_hourly.card_trips is 'trips paid by card';
comment on column chillflow.kpi_zone_hourly.card_tip_sum is 'tips of trips paid by card, US dollars';
comment on column chillflow.kpi_zone_hourly.card_fare_sum is 'fares of trips paid by card, US dollars';
comment on column chillflow.kpi_zone_hourly.card_total_sum is 'totals of trips paid by card, US dollars';
comment on column chillflow.kpi_zone_hourly.cash_trips is 'trips paid in cash';
comment on column chillflow.kpi_zone_hourly.flex_trips is 'trips dispatched by an app at a price agreed before';
comment on column chillflow.kpi_zone_hourly.airport_trips is 'trips that began or ended at Newark, JFK or LaGuardia';
comment on column chillflow.kpi_zone_hourly.cbd_trips is 'trips that paid the congestion pricing fee';
comment on column chillflow.kpi_zone_hourly.cbd_sum is 'congestion pricing fees, US dollars';
comment on column chillflow.kpi_zone_hourly.reversed_trips is 'reversals of trips that began here';
comment on column chillflow.kpi_zone_hourly.reversed_sum is 'totals of the reversals, negative, US dollars';
comment on column chillflow.kpi_zone_hourly.flagged_trips is 'trips with a flag of curation, rules 12 to 20';

-- What was computed before lacks the new measures: it is noted, and no longer called done.
insert into chillflow.kpi_dirty (service, hour)
select service, hour from chillflow.kpi_zone_hourly
union
select service, date_trunc('hour', pickup_at) from chillflow.adjustments;

update chillflow.months set status = 'loaded', aggregated_at = null where path = 'batch' and status = 'done';

create view chillflow.kpi_zone_daily as
select
    service,
    zone_id,
    hour::date as day,
    sum(pickups)::bigint as pickups,
    sum(dropoffs)::bigint as dropoffs,
    sum(passengers_sum)::bigint as passengers_sum,
    sum(passengers_n)::bigint as passengers_n,
    sum(distance_sum)::numeric(14, 2) as distance_sum,
    sum(distance_n)::bigint as distance_n,
    sum(duration_sum)::bigint as duration_sum,
    sum(duration_n)::bigint as duration_n,
    sum(speed_distance_sum)::numeric(14, 2) as speed_distance_sum,
    sum(speed_duration_sum)::bigint as speed_duration_sum,
    sum(fare_sum)::numeric(14, 2) as fare_sum,
    sum(tip_sum)::numeric(14, 2) as tip_sum,
    sum(tolls_sum)::numeric(14, 2) as tolls_sum,
    sum(total_sum)::numeric(14, 2) as total_sum,
    sum(card_trips)::bigint as card_trips,
    sum(card_tip_sum)::numeric(14, 2) as card_tip_sum,
    sum(card_fare_sum)::numeric(14, 2) as card_fare_sum,
    sum(card_total_sum)::numeric(14, 2) as card_total_sum,
    sum(cash_trips)::bigint as cash_trips,
    sum(flex_trips)::bigint as flex_trips,
    sum(airport_trips)::bigint as airport_trips,
    sum(cbd_trips)::bigint as cbd_trips,
    sum(cbd_sum)::numeric(14, 2) as cbd_sum,
    sum(reversed_trips)::bigint as reversed_trips,
    sum(reversed_sum)::numeric(14, 2) as reversed_sum,
    sum(flagged_trips)::bigint as flagged_trips
from chillflow.kpi_zone_hourly
group by 1, 2, 3;

comment on view chillflow.kpi_zone_daily is 'trips and money by service, zone and day: sums of kpi_zone_hourly';
comment on column chillflow.kpi_zone_daily.service is 'yellow or green';
comment on column chillflow.kpi_zone_daily.zone_id is 'zone of the pickup, for dropoffs that of the dropoff; see zones';
comment on column chillflow.kpi_zone_daily.day is 'day, New York wall time';

create view chillflow.kpi_zone_monthly as
select
    service,
    zone_id,
    date_trunc('month', hour)::date as month,
    sum(pickups)::bigint as pickups,
    sum(dropoffs)::bigint as dropoffs,
    sum(passengers_sum)::bigint as passengers_sum,
    sum(passengers_n)::bigint as passengers_n,
    sum(distance_sum)::numeric(14, 2) as distance_sum,
    sum(distance_n)::bigint as distance_n,
    sum(duration_sum)::bigint as duration_sum,
    sum(duration_n)::bigint as duration_n,
    sum(speed_distance_sum)::numeric(14, 2) as speed_distance_sum,
    sum(speed_duration_sum)::bigint as speed_duration_sum,
    sum(fare_sum)::numeric(14, 2) as fare_sum,
    sum(tip_sum)::numeric(14, 2) as tip_sum,
    sum(tolls_sum)::numeric(14, 2) as tolls_sum,
    sum(total_sum)::numeric(14, 2) as total_sum,
    sum(card_trips)::bigint as card_trips,
    sum(card_tip_sum)::numeric(14, 2) as card_tip_sum,
    sum(card_fare_sum)::numeric(14, 2) as card_fare_sum,
    sum(card_total_sum)::numeric(14, 2) as card_total_sum,
    sum(cash_trips)::bigint as cash_trips,
    sum(flex_trips)::bigint as flex_trips,
    sum(airport_trips)::bigint as airport_trips,
    sum(cbd_trips)::bigint as cbd_trips,
    sum(cbd_sum)::numeric(14, 2) as cbd_sum,
    sum(reversed_trips)::bigint as reversed_trips,
    sum(reversed_sum)::numeric(14, 2) as reversed_sum,
    sum(flagged_trips)::bigint as flagged_trips
from chillflow.kpi_zone_hourly
group by 1, 2, 3;

comment on view chillflow.kpi_zone_monthly is 'trips and money by service, zone and month: sums of kpi_zone_hourly';
comment on column chillflow.kpi_zone_monthly.service is 'yellow or green';
comment on column chillflow.kpi_zone_monthly.zone_id is 'zone of the pickup, for dropoffs that of the dropoff; see zones';
comment on column chillflow.kpi_zone_monthly.month is 'first day of the month, New York wall time';

create view chillflow.kpi_borough_daily as
select
    service,
    borough,
    hour::date as day,
    sum(pickups)::bigint as pickups,
    sum(dropoffs)::bigint as dropoffs,
    sum(passengers_sum)::bigint as passengers_sum,
    sum(passengers_n)::bigint as passengers_n,
    sum(distance_sum)::numeric(14, 2) as distance_sum,
    sum(distance_n)::bigint as distance_n,
    sum(duration_sum)::bigint as duration_sum,
    sum(duration_n)::bigint as duration_n,
    sum(speed_distance_sum)::numeric(14, 2) as speed_distance_sum,
    sum(speed_duration_sum)::bigint as speed_duration_sum,
    sum(fare_sum)::numeric(14, 2) as fare_sum,
    sum(tip_sum)::numeric(14, 2) as tip_sum,
    sum(tolls_sum)::numeric(14, 2) as tolls_sum,
    sum(total_sum)::numeric(14, 2) as total_sum,
    sum(card_trips)::bigint as card_trips,
    sum(card_tip_sum)::numeric(14, 2) as card_tip_sum,
    sum(card_fare_sum)::numeric(14, 2) as card_fare_sum,
    sum(card_total_sum)::numeric(14, 2) as card_total_sum,
    sum(cash_trips)::bigint as cash_trips,
    sum(flex_trips)::bigint as flex_trips,
    sum(airport_trips)::bigint as airport_trips,
    sum(cbd_trips)::bigint as cbd_trips,
    sum(cbd_sum)::numeric(14, 2) as cbd_sum,
    sum(reversed_trips)::bigint as reversed_trips,
    sum(reversed_sum)::numeric(14, 2) as reversed_sum,
    sum(flagged_trips)::bigint as flagged_trips
from chillflow.kpi_zone_hourly join chillflow.zones using (zone_id)
group by 1, 2, 3;

comment on view chillflow.kpi_borough_daily is 'trips and money by service, borough and day: sums of kpi_zone_hourly';
comment on column chillflow.kpi_borough_daily.service is 'yellow or green';
comment on column chillflow.kpi_borough_daily.borough is 'borough of the zone, see zones; N/A and Unknown are literal';
comment on column chillflow.kpi_borough_daily.day is 'day, New York wall time';

create view chillflow.kpi_city_daily as
select
    service,
    hour::date as day,
    sum(pickups)::bigint as pickups,
    sum(dropoffs)::bigint as dropoffs,
    sum(passengers_sum)::bigint as passengers_sum,
    sum(passengers_n)::bigint as passengers_n,
    sum(distance_sum)::numeric(14, 2) as distance_sum,
    sum(distance_n)::bigint as distance_n,
    sum(duration_sum)::bigint as duration_sum,
    sum(duration_n)::bigint as duration_n,
    sum(speed_distance_sum)::numeric(14, 2) as speed_distance_sum,
    sum(speed_duration_sum)::bigint as speed_duration_sum,
    sum(fare_sum)::numeric(14, 2) as fare_sum,
    sum(tip_sum)::numeric(14, 2) as tip_sum,
    sum(tolls_sum)::numeric(14, 2) as tolls_sum,
    sum(total_sum)::numeric(14, 2) as total_sum,
    sum(card_trips)::bigint as card_trips,
    sum(card_tip_sum)::numeric(14, 2) as card_tip_sum,
    sum(card_fare_sum)::numeric(14, 2) as card_fare_sum,
    sum(card_total_sum)::numeric(14, 2) as card_total_sum,
    sum(cash_trips)::bigint as cash_trips,
    sum(flex_trips)::bigint as flex_trips,
    sum(airport_trips)::bigint as airport_trips,
    sum(cbd_trips)::bigint as cbd_trips,
    sum(cbd_sum)::numeric(14, 2) as cbd_sum,
    sum(reversed_trips)::bigint as reversed_trips,
    sum(reversed_sum)::numeric(14, 2) as reversed_sum,
    sum(flagged_trips)::bigint as flagged_trips
from chillflow.kpi_zone_hourly
group by 1, 2;

comment on view chillflow.kpi_city_daily is 'trips and money by service and day: sums of kpi_zone_hourly';
comment on column chillflow.kpi_city_daily.service is 'yellow or green';
comment on column chillflow.kpi_city_daily.day is 'day, New York wall time';

create view chillflow.kpi_city_monthly as
select
    service,
    date_trunc('month', hour)::date as month,
    sum(pickups)::bigint as pickups,
    sum(dropoffs)::bigint as dropoffs,
    sum(passengers_sum)::bigint as passengers_sum,
    sum(passengers_n)::bigint as passengers_n,
    sum(distance_sum)::numeric(14, 2) as distance_sum,
    sum(distance_n)::bigint as distance_n,
    sum(duration_sum)::bigint as duration_sum,
    sum(duration_n)::bigint as duration_n,
    sum(speed_distance_sum)::numeric(14, 2) as speed_distance_sum,
    sum(speed_duration_sum)::bigint as speed_duration_sum,
    sum(fare_sum)::numeric(14, 2) as fare_sum,
    sum(tip_sum)::numeric(14, 2) as tip_sum,
    sum(tolls_sum)::numeric(14, 2) as tolls_sum,
    sum(total_sum)::numeric(14, 2) as total_sum,
    sum(card_trips)::bigint as card_trips,
    sum(card_tip_sum)::numeric(14, 2) as card_tip_sum,
    sum(card_fare_sum)::numeric(14, 2) as card_fare_sum,
    sum(card_total_sum)::numeric(14, 2) as card_total_sum,
    sum(cash_trips)::bigint as cash_trips,
    sum(flex_trips)::bigint as flex_trips,
    sum(airport_trips)::bigint as airport_trips,
    sum(cbd_trips)::bigint as cbd_trips,
    sum(cbd_sum)::numeric(14, 2) as cbd_sum,
    sum(reversed_trips)::bigint as reversed_trips,
    sum(reversed_sum)::numeric(14, 2) as reversed_sum,
    sum(flagged_trips)::bigint as flagged_trips
from chillflow.kpi_zone_hourly
group by 1, 2;

comment on view chillflow.kpi_city_monthly is 'trips and money by service and month: sums of kpi_zone_hourly';
comment on column chillflow.kpi_city_monthly.service is 'yellow or green';
comment on column chillflow.kpi_city_monthly.month is 'first day of the month, New York wall time';

-- A measure means the same on every level.
do $$
declare
    measure record;
begin
    for measure in
        select view.relname, rolled.attname, col_description(hourly.attrelid, hourly.attnum) as meaning
        from pg_class as view
        join pg_attribute as rolled on rolled.attrelid = view.oid and rolled.attnum > 0
        join pg_attribute as hourly on hourly.attname = rolled.attname
        where view.relnamespace = 'chillflow'::regnamespace
            and view.relkind = 'v'
            and col_description(rolled.attrelid, rolled.attnum) is null
            and hourly.attrelid = 'chillflow.kpi_zone_hourly'::regclass
    loop
        execute format('comment on column chillflow.%I.%I is %L', measure.relname, measure.attname, measure.meaning);
    end loop;
end
$$;

create table chillflow.kpi_pairs_monthly (
    service text not null,
    month date not null,
    pickup_zone_id int not null,
    dropoff_zone_id int not null,
    trips bigint not null,
    fare_sum numeric(14, 2) not null,
    duration_sum bigint not null,
    duration_n bigint not null,
    median_fare numeric(9, 2),
    constraint kpi_pairs_monthly_key primary key (service, month, pickup_zone_id, dropoff_zone_id)
);

comment on table chillflow.kpi_pairs_monthly is 'trips by service, month of pickup, origin and destination';
comment on column chillflow.kpi_pairs_monthly.service is 'yellow or green';
comment on column chillflow.kpi_pairs_monthly.month is 'first day of the month of the pickup';
comment on column chillflow.kpi_pairs_monthly.pickup_zone_id is 'zone where the trips began, see zones';
comment on column chillflow.kpi_pairs_monthly.dropoff_zone_id is 'zone where they ended, see zones';
comment on column chillflow.kpi_pairs_monthly.trips is 'trips from the one to the other';
comment on column chillflow.kpi_pairs_monthly.fare_sum is 'their fares, US dollars';
comment on column chillflow.kpi_pairs_monthly.duration_sum is 'their durations, without those of more than four hours, seconds';
comment on column chillflow.kpi_pairs_monthly.duration_n is 'trips of at most four hours';
comment on column chillflow.kpi_pairs_monthly.median_fare is 'the middle one of their fares, of an even number the lower, US dollars; medians cannot be summed up';

create table chillflow.kpi_revisions (
    service text not null,
    slice date not null,
    revision uuid not null,
    pairs_revision uuid,
    refreshed_at timestamptz not null,
    constraint kpi_revisions_key primary key (service, slice),
    constraint kpi_revisions_slice check (extract(day from slice) in (1, 16))
);

comment on table chillflow.kpi_revisions is 'what the KPIs of half a month are known by: another revision, other KPIs';
comment on column chillflow.kpi_revisions.service is 'yellow or green';
comment on column chillflow.kpi_revisions.slice is 'first day of the half month, its 1st or 16th';
comment on column chillflow.kpi_revisions.revision is 'a new value with every refresh of its zone-hours';
comment on column chillflow.kpi_revisions.pairs_revision is 'the revision that kpi_pairs_monthly was computed after; another one than revision: it is older';
comment on column chillflow.kpi_revisions.refreshed_at is 'when the zone-hours were refreshed';

-- Roles belong to the whole server: another database of it may have made this one, or be about to. A user who may not
-- make roles goes without; docs/warehouse.md says what to run then.
do $$
begin
    begin
        create role chillflow_reader nologin;
    exception
        when duplicate_object or unique_violation or insufficient_privilege then null;
    end;
    if exists (select from pg_roles where rolname = 'chillflow_reader') then
        grant usage on schema chillflow to chillflow_reader;
        grant select on all tables in schema chillflow to chillflow_reader;
        alter default privileges in schema chillflow grant select on tables to chillflow_reader;
    end if;
end
$$;
