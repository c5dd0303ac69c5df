"""The shipped zones."""

import csv
from pathlib import Path

import pytest

from chillflow.zones import OUTSIDE, UNKNOWN, ZONES, Zone

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "tlc" / "taxi_zone_lookup.csv"
BY_ID = {zone.id: zone for zone in ZONES}


def test_ids_run_from_1_to_265() -> None:
    assert [zone.id for zone in ZONES] == list(range(1, 266))


def test_not_available_is_text() -> None:
    assert BY_ID[UNKNOWN] == Zone(264, "Unknown", "N/A", "N/A")
    assert BY_ID[OUTSIDE] == Zone(265, "N/A", "Outside of NYC", "N/A")


def test_names_are_not_unique_but_ids_are() -> None:
    assert BY_ID[56].name == BY_ID[57].name == "Corona"
    assert len({BY_ID[zone].name for zone in (103, 104, 105)}) == 1


def test_every_field_is_told() -> None:
    assert all(zone.borough and zone.name and zone.service_zone for zone in ZONES)
    assert {zone.borough for zone in ZONES} == {
        "Bronx", "Brooklyn", "EWR", "Manhattan", "N/A", "Queens", "Staten Island", "Unknown",
    }  # fmt: skip


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the city's lookup table is not at hand")
def test_they_are_the_published_ones() -> None:
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [(str(zone.id), zone.borough, zone.name, zone.service_zone) for zone in ZONES]
