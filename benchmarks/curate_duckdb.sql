-- The curate job as a DuckDB user would write it for speed: one pass over the key columns that leaves the few rows that
-- are not kept, one pass that streams the kept ones to Parquet. {input}, {output}, {start}, {end} are replaced.

create temp view raw as
select
    file_row_number as source_row, VendorID::int as vendor_id, tpep_pickup_datetime as pickup_at,
    tpep_dropoff_datetime as dropoff_at, PULocationID::int as pickup_zone_id, DOLocationID::int as dropoff_zone_id,
    passenger_count::int as passenger_count, trip_distance, RatecodeID::int as rate_code,
    store_and_fwd_flag as store_and_fwd, payment_type::int as payment_type, fare_amount::decimal(9, 2) as fare_amount,
    extra::decimal(9, 2) as extra, mta_tax::decimal(9, 2) as mta_tax, tip_amount::decimal(9, 2) as tip_amount,
    tolls_amount::decimal(9, 2) as tolls_amount, improvement_surcharge::decimal(9, 2) as improvement_surcharge,
    total_amount::decimal(9, 2) as total_amount, congestion_surcharge::decimal(9, 2) as congestion_surcharge,
    airport_fee::decimal(9, 2) as airport_fee,
    (epoch_us(tpep_dropoff_datetime) - epoch_us(tpep_pickup_datetime)) / 1e6 as seconds,
    hash(VendorID, tpep_pickup_datetime, tpep_dropoff_datetime, PULocationID, DOLocationID,
        round_even(trip_distance * 100, 0), abs(total_amount::decimal(9, 2))) as key
from read_parquet('{input}', file_row_number = true);

create temp table keys as
select
    source_row, key, coalesce(total_amount < 0, false) as negative,
    pickup_at >= '{start}' and pickup_at < '{end}' and dropoff_at is not null as eligible,
    case
        when pickup_at is null or dropoff_at is null then 'ts_missing'
        when pickup_at < '{start}' or pickup_at >= '{end}' then 'pickup_outside_file_month'
        when total_amount is null or not isfinite(coalesce(trip_distance, 0)) then 'value_invalid'
        when coalesce(pickup_zone_id not between 1 and 265, true) or coalesce(dropoff_zone_id not between 1 and 265, true)
            then 'zone_invalid'
        when total_amount < 0 then 'reversal'
        when total_amount = 0 then 'zero_total'
        when seconds <= 0 then 'nonpositive_duration'
        when seconds > 86400 then 'duration_over_24h'
        when trip_distance = 0 and seconds < 60 then 'no_movement'
        when total_amount > 1000 or fare_amount > 500 then 'absurd_money'
        when trip_distance between 0 and 100 and trip_distance * 3600 > 100 * seconds then 'impossible_speed'
    end as reason
from raw;

create temp table repeated as
select key, negative, min(source_row) as first from keys where eligible group by all having count(*) > 1;

create temp table unkept as
select
    source_row, key,
    case when eligible and exists (
        select 1 from repeated where repeated.key = keys.key and repeated.negative = keys.negative and first < source_row
    ) then 'duplicate' else reason end as reason
from keys
where reason is not null or key in (select key from repeated);

delete from unkept where reason is null;

create temp table taken_back as select distinct key from unkept where reason = 'reversal';

update unkept set reason = 'reversed_original'
where key in (select key from taken_back)
    and reason in ('zero_total', 'nonpositive_duration', 'duration_over_24h', 'no_movement', 'absurd_money',
        'impossible_speed');

insert into unkept
select source_row, key, 'reversed_original'
from keys
where not negative and key in (select key from taken_back) and source_row not in (select source_row from unkept);

