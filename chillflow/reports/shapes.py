"""The outlines of the taxi zones, from New York's open data, simplified; one shape a zone.

data/taxi_zones.geojson derives from "NYC Taxi Zones" (data.cityofnewyork.us, d3c5-ddgc): longitudes and latitudes to
four places. The city draws zone 57 as a second 56, 104 and 105 as further 103s.
"""

import json
from importlib import resources
from itertools import pairwise
from typing import Any

Ring = list[list[float]]


def shapes() -> list[dict[str, Any]]:
    """GeoJSON features with `zone_id`; outlines of the same zone are one."""
    text = resources.files("chillflow").joinpath("data/taxi_zones.geojson").read_text(encoding="utf-8")
    polygons: dict[int, list[Any]] = {}
    for feature in json.loads(text)["features"]:
        geometry = feature["geometry"]
        parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        polygons.setdefault(feature["properties"]["LocationID"], []).extend(map(_wound, parts))
    return [
        {"type": "Feature", "properties": {"zone_id": zone},
         "geometry": {"type": "MultiPolygon", "coordinates": parts}}
        for zone, parts in sorted(polygons.items())
    ]  # fmt: skip


def _wound(rings: list[Ring]) -> list[Ring]:
    """A polygon as Vega wants it: its outline clockwise, its holes the other way."""
    return [ring if (_area(ring) < 0) == (place == 0) else ring[::-1] for place, ring in enumerate(rings)]


def _area(ring: Ring) -> float:
    """Positive for counter-clockwise rings."""
    return sum(x * v - u * y for (x, y), (u, v) in pairwise(ring)) / 2
