"""Where, when, how far and how long New York rides."""

import csv
import datetime as dt
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from chillflow.months import Month
from chillflow.synth.dice import Dice, Floats, Ints, Mask

NEWARK, JFK, LAGUARDIA = 1, 132, 138
AIRPORTS = (NEWARK, JFK, LAGUARDIA)
NIGHTLIFE = (17, 37, 48, 68, 79, 80, 90, 113, 114, 144, 148, 158, 211, 234, 246, 249, 255, 256)
OFFICES = (13, 87, 88, 100, 161, 162, 163, 164, 170, 186, 230, 261)
HOUR, DAY = 3_600, 86_400

WEEK = (
    "20 13 7 6 7 13 36 55 69 74 68 63 69 68 79 72 70 83 93 79 78 72 57 40",
    "23 16 10 7 7 14 35 72 79 72 69 74 75 71 77 81 76 88 94 99 88 87 68 50",
    "29 14 10 8 6 14 35 65 80 74 75 70 77 75 87 77 78 85 100 96 96 91 87 59",
    "33 21 13 9 9 17 37 77 93 75 75 75 82 71 88 83 78 89 99 98 94 93 82 68",
    "40 26 16 10 10 16 37 68 73 70 72 78 78 79 84 86 76 89 101 107 91 86 88 78",
    "68 51 40 29 19 10 18 24 36 56 61 71 81 83 78 84 79 79 89 86 74 70 81 74",
    "70 66 43 28 25 11 15 19 29 45 54 66 72 74 73 73 70 72 72 61 54 51 47 37",
)
"""Pickups by hour, Monday first, per ten thousand of a week."""

SPEED = "16 17 17 18 20 22 18 13.6 11.2 10.9 11 11 10.8 11 11.1 10.6 10.6 10.8 11.1 11.6 13.3 13.8 14.4 15.2"
"""Miles an hour of a three-mile trip by the hour of its pickup."""

CITYWIDE = {2020: 1.36, 2021: 1.14, 2022: 1.0, 2023: 0.98, 2024: 0.97, 2025: 1.0}
"""Speed against that of 2018 and 2019."""


@dataclass(frozen=True)
class Zones:
    """The zones that have a shape: centroid in miles from the city's middle, part of town, weights."""

    ids: Ints
    east: Floats
    north: Floats
    area: tuple[str, ...]
    weights: dict[str, Ints]

    def within(self, *areas: str) -> Ints:
        return self.ids[[area in areas for area in self.area]]


@cache
def zones() -> Zones:
    """The shipped table, derived from New York's open data taxi zones."""
    text = resources.files("chillflow").joinpath("data/zone_centroids.csv").read_text(encoding="utf-8")
    table = list(csv.DictReader(text.splitlines()))
    weights = {
        name: np.array([int(row[name]) for row in table], dtype=np.int64)
        for name in table[0]
        if name[-2:] in ("ps", "fs")
    }
    return Zones(
        ids=np.array([int(row["zone_id"]) for row in table]),
        east=np.array([(float(row["longitude"]) + 73.97) * 52.4 for row in table]),
        north=np.array([(float(row["latitude"]) - 40.75) * 69.0 for row in table]),
        area=tuple(row["area"] for row in table),
        weights=weights,
    )


@cache
def miles_between() -> Floats:
    """Miles as the crow flies from each zone of the table to each."""
    at = zones()
    return np.sqrt((at.east[:, None] - at.east) ** 2 + (at.north[:, None] - at.north) ** 2)


