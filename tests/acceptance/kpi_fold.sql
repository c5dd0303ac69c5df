-- The measures of trips and adjustments, written for DuckDB on their own: no expression is shared with kpis.py.
with begun as (
    select
        service,
        pickup_zone_id as zone_id,
        date_trunc('hour', pickup_at) as hour,
        count(*) as pickups,
        sum(passenger_count) as passengers_sum,
        count(passenger_count) as passengers_n,
        sum(round_even(trip_distance * 100, 0)::bigint) as hundredths,
        count(trip_distance) as distance_n,
        sum(case when (flags & 4) = 0 then date_diff('second', pickup_at, dropoff_at) end) as duration_sum,
        count(*) filter ((flags & 4) = 0) as duration_n,
        sum(case when (flags & 4) = 0 then round_even(trip_distance * 100, 0)::bigint end) as speed_hundredths,
        sum(case when (flags & 4) = 0 and trip_distance is not null then date_diff('second', pickup_at, dropoff_at) end)
            as speed_duration_sum,
        sum(fare_amount) as fare_sum,
        sum(tip_amount) as tip_sum,
        sum(tolls_amount) as tolls_sum,
        sum(total_amount) as total_sum,
        count_if(payment_type = 1) as card_trips,
        sum(case payment_type when 1 then tip_amount end) as card_tip_sum,
        sum(case payment_type when 1 then fare_amount end) as card_fare_sum,
        sum(case payment_type when 1 then total_amount end) as card_total_sum,
        count_if(payment_type = 2) as cash_trips,
        count_if((payment_type is null or payment_type = 0) and passenger_count is null and (flags & 32) = 0) as flex_trips,
        count_if(list_has_any([pickup_zone_id, dropoff_zone_id], [1, 132, 138])) as airport_trips,
        count_if(cbd_congestion_fee > 0) as cbd_trips,
        sum(cbd_congestion_fee) as cbd_sum,
        count_if(flags > 0) as flagged_trips
    from trips
    group by all
),
ended as (
    select service, dropoff_zone_id as zone_id, date_trunc('hour', dropoff_at) as hour, count(*) as dropoffs
    from trips
    group by all
),
reversed as (
    select
        service,
        pickup_zone_id as zone_id,
        date_trunc('hour', pickup_at) as hour,
        count(*) as reversed_trips,
        sum(total_amount) as reversed_sum
    from adjustments
    group by all
)
select
    service,
    zone_id,
    hour,
    coalesce(pickups, 0) as pickups,
    coalesce(dropoffs, 0) as dropoffs,
    coalesce(passengers_sum, 0)::bigint as passengers_sum,
    coalesce(passengers_n, 0) as passengers_n,
    (coalesce(hundredths, 0)::decimal(18, 0) * 0.01)::decimal(18, 2) as distance_sum,
    coalesce(distance_n, 0) as distance_n,
    coalesce(duration_sum, 0)::bigint as duration_sum,
    coalesce(duration_n, 0) as duration_n,
    (coalesce(speed_hundredths, 0)::decimal(18, 0) * 0.01)::decimal(18, 2) as speed_distance_sum,
    coalesce(speed_duration_sum, 0)::bigint as speed_duration_sum,
    coalesce(fare_sum, 0) as fare_sum,
    coalesce(tip_sum, 0) as tip_sum,
    coalesce(tolls_sum, 0) as tolls_sum,
    coalesce(total_sum, 0) as total_sum,
    coalesce(card_trips, 0)::bigint as card_trips,
    coalesce(card_tip_sum, 0) as card_tip_sum,
    coalesce(card_fare_sum, 0) as card_fare_sum,
    coalesce(card_total_sum, 0) as card_total_sum,
    coalesce(cash_trips, 0)::bigint as cash_trips,
    coalesce(flex_trips, 0)::bigint as flex_trips,
    coalesce(airport_trips, 0)::bigint as airport_trips,
    coalesce(cbd_trips, 0)::bigint as cbd_trips,
    coalesce(cbd_sum, 0) as cbd_sum,
    coalesce(reversed_trips, 0) as reversed_trips,
    coalesce(reversed_sum, 0) as reversed_sum,
    coalesce(flagged_trips, 0)::bigint as flagged_trips
from begun
full join ended using (service, zone_id, hour)
full join reversed using (service, zone_id, hour)
order by service desc, zone_id, hour
