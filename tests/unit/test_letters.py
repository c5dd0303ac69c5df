"""Dead letters as lines that people repair: any payload survives, and only what can be read now becomes a record."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chillflow.errors import BadWhere
from chillflow.events import Event, key_of
from chillflow.jobs.redrive import sought_by
from chillflow.letters import Letter, of_line, record_of, to_line
from chillflow.reading import Unreadable
from chillflow.stores.dead_letters import Sought
from tests.stream_samples import rides

NOW = dt.datetime(2026, 1, 1)
[EVENT, *_] = rides(3, 1)[0].all()
KEY = key_of(EVENT.trip_id).encode()


def letter(payload: bytes | None, key: bytes | None = KEY) -> Letter:
    return Letter("trip-events", "id-1", 3, 17, key, payload, "payload: ?", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def payload(event: Event = EVENT, **changes: Any) -> bytes:
    fields = json.loads(msgspec.json.encode(event)) | changes
    return json.dumps({name: value for name, value in fields.items() if value != "absent"}).encode()


@given(st.none() | st.binary() | st.text().map(str.encode), st.none() | st.binary())
def test_any_payload_survives_a_line(payload: bytes | None, key: bytes | None) -> None:
    line = to_line(letter(payload, key))
    assert line.count(b"\n") == 1
    back = of_line(line)
    assert back.payload == payload
    assert back.place == ("id-1", 3, 17)


def test_a_line_says_what_people_need() -> None:
    shown = json.loads(to_line(letter(b'{"type": 1}')))
    assert shown == {
        "topic": "trip-events", "topic_id": "id-1", "partition": 3, "offset": 17, "at": "2026-01-01T00:00:00Z",
        "redriven_at": None, "key": KEY.decode(), "reason": "payload: ?", "payload": '{"type": 1}',
    }  # fmt: skip
    assert json.loads(to_line(letter(b"\xff")))["payload_base64"] == "/w=="


def test_an_event_may_be_written_as_text_or_as_an_object() -> None:
    fields = json.loads(payload())
    for repaired in (json.dumps(fields), fields):
        line = json.dumps({"topic": "t", "topic_id": "i", "partition": 0, "offset": 1, "payload": repaired})
        assert record_of(of_line(line.encode()), NOW) == (KEY, json.dumps(fields).encode())


def test_what_can_be_read_now_gets_the_key_that_it_asks_for() -> None:
    for key in (None, b"", b"another", KEY):
        assert record_of(letter(payload(), key), NOW) == (KEY, payload())
    assert record_of(letter(payload(more=1)), NOW) == (KEY, payload(more=1))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "payload: it is empty"),
        (b"", "payload: it is empty"),
        (b"\xff", "payload: it is not UTF-8"),
        (b"{", "payload: it is not JSON"),
        (b"[]", "payload: expected"),
        (payload(revision=0), "revision: expected"),
        (payload(schema_version=2), "schema_version: .*this version reads 1"),
        (payload(trip_id=""), "trip_id: it is no"),
        (payload(trip_id="x"), "trip_id: it is no"),
        (payload(trip_id=7), "trip_id: expected"),
        (payload(trip_id="absent"), "trip_id: it is missing"),
        (payload(event_at="2099-01-01T00:00:00"), "event_at: "),
    ],
)
def test_what_still_cannot_be_read_is_refused_with_the_field(given: bytes | None, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        record_of(letter(given), NOW)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"\xff", b'{"topic": "t"}', b'{"topic":"t","topic_id":"i","partition":0,"offset":1,"payload":7}',
     b'{"topic":"t","topic_id":"i","partition":0,"offset":1,"payload_base64":"?"}',
     b'{"topic":"t","topic_id":"i","partition":0,"offset":"1","payload":"{}"}'],
)  # fmt: skip
def test_what_is_no_line_of_an_export_is_refused(line: bytes) -> None:
    with pytest.raises(Unreadable, match="the line is none of an export"):
        of_line(line)


def test_conditions_are_read() -> None:
    assert sought_by([]) == Sought()
    conditions = ["reason~Expected = or ~", "partition=3", "offset = 17", "topic=trip-events", "key=a=b"]
    assert sought_by(conditions) == Sought(
        topic="trip-events", partition=3, offset=17, key="a=b", holds="Expected = or ~"
    )  # fmt: skip
    assert sought_by(["reason=exactly: this"]) == Sought(reason="exactly: this")


@pytest.mark.parametrize("text", ["", "reason", "partition=x", "offset~3", "payload~x", "key~x", "=3"])
def test_other_conditions_are_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(BadWhere, match="write reason~TEXT"):
        sought_by([text])
