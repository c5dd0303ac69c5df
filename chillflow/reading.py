"""Strict reading of events: what is no event, or contradicts its id, is a dead letter with the field at fault."""

import datetime as dt
import re
from collections.abc import Sequence
from math import isfinite
from operator import attrgetter
from typing import cast

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
    key_of,
    pickup_of,
)
from chillflow.trips import MAX_CENTS, MONEY

EPOCH = dt.datetime(1970, 1, 1)
DAY = dt.timedelta(days=1)
_MILLISECOND = dt.timedelta(milliseconds=1)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_TYPES = {kind.__struct_config__.tag: kind for kind in (TripStarted, TripEnded, PaymentProcessed)}
_FIELD = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<field>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = "unknown field"
_MICROSECOND = dt.timedelta(microseconds=1)
_PLACES = 16 ** np.arange(11, -1, -1, dtype=np.int64)
_DASHES = (8, 13, 18, 23)
_HEX = [place for place in range(36) if place not in _DASHES]
_VALUES = np.full(256, 255, np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
_amounts = attrgetter(*MONEY)
_texts = attrgetter("store_and_fwd", "request_source")

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Digits = np.ndarray[tuple[int, int], np.dtype[np.uint8]]

_decode = msgspec.json.Decoder(Event).decode


def _tolerant(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type without its objection to fields that it does not know."""
    fields = [(field.name, field.type) for field in msgspec.structs.fields(kind)]
    return msgspec.defstruct(kind.__name__, fields, kw_only=True, gc=False)


_tolerant_decoders = {kind: msgspec.json.Decoder(_tolerant(kind)).decode for kind in _TYPES.values()}


class Unreadable(Exception):
    """Why a record is no event: `field: what is wrong with it`."""


def decode(polled: Polled, now: dt.datetime) -> Decoded:
    """Reads a partition's records; `now` is New York wall time, for events that claim to be of the future."""
    if not polled.offsets:
        return Decoded(polled, [], [], [])
    latest = now + DAY
    try:
        events = [_decode(value) for value in polled.values]  # type: ignore[arg-type]
        if max(map(len, polled.values)) <= MAX_BYTES and not _odd(events, polled.keys, latest).any():  # type: ignore[arg-type]
            return Decoded(polled, events, polled.offsets, [])
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        pass
    return _one_by_one(polled, latest)


def _one_by_one(polled: Polled, latest: dt.datetime) -> Decoded:
    """The long way, for a batch where something is wrong."""
    events: list[Event] = []
    offsets: list[int] = []
    dead: list[DeadLetter] = []
    unknown = 0
    for offset, key, value in zip(polled.offsets, polled.keys, polled.values, strict=True):
        try:
            event, more = _read(value)
            if _odd([event], [key], latest).any():
                _explain(event, key, latest)
        except Unreadable as why:
            dead.append(DeadLetter(polled.partition, offset, key, value, str(why)))
        else:
            events.append(event)
            offsets.append(offset)
            unknown += more
    return Decoded(polled, events, offsets, dead, unknown)


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
        value.decode()
    except UnicodeDecodeError:
        raise Unreadable("payload: it is not UTF-8") from None
    try:
        return _decode(value), False
    except msgspec.ValidationError as error:
        if _UNKNOWN not in str(error):
            raise Unreadable(_reason(error)) from None
    except msgspec.DecodeError as error:
        raise Unreadable(f"payload: it is not JSON ({error})") from None
    return _with_unknown_fields(value), True


def _with_unknown_fields(value: bytes) -> Event:
    kind = _TYPES[msgspec.json.decode(value, type=_Typed).type]
    try:
        found = _tolerant_decoders[kind](value)
    except msgspec.ValidationError as error:
        raise Unreadable(_reason(error)) from None
    event: Event = kind(**{name: getattr(found, name) for name in kind.__struct_fields__})
    return event


class _Typed(msgspec.Struct):
    type: str


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
    digits = _digits([event.trip_id for event in events])
    asked = _digits([(key or b"").decode("latin-1") for key in keys])
    bad: Flags = (digits > 15).any(axis=1) | (digits[:, 12] != 8) | (digits[:, 16] & 12 != 8)
    bad |= (asked[:, :31] != digits[:, :31]).any(axis=1) | (asked[:, 31] != digits[:, 31] & 14)
    pickups = digits[:, :12].astype(np.int64) @ _PLACES
    at = _microseconds([event.event_at for event in events])
    since = at // 1000 - pickups
    bad |= (since < 0) | (since > 86_400_000) | (at < 0) | (at > (latest - EPOCH) // _MICROSECOND)
    kinds = [type(event) for event in events]
    rows = [row for row, kind in enumerate(kinds) if kind is TripStarted]
    if rows:
        started = [cast(TripStarted, events[row]) for row in rows]
        bad[rows] |= (_microseconds([event.pickup_at for event in started]) != at[rows]) | (since[rows] != 0)
        if any("\0" in text for text in {text for event in started for text in _texts(event) if text}):
            bad[rows] |= [any("\0" in text for text in _texts(event) if text) for event in started]
    rows = [row for row, kind in enumerate(kinds) if kind is TripEnded]
    if rows:
        bad[rows] |= np.isinf(np.array([cast(TripEnded, events[row]).trip_distance for row in rows], dtype=np.float64))
    rows = [row for row, kind in enumerate(kinds) if kind is PaymentProcessed]
    if rows:
        cents = np.array([_amounts(events[row]) for row in rows], dtype=np.float64) * 100
        odd = (np.abs(cents - np.rint(cents)) > 1e-4) | (np.abs(cents) > MAX_CENTS + 0.5)  # NaN, a missing one, is not
        negative = cents[:, MONEY.index("total_amount")] < 0
        bad[rows] |= odd.any(axis=1) | (negative != (digits[rows, 31] & 1).astype(bool))
    return bad


def _explain(event: Event, key: bytes | None, latest: dt.datetime) -> None:
    """Raises Unreadable for an event that `_odd` found."""
    trip_id, at = event.trip_id, event.event_at
    if not _UUID(trip_id):
        raise Unreadable("trip_id: it is no lower-case UUID of version 8")
    if key != key_of(trip_id).encode():
        raise Unreadable("key: it is not the trip's id with the last bit cleared")
    pickup = EPOCH + pickup_of(trip_id) * _MILLISECOND
    if isinstance(event, TripStarted):
        if not _MILLISECOND > event.pickup_at - pickup >= dt.timedelta(0):
            raise Unreadable(f"pickup_at: {event.pickup_at} is not the pickup that trip_id begins with")
        if at != event.pickup_at:
            raise Unreadable("event_at: it is not pickup_at")
        for name in ("store_and_fwd", "request_source"):
            if "\0" in (getattr(event, name) or ""):
                raise Unreadable(f"{name}: it holds a NUL character")
    if isinstance(event, TripEnded) and event.trip_distance is not None and not isfinite(event.trip_distance):
        raise Unreadable("trip_distance: it is not finite")
    if isinstance(event, PaymentProcessed):
        for name in MONEY:
            cents = (getattr(event, name) or 0.0) * 100
            if not abs(cents) < MAX_CENTS + 0.5 or abs(cents - round(cents)) > 1e-4:
                raise Unreadable(f"{name}: {cents / 100!r} is no amount of dollars and cents below 10,000,000")
        if (event.total_amount < 0) != (int(trip_id[-1], 16) & 1):
            raise Unreadable("total_amount: its sign is not the one that trip_id tells")
    if at > latest:
        raise Unreadable(f"event_at: {at} is more than a day ahead")
    raise Unreadable(f"event_at: {at} is not within the 24 hours after the pickup that trip_id begins with")


def _digits(texts: list[str]) -> Digits:
    """The 32 hexadecimal digits of UUIDs, a row each; 255 for what is none."""
    if set(map(len, texts)) != {36}:
        texts = [text if len(text) == 36 else "?" * 36 for text in texts]
    characters = np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8).reshape(-1, 36)
    digits = _VALUES[characters[:, _HEX]]
    digits[(characters[:, _DASHES] != ord("-")).any(axis=1)] = 255
    return digits


def _microseconds(times: list[dt.datetime]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Wall times since 1970."""
    return pl.Series(times, dtype=pl.Datetime("us")).to_physical().to_numpy()
