"""Events: a round trip for any trip, and strict reading: whatever a record holds, it is an event or a dead letter."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow import reading
from chillflow.assembly.ids import month_of
from chillflow.event_schemas import files, schema
from chillflow.events import ENDED as ENDED_COLUMNS
from chillflow.events import PAID as PAID_COLUMNS
from chillflow.events import SLOTS, Decoded, Polled, event_id, key_of, pickup_of
from chillflow.events import STARTED as STARTED_COLUMNS
from chillflow.explosion import explode, implode
from chillflow.months import Month
from chillflow.reading import LONGEST, decode, decode_all
from chillflow.trips import MAX_CENTS, MONEY, RAW_COLUMNS, SERVICE, SERVICES, id_text, ids_of_text, trip_id
from tests.strategies import RAW_FRAME

DOCS = Path(__file__).parents[2] / "docs"
NOW = dt.datetime(2026, 1, 1)
_int32 = st.none() | st.integers(-(2**31), 2**31 - 1)
_text = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
_ints = ("vendor_id", "pickup_zone_id", "dropoff_zone_id", "passenger_count", "rate_code", "payment_type", "trip_type")
_row = st.fixed_dictionaries(
    {
        "service": st.sampled_from(SERVICES),
        "pickup_at": st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2025, 12, 30)),
        "dropoff_at": st.datetimes(dt.datetime(1, 1, 1)),
        "trip_distance": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        **dict.fromkeys(_ints, _int32),
        **dict.fromkeys(MONEY, st.none() | st.integers(-MAX_CENTS, MAX_CENTS)),
        "total_amount": st.integers(-MAX_CENTS, MAX_CENTS),
        "store_and_fwd": _text,
        "request_source": _text,
    }
)


def trips(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={name: RAW_FRAME[name] for name in RAW_COLUMNS})
    return frame.with_columns(trip_id(frame)).unique("trip_id", keep="first", maintain_order=True)


def read(keys: list[Any], values: list[Any]) -> Decoded:
    return decode(Polled(0, 5, 5 + len(values), list(range(5, 5 + len(values))), keys, values), NOW)


@given(st.lists(_row, min_size=1, max_size=6))
def test_any_trip_is_the_same_after_it_was_told_as_events(rows):
    frame = trips(rows)
    told = explode(frame)
    found = read(told["key"].to_list(), told["value"].to_list())
    assert not found.dead
    assert implode(found.events).equals(frame.select("trip_id", *RAW_COLUMNS), null_equal=True)


@given(st.lists(st.integers(0, 2**128 - 1), max_size=20))
def test_ids_are_the_same_as_text_and_back(ids):
    given_ids = pl.Series("trip_id", ids, pl.UInt128)
    text = id_text(given_ids)
    assert all(
        len(each) == 36 and int(each.replace("-", ""), 16) == number for each, number in zip(text, ids, strict=True)
    )
    assert ids_of_text(text).equals(given_ids)


def test_the_greatest_revision_counts_when_events_become_trips():
    frame = trips([ROW])
    late = explode(frame.with_columns(pl.lit(2, pl.Int32).alias("revision")))
    early = explode(frame.with_columns(tip_amount=pl.lit(999, pl.Int32)))
    told = pl.concat([late, early])
    assert implode(read(told["key"].to_list(), told["value"].to_list()).events)["tip_amount"].to_list() == [100]


def test_a_distance_that_json_cannot_tell_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        explode(trips([ROW | {"trip_distance": float("nan")}]))


ROW: dict[str, Any] = dict.fromkeys(RAW_COLUMNS) | {
    "service": "yellow", "pickup_at": dt.datetime(2019, 3, 1, 0, 0, 15), "dropoff_at": dt.datetime(2019, 3, 1, 0, 20),
    "trip_distance": 2.5, "fare_amount": 1050, "tip_amount": 100, "total_amount": 1150, "store_and_fwd": "N",
}  # fmt: skip
_told = explode(trips([ROW]))
KEY = _told["key"][0]
STARTED, ENDED, PAID = (json.loads(value) for value in _told["value"])
DEEP = b'{"type":"trip_started","more":' + b"[" * 400_000 + b"]" * 400_000 + b"}"


def with_(event: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps(event | fields).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "payload: it is empty"),
        (b"", "payload: it is empty"),
        (b"{", "payload: it is not JSON"),
        (b"[1]", "payload: expected `object`"),
        (b"\xff{}", "payload: it is not UTF-8"),
        (b" " * 1_000_001, "payload: 1,000,001 bytes, more than 1,000,000"),
        (DEEP, "payload: "),
        (with_(STARTED, type="trip_paused"), "type: invalid value 'trip_paused'"),
        (with_({k: v for k, v in STARTED.items() if k != "type"}), "type: it is missing"),
        (with_(STARTED, schema_version=2), "schema_version: invalid enum value 2; this version reads 1"),
        (with_({k: v for k, v in STARTED.items() if k != "revision"}), "revision: it is missing"),
        (with_(STARTED, revision=0), "revision: "),
        (with_(STARTED, service="fhv"), "service: "),
        (with_(STARTED, vendor_id="2"), "vendor_id: expected `int | null`, got `str`"),
        (with_(STARTED, pickup_at="2019-03-01T00:00:15Z"), "pickup_at: "),
        (with_(STARTED, pickup_at="2019-03-01T00:00:16"), "pickup_at: "),
        (with_(STARTED, event_at="2019-03-01T00:00:16"), "event_at: it is not pickup_at"),
        (with_(STARTED, store_and_fwd="N\0"), "store_and_fwd: it holds a NUL character"),
        (with_(STARTED, trip_id=STARTED["trip_id"].upper()), "trip_id: it is no lower-case UUID"),
        (with_(STARTED, trip_id="0" * 36), "trip_id: it is no lower-case UUID"),
        (with_(STARTED, trip_id="ffffffff-ffff-8abc-9def-000000000000"), "key: "),
        (with_(ENDED, event_at="2019-03-03T00:00:00"), "event_at: it is not within the 24 hours"),
        (with_(ENDED, event_at="2019-03-01T00:21:00"), "event_at: it is not dropoff_at"),
        (with_(STARTED, event_id="else"), "event_id: it is not "),
        (with_(PAID, revision=2), "event_id: it is not "),
        (with_(STARTED)[:-1] + b',"type":"trip_ended"}', "type: "),
        (with_(ENDED, event_at="2019-03-01T00:20:00.001"), "event_at: it is not dropoff_at"),
        (with_(ENDED, trip_distance=1e999), "payload: it is not JSON"),
        (with_(ENDED, trip_distance=17).replace(b": 17", b": 1e400"), "trip_distance: "),
        (with_(PAID, extra=17).replace(b": 17", b": " + b"9" * 400), "extra: "),
        (with_(ENDED, dropoff_at=None), "dropoff_at: expected `datetime`, got `null`"),
        (with_(PAID, total_amount=-11.5), "total_amount: its sign"),
        (with_(PAID, total_amount=None), "total_amount: expected `float`, got `null`"),
        (with_(PAID, extra=1.005), "extra: 1.005 is no amount"),
        (with_(PAID, extra=1.0000009), "extra: 1.0000009 is no amount"),
        (with_(PAID, extra=1e308), "extra: 1e+308 is no amount"),
        (with_(PAID, extra=10_000_000.0), "extra: 10000000.0 is no amount"),
        (with_(STARTED, more=1)[:-1] + b',"type":"x"}', "type: "),
        (with_(STARTED, more=1)[:-1] + b',"type":7}', "type: "),
        (with_(STARTED, more=1, vendor_id="2"), "vendor_id: "),
    ],
)  # fmt: skip
def test_what_is_no_event_is_a_dead_letter_that_names_the_field(value, reason):
    found = read([KEY, KEY], [value, with_(PAID)])
    assert found.dead[0].reason.startswith(reason)
    assert (found.dead[0].offset, found.dead[0].payload, found.dead[0].key) == (5, value, KEY)
    assert found.offsets == [6]


def test_a_pickup_after_the_year_9999_is_a_dead_letter():
    trip = "ffffffff-ffff-8abc-9def-000000000000"
    found = read([key_of(trip).encode()], [with_(STARTED, trip_id=trip)])
    assert "pickup_at" in found.dead[0].reason


def test_an_event_of_the_future_is_a_dead_letter():
    future = trips([ROW | {"pickup_at": NOW + dt.timedelta(days=2), "dropoff_at": NOW + dt.timedelta(days=2)}])
    told = explode(future)
    found = read(told["key"].to_list(), told["value"].to_list())
    assert all("event_at" in letter.reason for letter in found.dead)
    assert len(found.dead) == 3


def test_another_key_is_a_dead_letter():
    assert read([b"else"], [with_(STARTED)]).dead[0].reason.startswith("key: ")
    assert read([None], [with_(STARTED)]).dead[0].reason.startswith("key: ")


def test_a_field_that_this_version_does_not_know_is_tolerated_and_counted():
    found = read([KEY, KEY], [with_(STARTED, surge=1.5), with_(ENDED)])
    assert len(found.events) == 2
    assert found.unknown_fields == 1
    assert found.events[0] == read([KEY], [with_(STARTED)]).events[0]


def test_a_batch_is_judged_at_once_whatever_is_among_it(monkeypatch):
    sizes: list[int] = []

    def judge(events: Any, *more: Any) -> Any:
        sizes.append(len(events))
        return odd(events, *more)

    odd = reading._odd
    monkeypatch.setattr(reading, "_odd", judge)
    values = [b"{", with_(STARTED, surge=1), with_(PAID, extra=1.005), *[with_(ENDED)] * 97]
    assert len(read([KEY] * 100, values).events) == 98
    assert sizes == [99]
    assert len(read([KEY] * 99, values[1:]).events) == 98
    assert sizes[1:] == [99]


@given(
    st.integers(0, 1_800_000_000_000) | st.integers(0, 2**48 - 1),
    st.integers(-1000, 86_401_000),
    st.sampled_from([0, 1, 2]),
)
def test_every_id_that_is_read_has_a_month(pickup, after, slot):
    digits = f"{pickup:012x}"
    trip = f"{digits[:8]}-{digits[8:]}{STARTED['trip_id'][13:]}"
    at = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=min(pickup + (slot and after), 253_402_300_799_999))
    event = (STARTED, ENDED, PAID)[slot]
    told = {field: at.isoformat() for field in event if field.endswith("_at")}
    told |= {"trip_id": trip, "event_id": event_id(trip, event["type"], 1)}
    found = read([key_of(trip).encode()], [with_(event, **told)])
    assert len(found.events) + len(found.dead) == 1
    assert bool(found.events) == (at <= NOW + dt.timedelta(days=1) and 0 <= (slot and after) <= 86_400_000)
    assert all(month_of(trip) in {Month.of(at), Month.of(at - dt.timedelta(days=1))} for _ in found.events)


@given(st.lists(st.datetimes() | st.datetimes().map(lambda time: time.replace(microsecond=0)), min_size=1, max_size=3))
def test_times_are_counted_exactly(times):
    since = [(time - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) for time in times]
    assert reading.microseconds(times).tolist() == since


def test_reasons_are_short_and_printable():
    [letter] = read([KEY], [with_(STARTED, type="a\0" * 100_000)]).dead
    assert len(letter.reason) <= LONGEST + 2
    assert letter.reason.isprintable()


VALUES = [with_(STARTED), with_(ENDED), with_(PAID), with_(STARTED, surge=[{}])]


@given(st.lists(st.tuples(st.sampled_from(VALUES), st.integers(0, 400), st.binary(max_size=3)), max_size=8))
def test_any_damage_is_an_event_or_a_dead_letter_and_reading_one_by_one_is_the_same(damages):
    values = [value[:at] + more + value[at + len(more) :] for value, at, more in damages]
    keys = [KEY] * len(values)
    found = read(keys, values)
    assert sorted([*found.offsets, *(letter.offset for letter in found.dead)]) == list(range(5, 5 + len(values)))
    alone = [read([KEY], [value]) for value in values]
    assert found.events == [event for each in alone for event in each.events]
    assert [letter.reason for letter in found.dead] == [letter.reason for each in alone for letter in each.dead]


@given(st.lists(st.lists(st.sampled_from([*VALUES, b"{", None]), max_size=4), max_size=4), st.integers(0, 3))
def test_partitions_that_are_read_together_are_read_as_each_by_itself(parts, bad):
    parts = [[value if bad else VALUES[len(value or b"") % 3] for value in values] for values in parts]
    polls = [
        Polled(number, 5, 5 + len(values), list(range(5, 5 + len(values))), [KEY] * len(values), values)
        for number, values in enumerate(parts)
    ]
    assert decode_all(polls, NOW) == [decode(polled, NOW) for polled in polls]


def test_one_bad_record_late_in_a_long_poll_is_the_only_dead_letter():
    values = [VALUES[0]] * 4_500
    values[4_321] = b"{"
    found = read([KEY] * len(values), values)
    assert [letter.offset for letter in found.dead] == [5 + 4_321]
    assert found.offsets == [offset for offset in range(5, 5 + len(values)) if offset != 5 + 4_321]
    assert len(found.events) == len(found.offsets)
    whole = read([KEY] * 4_500, [VALUES[1]] * 4_500)
    assert (len(whole.events), whole.offsets, whole.dead) == (4_500, list(range(5, 4_505)), [])


def test_the_key_of_a_reversal_is_that_of_its_original():
    original = "01693a55-9c00-8abc-9def-0123456789ae"
    assert key_of(original[:-1] + "f") == original == key_of(original)
    assert pickup_of(original) == 0x01693A559C00


def test_services_are_those_of_trips():
    assert SERVICE.categories.to_list() == list(SERVICES)


def test_the_schemas_in_the_docs_are_those_of_the_code():
    assert {file.name: file.read_text() for file in (DOCS / "schemas").iterdir()} == files()


def test_the_schemas_tell_every_field_as_the_code_reads_it():
    for event, name in ((STARTED, "trip_started"), (ENDED, "trip_ended"), (PAID, "payment_processed")):
        told = schema(name)
        assert set(told["properties"]) == set(told["required"]) == set(event)
        assert re.fullmatch(told["properties"]["trip_id"]["pattern"], event["trip_id"])
        assert re.fullmatch(told["properties"]["event_at"]["pattern"], event["event_at"])


def test_the_examples_in_the_docs_are_events():
    lines = re.findall(r'^{"type".*}$', (DOCS / "events.md").read_text(), re.M)
    keys = [key_of(json.loads(line)["trip_id"]).encode() for line in lines]
    found = read(keys, [line.encode() for line in lines])
    assert not found.dead
    assert [type(event) for event in found.events] == list(SLOTS)


def test_the_fields_in_the_docs_are_those_of_the_code():
    rows = re.findall(r"^\| (\w*) ?\| (\w+) \| (\w+) \| .* \| (yes|no) \|$", (DOCS / "events.md").read_text(), re.M)
    told = [(field, kind, null == "yes") for _, field, kind, null in rows]
    code = []
    for kind, columns in zip(SLOTS, (STARTED_COLUMNS, ENDED_COLUMNS, PAID_COLUMNS), strict=True):
        told_by = schema(str(kind.__struct_config__.tag))["properties"]
        for field in columns:
            kinds = [each["type"] for each in told_by[field].get("anyOf", [told_by[field]])]
            code.append((field, kinds[0], "null" in kinds))
    assert told == code
