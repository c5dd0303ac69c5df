"""Strict reading of events: what is no event, or contradicts its id, is a dead letter with the field at fault."""

import datetime as dt
import functools
import operator
import re
from collections.abc import Sequence
from itertools import chain, compress, islice
from math import isfinite
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import polars as pl

from chillflow.events import (
    MAX_BYTES,
    SCHEMA_VERSION,
    DeadLetter,
    Decoded,
    Event,
    PaymentProcessed,
    Polled,
    TripEnded,
    TripStarted,
    event_id,
    key_of,
    pickup_of,
)
from chillflow.trips import MAX_CENTS, MONEY

EPOCH = dt.datetime(1970, 1, 1)
DAY = dt.timedelta(days=1)
_MILLISECOND = dt.timedelta(milliseconds=1)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_FIELD = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<field>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = "unknown field"
_MICROSECOND = dt.timedelta(microseconds=1)
_A_DAY = 86_400_000
_TOTAL = MONEY.index("total_amount")
_DEEP = "payload: it is nested too deeply"
_CACHED = 2_000
"""Events that fit into a processor's own cache: so many are decoded, then judged."""
LONGEST = 300
"""Characters of a reason."""
_PLACES = 16 ** np.arange(11, -1, -1, dtype=np.int64)
_DASHES = (8, 13, 18, 23)
_HEX = [place for place in range(36) if place not in _DASHES]
_DASH = ord("-")
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_VALUES = np.full(256, 255, np.uint8)
_VALUES[_DIGITS] = np.arange(16, dtype=np.uint8)
_CLEARED = np.arange(256, dtype=np.uint8)
_CLEARED[_DIGITS] = _DIGITS[np.arange(16) & 14]
_amounts = attrgetter(*MONEY)
_texts = attrgetter("store_and_fwd", "request_source")

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Characters = np.ndarray[tuple[int, int], np.dtype[np.uint8]]

_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.encode
_WIDTH = len('"2019-03-01T00:00:15",')


def _tolerant(kind: type[Event]) -> type[msgspec.Struct]:
    """The type without its objection to fields that it does not know."""
    fields = [(field.name, field.type) for field in msgspec.structs.fields(kind)]
    tag = str(kind.__struct_config__.tag)
    return msgspec.defstruct(kind.__name__, fields, kw_only=True, gc=False, tag_field="type", tag=tag)


_strict = {_tolerant(kind): kind for kind in (TripStarted, TripEnded, PaymentProcessed)}
_decode_tolerantly = msgspec.json.Decoder(functools.reduce(operator.or_, _strict)).decode


class Unreadable(Exception):
    """Why a record is no event: `field: what is wrong with it`."""


def decode(polled: Polled, now: dt.datetime) -> Decoded:
    """Reads a partition's records; `now` is New York wall time, for events that claim to be of the future."""
    latest = now + DAY
    events = _all_well(polled.keys, polled.values, latest)
    return _sorted_out(polled, latest) if events is None else Decoded(polled, events, polled.offsets, [])


def decode_all(polls: Sequence[Polled], now: dt.datetime) -> list[Decoded]:
    """Reads the records of several partitions; few of them together, since judging has its price whatever their number.

    As `decode` reads each.
    """
    keys = [*chain.from_iterable(one.keys for one in polls)]
    values = [*chain.from_iterable(one.values for one in polls)]
    events = _all_well(keys, values, now + DAY) if len(values) <= _CACHED else None
    if events is None:
        return [decode(polled, now) for polled in polls]
    following = iter(events)
    return [Decoded(one, [*islice(following, len(one.offsets))], one.offsets, []) for one in polls]


def _all_well(keys: Sequence[bytes | None], values: Sequence[bytes | None], latest: dt.datetime) -> list[Event] | None:
    """The events of records of which all are events; None where something is wrong, or not known to this version."""
    events: list[Event] = []
    try:
        for first in range(0, len(values), _CACHED):
            some_values, some_keys = values[first : first + _CACHED], keys[first : first + _CACHED]
            some = [_decode(value) for value in some_values]  # type: ignore[arg-type]
            if max(map(len, some_values)) > MAX_BYTES or _odd(some, some_keys, latest).any():  # type: ignore[arg-type]
                return None
            events += some
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
        return None
    return events


def _sorted_out(polled: Polled, latest: dt.datetime) -> Decoded:
    """The long way, for a batch where something is wrong, or bears fields that this version does not know."""
    found: list[tuple[int, Event]] = []
    reasons: dict[int, str] = {}
    unknown = 0
    for place, value in enumerate(polled.values):
        try:
            event, more = _read(value)
        except Unreadable as why:
            reasons[place] = str(why)
        else:
            found.append((place, event))
            unknown += more
    odd = _odd([event for _, event in found], [polled.keys[place] for place, _ in found], latest)
    for place, event in (found[number] for number in np.flatnonzero(odd)):
        reasons[place] = _why(event, polled.keys[place], latest)
    dead = [_buried(polled, place, reason) for place, reason in sorted(reasons.items())]
    kept = [(polled.offsets[place], event) for place, event in found if place not in reasons]
    return Decoded(polled, [event for _, event in kept], [offset for offset, _ in kept], dead, unknown)


