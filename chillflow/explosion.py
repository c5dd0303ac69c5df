"""Trips into events and back, in bulk."""

import json
from collections.abc import Iterable
from typing import Any

import polars as pl

from chillflow.events import ENDED, PAID, SCHEMA_VERSION, SLOTS, STARTED, Event, slot_of
from chillflow.trips import MONEY, RAW_COLUMNS, SERVICE, id_text, ids_of_text

TYPES = ("trip_started", "trip_ended", "payment_processed")
COLUMNS = (STARTED, ENDED, PAID)
DAY = pl.duration(hours=24)
_TIMES = ("pickup_at", "dropoff_at")
_TEXTS = ("store_and_fwd", "request_source")
col = pl.col


def explode(trips: pl.DataFrame, slots: Iterable[int] = (0, 1, 2)) -> pl.DataFrame:
    """Events of trips: raw columns (RAW_COLUMNS, kernels' form), `trip_id`, and `revision` (1 where it is missing).

    Returns a row an event, slot by slot: `trip_id`, `slot` (position in TYPES), `revision`, `event_at`, and the record,
    `key` and `value` (both Binary). `event_at` is the pickup for trip_started, for the others the dropoff, but within
    the 24 hours from the pickup on. Raises ValueError where a distance is not finite, which JSON cannot tell.
    """
    if not trips["trip_distance"].drop_nulls().is_finite().all():
        raise ValueError("a distance that is not finite cannot be told as an event")
    if "revision" not in trips.columns:
        trips = trips.with_columns(revision=pl.lit(1, pl.Int32))
    text = id_text(trips["trip_id"])
    trips = trips.with_columns(text=text, ends=col("dropoff_at").clip(col("pickup_at"), col("pickup_at") + DAY))
    trips = trips.with_columns(key=_keys())
    return pl.concat([
        trips.select(
            "trip_id",
            pl.lit(slot, pl.UInt8).alias("slot"),
            col("revision").cast(pl.Int32),
            col("ends" if slot else "pickup_at").alias("event_at"),
            col("key").cast(pl.Binary),
            _value(slot, trips).cast(pl.Binary).alias("value"),
        )
        for slot in slots
    ])  # fmt: skip


def implode(events: Iterable[Event]) -> pl.DataFrame:
    """The trips (raw columns and `trip_id`) that events tell in full, by first event: the inverse of explode.

    Of each slot the greatest revision counts.
    """
    found: dict[str, list[Any]] = {}
    for event in events:
        trip = found.setdefault(event.trip_id, [event.service, None, None, None])
        new, place = slot_of[type(event)](event), 1 + SLOTS[type(event)]
        if trip[place] is None or new[0] > trip[place][0]:
            trip[place] = new
    rows = [
        (trip_id, service, *started[1:], *ended[1:], *paid[1:])
        for trip_id, (service, started, ended, paid) in found.items()
    ]
    kinds = {name: _kind(name) for names in COLUMNS for name in names}
    schema: Any = {"trip_id": pl.String, "service": SERVICE, **kinds}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    cents = ((col(name) * 100).round().cast(pl.Int32) for name in MONEY)
    return frame.with_columns(ids_of_text(frame["trip_id"]), *cents).select("trip_id", *RAW_COLUMNS)


def _kind(name: str) -> pl.DataType | type[pl.DataType]:
    if name in _TIMES:
        return pl.Datetime("us")
    if name in _TEXTS:
        return pl.String
    return pl.Float64 if name in MONEY or name == "trip_distance" else pl.Int32


def _keys() -> pl.Expr:
    """The id's text with its last bit cleared."""
    odd, even = list("13579bdf"), list("02468ace")
    return col("text").str.slice(0, 35) + col("text").str.slice(35).replace(odd, even)


def _value(slot: int, trips: pl.DataFrame) -> pl.Expr:
    """The event as JSON, put together column by column."""
    at = col("ends") if slot else col("pickup_at")
    parts = [
        pl.lit(f'{{"type":"{TYPES[slot]}","schema_version":{SCHEMA_VERSION},"event_id":"'), col("text"),
        pl.lit(f":{TYPES[slot]}:"), col("revision").cast(pl.String), pl.lit('","trip_id":"'), col("text"),
        pl.lit('","service":"'), col("service").cast(pl.String), pl.lit('","event_at":'), _time(at),
        pl.lit(',"revision":'), col("revision").cast(pl.String),
    ]  # fmt: skip
    for name in COLUMNS[slot]:
        parts += [pl.lit(f',"{name}":'), _json(name, trips)]
    return pl.concat_str([*parts, pl.lit("}")])


def _json(name: str, trips: pl.DataFrame) -> pl.Expr:
    if name in _TIMES:
        return _time(col(name))
    if name in _TEXTS:
        texts = trips[name].unique().drop_nulls()
        return col(name).replace(list(texts), [json.dumps(text) for text in texts]).fill_null("null")
    value = (col(name) / 100).round(2) if name in MONEY else col(name)
    return value.cast(pl.String).fill_null("null")


def _time(at: pl.Expr) -> pl.Expr:
    return at.dt.strftime('"%Y-%m-%dT%H:%M:%S%.f"')
