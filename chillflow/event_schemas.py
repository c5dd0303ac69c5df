"""JSON Schemas of the events, for producers in any language: `python -m chillflow.event_schemas FOLDER` writes them."""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from chillflow.events import PaymentProcessed, TripEnded, TripStarted
from chillflow.trips import MONEY

TYPES = {"trip_started": TripStarted, "trip_ended": TripEnded, "payment_processed": PaymentProcessed}
UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
WALL_TIME = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?$"
MEANINGS = {
    "type": "the event's type",
    "schema_version": "version of this schema",
    "event_id": "TRIP:TYPE:REVISION, of trip_id, type and revision",
    "trip_id": "id of the trip, a lower-case UUID of version 8: it begins with the pickup in milliseconds of wall time "
    "since 1970, and its last bit says whether total_amount is negative",
    "service": "yellow or green",
    "event_at": "when it happened, New York wall time: the pickup for trip_started, else the dropoff, but within the "
    "24 hours from the pickup on",
    "revision": "of the events of a trip and type the greatest counts; the first is 1",
    "vendor_id": "vendor of the meter: 1, 2, 6, 7",
    "pickup_at": "meter on, New York wall time; never changes",
    "pickup_zone_id": "taxi zone, 1 to 265",
    "passenger_count": "passengers, as the driver entered them",
    "rate_code": "1 to 6, 99 unknown",
    "store_and_fwd": "Y or N: held in the vehicle's memory before it was sent",
    "trip_type": "1 street hail, 2 dispatch; green only",
    "request_source": "how the trip was asked for",
    "dropoff_at": "meter off, New York wall time",
    "dropoff_zone_id": "taxi zone, 1 to 265",
    "trip_distance": "miles by the meter",
    "payment_type": "0 flex, 1 card, 2 cash, 3 no charge, 4 dispute, 5 unknown, 6 voided",
    **dict.fromkeys(MONEY, "US dollars, two decimals at the most"),
    "total_amount": "US dollars, two decimals at the most, without cash tips; negative takes an earlier trip back",
}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of an event type."""
    kind = TYPES[name]
    [made], parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    assert made
    body = parts[kind.__name__]
    properties: dict[str, Any] = {field: body["properties"][field] for field in MEANINGS if field in body["properties"]}
    for field, facts in properties.items():
        facts["description"] = MEANINGS[field]
        if field == "trip_id":
            facts["pattern"] = UUID
        if field.endswith("_at"):
            facts.pop("format", None)
            facts["pattern"] = WALL_TIME
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": True,
    }


def files() -> dict[str, str]:
    """The schemas by file name."""
    return {f"{name}.json": json.dumps(schema(name), indent=2) + "\n" for name in TYPES}


if __name__ == "__main__":
    for name, text in files().items():
        (Path(sys.argv[1]) / name).write_text(text)