def _buried(polled: Polled, place: int, reason: str) -> DeadLetter:
    offset, key, payload = polled.offsets[place], polled.keys[place], polled.values[place]
    return DeadLetter(polled.partition, offset, key, payload, _short(reason))


def _short(reason: str) -> str:
    """A reason that a terminal and a table bear."""
    plain = "".join(character if character.isprintable() else "?" for character in reason[:LONGEST])
    return plain if len(reason) <= LONGEST else f"{plain}.."


def read(key: bytes | None, value: bytes | None, now: dt.datetime) -> Event:
    """Reads one record; raises Unreadable."""
    found = decode(Polled(0, 0, 1, [0], [key], [value]), now)
    if found.dead:
        raise Unreadable(found.dead[0].reason)
    return found.events[0]


def _read(value: bytes | None) -> tuple[Event, bool]:
    """A record by the long way, and whether it bears fields that this version does not know; raises Unreadable."""
    if not value:
        raise Unreadable("payload: it is empty")
    if len(value) > MAX_BYTES:
        raise Unreadable(f"payload: {len(value):,} bytes, more than {MAX_BYTES:,}")
    try:
        value.isascii() or value.decode()
    except UnicodeDecodeError:
        raise Unreadable("payload: it is not UTF-8") from None
    try:
        return _decode(value), False
    except msgspec.ValidationError as error:
        if _UNKNOWN not in str(error):
            raise Unreadable(_reason(error)) from None
    except msgspec.DecodeError as error:
        raise Unreadable(f"payload: it is not JSON ({error})") from None
    except RecursionError:
        raise Unreadable(_DEEP) from None
    try:
        tolerated = _decode_tolerantly(value)
    except msgspec.ValidationError as error:
        raise Unreadable(_reason(error)) from None
    except RecursionError:
        raise Unreadable(_DEEP) from None
    kind = _strict[type(tolerated)]
    return kind(**msgspec.structs.asdict(tolerated)), True


def _reason(error: msgspec.ValidationError) -> str:
    """`field: what`, from msgspec's sentence."""
    said = str(error)
    found = _FIELD.match(said)
    what, field = (found["what"], found["field"]) if found else (said, None)
    missing = re.search(r"missing required field `([^`]*)`", said)
    if missing:
        return f"{missing[1]}: it is missing"
    if "Invalid value" in what and field == "type":
        return f"type: {what[0].lower()}{what[1:]}"
    if field == "schema_version":
        return f"schema_version: {what[0].lower()}{what[1:]}; this version reads {SCHEMA_VERSION}"
    return f"{field or 'payload'}: {what[0].lower()}{what[1:]}"


