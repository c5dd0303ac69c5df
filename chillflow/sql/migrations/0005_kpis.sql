-- Sums and counts by service, zone and hour.
-- depends: 0001_trips

create table chillflow.kpi_zone_hourly (
    service text not null,
    zone_id int not null,
    hour timestamp not null,
    pickups bigint not null,
    dropoffs bigint not null,
    fare_sum numeric(14, 2) not null,
    tip_sum numeric(14, 2) not null,
    tolls_sum numeric(14, 2) not null,
    total_sum numeric(14, 2) not null,
    constraint kpi_zone_hourly_key primary key (service, zone_id, hour)
);

create index kpi_zone_hourly_hour on chillflow.kpi_zone_hourly (service, hour);

comment on table chillflow.kpi_zone_hourly is 'trips and money by service, zone and hour of wall time; sums and counts only, so every roll-up is exact';
comment on column chillflow.kpi_zone_hourly.service is 'yellow or green';
comment on column chillflow.kpi_zone_hourly.zone_id is 'zone of the pickup, for dropoffs that of the dropoff; see zones';
comment on column chillflow.kpi_zone_hourly.hour is 'beginning of the hour, New York wall time';
comment on column chillflow.kpi_zone_hourly.pickups is 'trips that began here';
comment on column chillflow.kpi_zone_hourly.dropoffs is 'trips that ended here';
comment on column chillflow.kpi_zone_hourly.fare_sum is 'fares of the trips that began here, US dollars';
comment on column chillflow.kpi_zone_hourly.tip_sum is 'card tips of the trips that began here, US dollars';
comment on column chillflow.kpi_zone_hourly.tolls_sum is 'tolls of the trips that began here, US dollars';
comment on column chillflow.kpi_zone_hourly.total_sum is 'totals of the trips that began here, US dollars';
