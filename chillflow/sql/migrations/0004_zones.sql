-- The city's taxi zones, loaded from the package's reference data.
-- depends: 0001_trips

create table chillflow.zones (
    zone_id int not null,
    borough text not null,
    zone text not null,
    service_zone text not null,
    constraint zones_key primary key (zone_id)
);

comment on table chillflow.zones is 'taxi zones of New York; 264 is unknown, 265 outside of the city';
comment on column chillflow.zones.zone_id is 'number of the zone, 1 to 265';
comment on column chillflow.zones.borough is 'borough, EWR for Newark; N/A is literal';
comment on column chillflow.zones.zone is 'name; not unique';
comment on column chillflow.zones.service_zone is 'Yellow Zone, Boro Zone, Airports, EWR or N/A';