@cache
def journeys(service: str, profile: str) -> Ints:
    """How often each pair of zones is ridden at `day`, at `night` or with a `flex` fare: (zones x zones) weights."""
    at = zones()
    pickups = at.weights[f"{service}_pickups"].astype(np.float64)
    if profile == "flex":
        pickups = np.sqrt(pickups * 30.0)
    if profile == "night":
        pickups *= np.where(np.isin(at.ids, NIGHTLIFE), 1.9, np.where(np.isin(at.ids, OFFICES), 0.6, 1.0))
    dropoffs = at.weights[f"{service}_dropoffs"].astype(np.float64)
    reach = {"yellow": 1.45, "green": 1.5}[service] * (2.6 if profile == "flex" else 1.0)
    airport = np.isin(at.ids, AIRPORTS)
    pull = np.where(airport[:, None], 0.30, np.where(airport, 0.24, np.exp(-miles_between() / reach) + 0.012))
    chance = dropoffs * pull
    chance *= (pickups / chance.sum(axis=1))[:, None]
    weights: Ints = np.round(chance * (2.0e9 / chance.sum())).astype(np.int64)
    return weights


def sunday(year: int, month: int, nth: int) -> dt.date:
    """The nth Sunday of a month."""
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


def spring_forward(year: int) -> int:
    """The wall second that does not exist: 02:00 on the second Sunday of March; an hour is missing after it."""
    return epoch(sunday(year, 3, 2)) + 2 * HOUR


def fall_back(year: int) -> int:
    """Midnight of the first Sunday of November, when the hour from 01:00 comes twice."""
    return epoch(sunday(year, 11, 1))


def epoch(day: dt.date) -> int:
    """Seconds from 1970 to a day's midnight, wall time."""
    return (day.toordinal() - dt.date(1970, 1, 1).toordinal()) * DAY


def pickup_times(dice: Dice, month: Month, size: int) -> Ints:
    """Wall seconds of pickups in the month, none in the hour that spring skips, more in the one that autumn repeats."""
    start, days = epoch(month.date), (month.next.date - month.date).days
    week = np.array([[int(hour) for hour in day.split()] for day in WEEK])
    weights = np.concatenate([week[(month.date.weekday() + day) % 7] for day in range(days)]) * 1000
    weights = weights * (92 + np.repeat(dice.below(17, days), 24))
    hours = start + np.arange(days * 24) * HOUR
    weights[hours == spring_forward(month.year)] = 0
    weights[hours == fall_back(month.year) + HOUR] *= 2
    return hours[dice.pick(weights, size)] + dice.below(HOUR, size)


def routes(dice: Dice, service: str, pickup: Ints, flex: Mask) -> tuple[Ints, Ints, Ints]:
    """Pickup zone, dropoff zone and hundredths of a mile."""
    at = zones()
    hour = pickup // HOUR % 24
    night = (hour >= 22) | (hour < 5)
    pairs = np.empty(len(pickup), dtype=np.int64)
    for profile, chosen in (("day", ~night & ~flex), ("night", night & ~flex), ("flex", flex)):
        pairs[chosen] = dice.pick(journeys(service, profile).ravel(), int(chosen.sum()))
    crow = miles_between().ravel()[pairs]
    within = 0.12 + dice.below(600, len(pickup)) / 1000.0
    miles = np.sqrt(crow * crow + within * within) * 1.24 * dice.factor(0.16, len(pickup))
    hundredths = np.clip(np.rint(miles * 100.0), 8, 6000).astype(np.int64)
    return at.ids[pairs // len(at.ids)], at.ids[pairs % len(at.ids)], hundredths


def durations(dice: Dice, service: str, month: Month, pickup: Ints, hundredths: Ints) -> Ints:
    """Seconds on the meter; long trips are faster, streets as full as the hour of the week is."""
    by_hour = np.array([float(mph) for mph in SPEED.split()])
    weekend = pickup // DAY % 7 >= 2
    weekend &= pickup // DAY % 7 <= 3
    mph = (
        by_hour[pickup // HOUR % 24]
        * np.where(weekend, 1.08, 0.96)
        * CITYWIDE.get(month.year, 1.0)
        * (0.9 if service == "green" else 1.0)
    )
    miles = hundredths / 100.0
    fourth = np.sqrt(np.sqrt(miles / 3.0))
    mph = mph * fourth * np.sqrt(fourth) * dice.factor(0.24, len(pickup))
    mph = np.minimum(mph, 62.0)
    return np.clip(np.rint(miles * HOUR / mph), 61, 3 * HOUR).astype(np.int64)
