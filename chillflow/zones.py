"""The city's 265 taxi zones, as the TLC publishes them."""

import csv
from dataclasses import dataclass
from importlib import resources

UNKNOWN = 264
OUTSIDE = 265


@dataclass(frozen=True)
class Zone:
    """A taxi zone. Names are not unique, and "N/A" is literal text."""

    id: int
    borough: str
    name: str
    service_zone: str


def _shipped() -> tuple[Zone, ...]:
    text = resources.files("chillflow").joinpath("data/taxi_zone_lookup.csv").read_text(encoding="utf-8")
    return tuple(
        Zone(int(row["LocationID"]), row["Borough"], row["Zone"], row["service_zone"])
        for row in csv.DictReader(text.splitlines())
    )


ZONES = _shipped()
"""All of them, by id."""