copy (
    select
        key as trip_id, 'yellow' as service, vendor_id, pickup_at, dropoff_at, pickup_zone_id, dropoff_zone_id,
        case when passenger_count between 1 and 6 then passenger_count end as passenger_count,
        case when trip_distance between 0 and 100 then trip_distance end as trip_distance,
        rate_code, store_and_fwd, payment_type, null::int as trip_type, fare_amount, extra, mta_tax, tip_amount,
        tolls_amount, improvement_surcharge, total_amount, congestion_surcharge, airport_fee,
        null::decimal(9, 2) as cbd_congestion_fee, null::varchar as request_source,
        (case when not trip_distance between 0 and 100 then 1 else 0 end)
        | (case when seconds > 14400 then 4 else 0 end)
        | (case when trip_distance = 0 then 8 else 0 end)
        | (case when pickup_zone_id >= 264 or dropoff_zone_id >= 264 then 16 else 0 end)
        | (case when not passenger_count between 1 and 6 then 32 else 0 end)
        | (case when flex then 64 else 0 end)
        | (case when abs(excess) > 0.01 and not (flex and congestion_surcharge is null and abs(excess - 2.5) <= 0.01)
            then 128 else 0 end)
        | (case when vendor_id not in (1, 2, 6, 7) or payment_type not between 0 and 6
            or rate_code not in (1, 2, 3, 4, 5, 6, 99) then 256 else 0 end) as flags,
        case when not trip_distance between 0 and 100 or not passenger_count between 1 and 6
            then json_object('trip_distance', trip_distance, 'passenger_count', passenger_count) end as raw
    from (
        select
            *,
            coalesce(payment_type, 0) = 0 and passenger_count is null as flex,
            total_amount - (
                coalesce(fare_amount, 0) + coalesce(extra, 0) + coalesce(mta_tax, 0) + coalesce(tip_amount, 0)
                + coalesce(tolls_amount, 0) + coalesce(improvement_surcharge, 0) + coalesce(congestion_surcharge, 0)
                + coalesce(airport_fee, 0) - case when vendor_id = 1 then coalesce(congestion_surcharge, 0) else 0 end
            ) as excess
        from raw
    )
    where source_row not in (select source_row from unkept)
) to '{output}/trips.parquet' (format parquet, compression zstd);

copy (select raw.*, reason from raw join unkept using (source_row) where reason <> 'reversal')
to '{output}/quarantine.parquet' (format parquet, compression zstd);

copy (select raw.* from raw join unkept using (source_row) where reason = 'reversal')
to '{output}/adjustments.parquet' (format parquet, compression zstd);

copy (
    select *
    from (
        select
            pickup_zone_id as zone_id, date_trunc('hour', pickup_at) as hour, count(*) as pickups,
            sum(passenger_count) as passengers_sum, count(passenger_count) as passengers_n,
            sum(miles) as distance_sum, count(trip_distance) as distance_n,
            sum(seconds) filter (short) as duration_sum, count(*) filter (short) as duration_n,
            sum(miles) filter (short) as speed_distance_sum,
            sum(seconds) filter (short and trip_distance is not null) as speed_duration_sum,
            sum(fare_amount) as fare_sum, sum(tip_amount) as tip_sum, sum(tolls_amount) as tolls_sum,
            sum(total_amount) as total_sum,
            count(*) filter (payment_type = 1) as card_trips, sum(tip_amount) filter (payment_type = 1) as card_tip_sum,
            sum(fare_amount) filter (payment_type = 1) as card_fare_sum,
            sum(total_amount) filter (payment_type = 1) as card_total_sum,
            count(*) filter (payment_type = 2) as cash_trips, count(*) filter (flags & 64 <> 0) as flex_trips,
            count(*) filter (pickup_zone_id in (1, 132, 138) or dropoff_zone_id in (1, 132, 138)) as airport_trips,
            count(*) filter (cbd_congestion_fee > 0) as cbd_trips, sum(cbd_congestion_fee) as cbd_sum,
            count(*) filter (flags <> 0) as flagged_trips
        from (
            select
                *, flags & 4 = 0 as short, trip_distance::decimal(9, 2) as miles,
                (epoch_us(dropoff_at) - epoch_us(pickup_at)) // 1000000 as seconds
            from '{output}/trips.parquet'
        )
        group by all
    )
    full join (
        select dropoff_zone_id as zone_id, date_trunc('hour', dropoff_at) as hour, count(*) as dropoffs
        from '{output}/trips.parquet'
        group by all
    ) using (zone_id, hour)
    full join (
        select
            pickup_zone_id as zone_id, date_trunc('hour', pickup_at) as hour, count(*) as reversed_trips,
            sum(total_amount) as reversed_sum
        from '{output}/adjustments.parquet'
        group by all
    ) using (zone_id, hour)
) to '{output}/kpis.parquet' (format parquet, compression zstd);

select reason, count(*) from unkept group by all order by all;
