"""What a transaction writes beside rows, and the quick ways to its columns: equal to the plain ones."""

import datetime as dt

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from chillflow.assembly import Settled
from chillflow.assembly.ids import months_among, prefix_of
from chillflow.months import Month
from chillflow.placing import _hours, frame_of
from chillflow.trips import SERVICE, SERVICES, ids_of, ids_of_text
from tests.stream_samples import rides

zones = st.none() | st.integers(-(2**31), 2**31 - 1) | st.integers(0, 266)
times = st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))
ends = st.tuples(st.sampled_from(SERVICES), zones, times, zones, times)


@given(st.lists(ends, max_size=5), st.lists(ends, max_size=5))
def test_every_hour_of_both_ends_is_noted(kept, rejected):
    columns = ("service", "pickup_zone_id", "pickup_at", "dropoff_zone_id", "dropoff_at")
    kinds = (SERVICE, pl.Int32, pl.Datetime("us"), pl.Int32, pl.Datetime("us"))
    schema = dict(zip(columns, kinds, strict=True))
    frames = [pl.DataFrame(rows, schema, orient="row") for rows in (kept, rejected)]
    assert _hours(*frames) == {
        (service, zone, at.replace(minute=0, second=0, microsecond=0))
        for service, *both in kept + rejected
        for zone, at in (both[:2], both[2:])
        if zone is not None and at is not None
    }


@given(st.integers(0, 2**16))
def test_a_frame_of_trips_holds_what_their_events_told(seed):
    trips = [Settled(ride.trip_id, "green", ride.slots) for ride in rides(seed)]
    frame = frame_of(trips)
    assert frame["trip_id"].to_list() == ids_of_text(pl.Series([trip.trip_id for trip in trips])).to_list()
    for trip, row in zip(trips, frame.iter_rows(named=True), strict=True):
        started, ended, paid = trip.slots
        assert row["service"] == "green"
        assert (row["started_revision"], row["vendor_id"], row["pickup_at"], row["pickup_zone_id"]) == started[:4]
        assert (row["passenger_count"], row["rate_code"], row["store_and_fwd"]) == started[4:7]
        assert (row["ended_revision"], row["dropoff_at"], row["dropoff_zone_id"], row["trip_distance"]) == ended
        assert (row["paid_revision"], row["payment_type"]) == paid[:2]
        dollars = [None if row[name] is None else row[name] / 100 for name in ("fare_amount", "extra", "airport_fee")]
        assert dollars == [paid[2], paid[3], paid[10]]


@given(st.lists(st.uuids().map(str)))
def test_ids_at_hand_are_read_as_those_of_a_column(texts):
    assert ids_of(texts).to_list() == ids_of_text(pl.Series(texts, dtype=pl.String)).to_list()


@given(st.lists(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1)), max_size=6))
def test_months_of_ids_are_those_of_their_pickups(pickups):
    ids = [f"{prefix_of(pickup)}-8000-8000-000000000000" for pickup in pickups]
    assert months_among(ids) == {Month.of(pickup) for pickup in pickups}