def _odd(events: Sequence[Event], keys: Sequence[bytes | None], latest: dt.datetime) -> Flags:
    """Which events contradict their ids or keys, or hold what types cannot exclude: for all of a batch at once."""
    ids = _characters([event.trip_id for event in events])
    digits = _VALUES[ids[:, _HEX]]
    bad: Flags = (ids[:, _DASHES] != _DASH).any(axis=1) | (digits > 15).any(axis=1)
    bad |= (digits[:, 12] != 8) | (digits[:, 16] & 12 != 8)
    bad |= _texts_of(_characters([(key or b"").decode("latin-1") for key in keys])) != _texts_of(_keys(ids))
    negative = digits[:, 31] & 1 == 1
    pickups = digits[:, :12].astype(np.int64) @ _PLACES
    at = microseconds([event.event_at for event in events])
    since = at // 1000 - pickups
    bad |= (since < 0) | (since > _A_DAY) | (at < 0) | (at > (latest - EPOCH) // _MICROSECOND)
    kinds = np.fromiter(map(_KINDS.__getitem__, map(type, events)), np.int8, len(events))
    for kind, judge in enumerate(_JUDGES.values()):
        rows = kinds == kind
        own = [*compress(events, rows.tolist())]
        if own:
            bad[rows] |= _misnamed(own) | judge(own, negative[rows], pickups[rows], since[rows])
    return bad


def _misnamed(events: list[Event]) -> Any:
    """Which events of a type are not called after trip, type and revision."""
    tag = type(events[0]).__struct_config__.tag
    names = [event.event_id for event in events]
    ending = f":{tag}:{events[0].revision}"
    together = ending.join([event.trip_id for event in events])
    if set(map(len, names)) == {36 + len(ending)} and "".join(names) == together + ending:
        return False  # whoever sends no corrections sends one revision
    asked = [f"{event.trip_id}:{tag}:{event.revision}" for event in events]
    return False if names == asked else np.array([name != other for name, other in zip(names, asked, strict=True)])


def _odd_starts(started: Any, negative: Flags, pickups: Integers, since: Integers) -> Any:
    texts = set(chain.from_iterable(map(_texts, started)))
    nul = any("\0" in text for text in texts if text)
    return (since != 0) | np.array([
        event.pickup_at != event.event_at or (nul and any("\0" in text for text in _texts(event) if text))
        for event in started
    ])  # fmt: skip


def _odd_ends(ended: Any, negative: Flags, pickups: Integers, since: Integers) -> Any:
    after = microseconds([event.dropoff_at for event in ended]) // 1000 - pickups
    return (since != np.clip(after, 0, _A_DAY)) | np.isinf(_floats([event.trip_distance for event in ended]))


def _odd_payments(paid: Any, negative: Flags, pickups: Integers, since: Integers) -> Any:
    dollars = _floats(list(chain.from_iterable(map(_amounts, paid)))).reshape(-1, len(MONEY))
    odd = _are_odd(dollars) & ~np.isnan(dollars)  # NaN is a missing amount
    return odd.any(axis=1) | ((dollars[:, _TOTAL] < 0) != negative)


_JUDGES = {TripStarted: _odd_starts, TripEnded: _odd_ends, PaymentProcessed: _odd_payments}
_KINDS: dict[type, int] = {kind: number for number, kind in enumerate(_JUDGES)}


def _are_odd(dollars: Floats) -> Any:
    """Which amounts are no dollars and cents of decimal(9,2)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (np.rint(dollars * 100) / 100 != dollars) | (np.abs(dollars) > MAX_CENTS / 100)


def _why(event: Event, key: bytes | None, latest: dt.datetime) -> str:
    """What is wrong with an event that `_odd` found: `field: what`."""
    trip_id, at = event.trip_id, event.event_at
    if not _UUID(trip_id):
        return "trip_id: it is no lower-case UUID of version 8"
    if key != key_of(trip_id).encode():
        return "key: it is not the trip's id with the last bit cleared"
    pickup = pickup_of(trip_id)
    if isinstance(event, TripStarted):
        if _milliseconds(event.pickup_at) != pickup:
            return f"pickup_at: {event.pickup_at} is not the pickup that trip_id begins with"
        if at != event.pickup_at:
            return "event_at: it is not pickup_at"
        for name in ("store_and_fwd", "request_source"):
            if "\0" in (getattr(event, name) or ""):
                return f"{name}: it holds a NUL character"
    if isinstance(event, TripEnded) and event.trip_distance is not None and not isfinite(event.trip_distance):
        return "trip_distance: it is not finite"
    if isinstance(event, PaymentProcessed):
        for name in MONEY:
            dollars = getattr(event, name)
            if dollars is not None and _are_odd(np.array(dollars)):
                return f"{name}: {dollars!r} is no amount of dollars and cents below 10,000,000"
        if (event.total_amount < 0) != (int(trip_id[-1], 16) & 1):
            return "total_amount: its sign is not the one that trip_id tells"
    if not EPOCH <= at <= latest:
        return f"event_at: {at} is not between 1970 and tomorrow"
    if not 0 <= _milliseconds(at) - pickup <= _A_DAY:
        return "event_at: it is not within the 24 hours after the pickup that trip_id begins with"
    name = event_id(trip_id, str(event.__struct_config__.tag), event.revision)
    if event.event_id != name:
        return f"event_id: it is not {name}"
    return "event_at: it is not dropoff_at, within the 24 hours after the pickup that trip_id begins with"


def _milliseconds(at: dt.datetime) -> int:
    return (at - EPOCH) // _MILLISECOND


def _characters(texts: list[str]) -> Characters:
    """The 36 characters of what could be UUIDs, a row each; question marks for what could not."""
    if set(map(len, texts)) != {36}:
        texts = [text if len(text) == 36 else "?" * 36 for text in texts]
    return np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8).reshape(-1, 36)


def _keys(ids: Characters) -> Characters:
    """Ids with their last bits cleared."""
    keys = ids.copy()
    keys[:, -1] = _CLEARED[keys[:, -1]]
    return keys


def _texts_of(characters: Characters) -> Any:
    """A row each, to be compared at once."""
    return characters.view("S36").ravel()


def microseconds(times: Sequence[dt.datetime]) -> Integers:
    """Wall times since 1970: several times as quick as Polars makes a column of them."""
    text = np.frombuffer(_encode(times), np.uint8)[1:]
    if len(text) != len(times) * _WIDTH:  # some have fractions of a second
        return pl.Series(times, dtype=pl.Datetime("us")).to_physical().to_numpy()
    seconds = np.ascontiguousarray(text.reshape(-1, _WIDTH)[:, 1:20]).view("S19").ravel().astype("datetime64[s]")
    return seconds.astype(np.int64) * 1_000_000


def _floats(numbers: Sequence[float | None]) -> Floats:
    """Numbers, NaN for none."""
    return np.fromiter(numbers, np.float64, len(numbers))
