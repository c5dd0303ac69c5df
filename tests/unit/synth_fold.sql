-- What docs/curation.md makes of each row of a month's file, written down a second time: for the view `raw` (canonical columns
-- and source_row), and the variables `service`, `month_start`, `month_end`, `fall_back` (a date).
with measured as (
    select *,
        epoch_us(dropoff_at) - epoch_us(pickup_at) as raw_us,
        date_trunc('day', pickup_at) = getvariable('fall_back') and hour(pickup_at) < 2 as autumn_night,
        case when isfinite(total_amount) then round_even(total_amount * 100, 0)::bigint end as cents,
        case when trip_distance is null then 'null' when isfinite(trip_distance)
            then round_even(trip_distance * 100, 0)::bigint::varchar else trip_distance::varchar end as distance_key,
        case when total_amount is null then 'null' when isfinite(total_amount)
            then abs(round_even(total_amount * 100, 0)::bigint)::varchar else total_amount::varchar end as total_key,
        case when trip_distance between 0 and 100 then trip_distance end as miles,
        case when passenger_count between 1 and 6 then passenger_count end as passengers,
        list_transform(
            [fare_amount, extra, mta_tax, tip_amount, tolls_amount, improvement_surcharge, congestion_surcharge,
             airport_fee, cbd_congestion_fee],
            lambda dollars: coalesce(round_even(dollars * 100, 0)::bigint, 0)) as components,
        coalesce(round_even(congestion_surcharge * 100, 0)::bigint, 0) as congestion_cents,
        coalesce(round_even(improvement_surcharge * 100, 0)::bigint, 0) as improvement_cents,
        coalesce(payment_type, 0) = 0 and passenger_count is null as flex
    from raw
),
fixed as (
    select *,
        autumn_night and raw_us < 0 and raw_us > -3600000000 as set_back,
        (raw_us + if(set_back, 3600000000, 0)) / 1e6 as seconds,
        dropoff_at + if(set_back, interval 1 hour, interval 0 hour) as ends_at,
        list_sum(components)
            - if(coalesce(vendor_id = 1, false), congestion_cents, 0)
            - if(coalesce(vendor_id = 1, false) and getvariable('service') = 'green', improvement_cents, 0) as expected,
        case getvariable('service') when 'green' then 275 else 250 end as hidden,
        row_number() over (
            partition by vendor_id, pickup_at, dropoff_at, pickup_zone_id, dropoff_zone_id, distance_key, total_key,
                coalesce(cents < 0, false)
            order by source_row) as occurrence
    from measured
),
invalid as (
    select *,
        total_amount is null or not isfinite(total_amount) or not isfinite(coalesce(trip_distance, 0))
            or list_max(list_transform(components, lambda cents: abs(cents))) > 999999999 or abs(cents) > 999999999
            as value_invalid
    from fixed
),
first_rules as (
    select *,
        case
            when pickup_at is null or dropoff_at is null then 'ts_missing'
            when pickup_at < getvariable('month_start') or pickup_at >= getvariable('month_end')
                then 'pickup_outside_file_month'
            when occurrence > 1 then 'duplicate'
            when value_invalid then 'value_invalid'
            when coalesce(pickup_zone_id not between 1 and 265, true)
                or coalesce(dropoff_zone_id not between 1 and 265, true) then 'zone_invalid'
            when cents < 0 then 'reversal'
        end as early
    from invalid
),
reversed as (
    select distinct vendor_id, pickup_at, dropoff_at, pickup_zone_id, dropoff_zone_id, distance_key, total_key
    from first_rules where early = 'reversal'
),
judged as (
    select f.*,
        case
            when early is not null then early
            when r.pickup_at is not null then 'reversed_original'
            when cents = 0 then 'zero_total'
            when seconds <= 0 then 'nonpositive_duration'
            when seconds > 86400 then 'duration_over_24h'
            when f.trip_distance = 0 and seconds < 60 then 'no_movement'
            when cents > 100000 or fare_amount > 500 then 'absurd_money'
            when miles * 3600 > 100 * seconds then 'impossible_speed'
        end as reason
    from first_rules f left join reversed r
        on r.vendor_id is not distinct from f.vendor_id and r.pickup_at = f.pickup_at and r.dropoff_at = f.dropoff_at
        and r.pickup_zone_id = f.pickup_zone_id and r.dropoff_zone_id = f.dropoff_zone_id
        and r.distance_key = f.distance_key and r.total_key = f.total_key
),
flagged as (
    select *,
        if(trip_distance is not null and miles is null, 1, 0)
        + if(set_back, 2, 0)
        + if(seconds > 14400, 4, 0)
        + if(trip_distance = 0 and seconds >= 60, 8, 0)
        + if(pickup_zone_id in (264, 265) or dropoff_zone_id in (264, 265), 16, 0)
        + if(passenger_count is not null and passengers is null, 32, 0)
        + if(flex, 64, 0)
        + if(abs(cents - expected) > 1
             and not (flex and congestion_surcharge is null and abs(cents - expected - hidden) <= 1), 128, 0)
        + if(coalesce(vendor_id not in (1, 2, 6, 7), false) or coalesce(payment_type not between 0 and 6, false)
             or coalesce(rate_code not in (1, 2, 3, 4, 5, 6, 99), false), 256, 0) as trip_flags
    from judged
)
select source_row,
    case when reason is null then 'trip' when reason = 'reversal' then 'adjustment' else 'quarantine' end as outcome,
    reason,
    if(reason is null, trip_flags, 0)::integer as flags,
    if(reason is null, nullif(concat_ws(',', if(trip_flags & 1 > 0, 'trip_distance', null),
        if(trip_flags & 2 > 0, 'dropoff_at', null), if(trip_flags & 32 > 0, 'passenger_count', null)), ''), null) as fixed,
    if(reason is null, ends_at, null) as dropoff_at,
    if(reason is null, miles, null) as trip_distance,
    if(reason is null, passengers, null)::integer as passenger_count
from flagged
